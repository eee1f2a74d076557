#!/usr/bin/env bash
# Wait until a host answers by ssh, and note which start of it that was.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

answer() { timeout 60 ssh -F "$LIBVIRT_SSH_CONFIG" -o BatchMode=yes -o ControlPath=none "$LIBVIRT_HOST" true 2>&1; }
listens() { timeout 2 bash -c "read -r banner <'/dev/tcp/$LIBVIRT_ADDRESS/22' && [[ \$banner == SSH* ]]" 2>/dev/null; }

end=$((SECONDS + LIBVIRT_SECONDS))
last='it does not listen on port 22'
while ! { listens && last=$(answer); }; do
    state=$(virsh domstate "$LIBVIRT_MACHINE" 2>&1) || true
    if [ "$SECONDS" -ge "$end" ] || [ "$state" != running ]; then
        fail "host $LIBVIRT_HOST ($LIBVIRT_ADDRESS) did not answer by ssh within $LIBVIRT_SECONDS s; its virtual machine $LIBVIRT_MACHINE is in state \"$state\". Last answer: $last. Look at its console: virsh -c $LIBVIRT_URI console $LIBVIRT_MACHINE"
    fi
    sleep 2
done

# terraform compares the process that libvirt notes with it.
process=elsewhere
case "$LIBVIRT_URI" in
qemu:///* | qemu+unix:///*) process=$(cat "/run/libvirt/qemu/$LIBVIRT_MACHINE.pid" 2>/dev/null) || process= ;;
esac
printf '%s %s\n' "$LIBVIRT_MARK" "$process" >"$LIBVIRT_FILE"
