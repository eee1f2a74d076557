#!/usr/bin/env bash
# The operator's link to the tables: output_link.sh create|delete
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

case "${1:-}" in
create)
    mkdir -p "$(dirname "$LOCAL_OUTPUT_LINK")"
    [ -L "$LOCAL_OUTPUT_LINK" ] || [ ! -e "$LOCAL_OUTPUT_LINK" ] ||
        fail "$(realpath "$LOCAL_OUTPUT_LINK") is in the way of the link to the tables. Move it elsewhere."
    ln -sfn "$LOCAL_STATE/output" "$LOCAL_OUTPUT_LINK"
    ;;
delete)
    # In a copied checkout it leads to another's tables; a link is all that goes.
    if [ -L "$LOCAL_OUTPUT_LINK" ]; then rm "$LOCAL_OUTPUT_LINK"; fi
    ;;
*) fail "usage: output_link.sh create|delete" ;;
esac
