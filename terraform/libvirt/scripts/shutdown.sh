#!/usr/bin/env bash
# Ask a host to shut down, and wait for it up to a minute. What remains is cut off by whoever removes it.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

is_running() { [ "$(virsh domstate "$LIBVIRT_MACHINE" 2>/dev/null)" = running ]; }

command -v virsh >/dev/null || exit 0
is_running || exit 0
virsh shutdown "$LIBVIRT_MACHINE" >/dev/null 2>&1 || exit 0
end=$((SECONDS + 60))
while is_running; do
    if [ "$SECONDS" -ge "$end" ]; then
        echo "host $LIBVIRT_MACHINE did not shut down within a minute; it is cut off" >&2
        break
    fi
    sleep 1
done
