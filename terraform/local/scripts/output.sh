#!/usr/bin/env bash
# The folder of tables that all hosts share, and the operator's link to it: output.sh create|delete
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

case "${1:-}:$(id -u)" in
create:*)
    # The link is the operator's, the folder is root's.
    if [ -n "${LOCAL_OUTPUT_LINK:-}" ]; then
        mkdir -p "$(dirname "$LOCAL_OUTPUT_LINK")"
        [ -L "$LOCAL_OUTPUT_LINK" ] || [ ! -e "$LOCAL_OUTPUT_LINK" ] ||
            fail "$LOCAL_OUTPUT_LINK is in the way of the link to the tables. Move it elsewhere."
        ln -sfn "$LOCAL_STATE/output" "$LOCAL_OUTPUT_LINK"
        unset LOCAL_OUTPUT_LINK
    fi
    as_root "$@"
    mkdir -p "$LOCAL_STATE/output"
    ;;
delete:*)
    if [ -L "${LOCAL_OUTPUT_LINK:-}" ]; then rm "$LOCAL_OUTPUT_LINK"; fi
    unset LOCAL_OUTPUT_LINK
    as_root "$@"
    rm -rf "${LOCAL_STATE:?}/output"
    rmdir "$LOCAL_STATE" 2>/dev/null || true # not empty: other parts are still to go
    ;;
*) fail "usage: output.sh create|delete" ;;
esac
