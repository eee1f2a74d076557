#!/usr/bin/env bash
# The operator's key and the hosts' public ones: key.sh create|delete|known-hosts
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

case "${1:-}" in
create)
    mkdir -p "$LOCAL_GENERATED"
    [ -e "$LOCAL_GENERATED/id_ed25519" ] ||
        ssh-keygen -q -t ed25519 -N '' -C imdb-pipeline -f "$LOCAL_GENERATED/id_ed25519"
    ;;
delete) rm -rf "$LOCAL_GENERATED" ;;
known-hosts)
    while read -r names file; do
        printf '%s %s\n' "$names" "$(cut -d ' ' -f 1,2 "$file")"
    done <<<"$LOCAL_HOSTS" >"$LOCAL_GENERATED/known_hosts"
    ;;
*) fail "usage: key.sh create|delete|known-hosts" ;;
esac
