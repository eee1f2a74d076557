#!/usr/bin/env bash
# The folder of tables that all hosts share: output.sh create|delete
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
as_root "$@"

case "${1:-}" in
create)
    install -d -m 0755 "$LOCAL_STATE" "$LOCAL_STATE/output"
    ;;
delete)
    rm -rf "${LOCAL_STATE:?}/output"
    rmdir "$LOCAL_STATE" 2>/dev/null || true # not empty: other parts are still to go
    ;;
*) fail "usage: output.sh create|delete" ;;
esac
