#!/usr/bin/env bash
# The hosts' own keys, for the operator's ssh: known_hosts.sh create|delete
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

case "${1:-}" in
create)
    mkdir -p "$(dirname "$LOCAL_KNOWN_HOSTS")"
    while read -r names file; do
        printf '%s %s\n' "$names" "$(cut -d ' ' -f 1,2 "$file")"
    done <<<"$LOCAL_HOSTS" >"$LOCAL_KNOWN_HOSTS"
    echo "$LOCAL_MARK" >"$LOCAL_KNOWN_HOSTS.mark"
    ;;
delete)
    rm -f "$LOCAL_KNOWN_HOSTS" "$LOCAL_KNOWN_HOSTS.mark"
    rmdir "$(dirname "$LOCAL_KNOWN_HOSTS")" 2>/dev/null || true # not empty: other files are still to go
    ;;
*) fail "usage: known_hosts.sh create|delete" ;;
esac
