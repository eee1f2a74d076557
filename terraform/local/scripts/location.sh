#!/usr/bin/env bash
# Where the environment of these hosts lies, beside their disks: location.sh write|delete
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
as_root "$@"

case "${1:-}" in
write)
    install -d -m 0755 "$LOCAL_STATE"
    printf '%s\n' "$LOCAL_LOCATION" >"$LOCAL_STATE/environment"
    ;;
delete)
    rm -f "$LOCAL_STATE/environment"
    rmdir "$LOCAL_STATE" 2>/dev/null || true # not empty: other parts are still to go
    ;;
*) fail "usage: location.sh write|delete" ;;
esac
