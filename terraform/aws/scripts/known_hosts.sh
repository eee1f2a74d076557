#!/usr/bin/env bash
# The keys of hosts that ssh has met: known_hosts.sh forget (one that is gone) | delete (all)
set -euo pipefail

file=${KNOWN_HOSTS:?}
case "${1:-}" in
forget)
    [ -e "$file" ] || exit 0
    # Several hosts may go at once, and ssh-keygen writes the whole file.
    for ((left = 100; left > 0; left--)); do
        ! mkdir "$file.lock" 2>/dev/null || break
        sleep 0.1
    done
    trap 'rmdir "$file.lock" 2>/dev/null || true' EXIT
    ssh-keygen -q -R "${KNOWN_HOSTS_ADDRESS:?}" -f "$file" >/dev/null 2>&1 || true # it may never have been met
    rm -f "$file.old"
    ;;
delete)
    rm -f "$file"
    ;;
*)
    echo "usage: KNOWN_HOSTS=... known_hosts.sh forget|delete" >&2
    exit 2
    ;;
esac
