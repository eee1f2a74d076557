#!/usr/bin/env bash
# Data of an environment goes only when it is named:
#   guard.sh note     note that there is data
#   guard.sh release  refuse to delete it, or forget it where TF_VAR_delete_data has its host or the environment
#   guard.sh all      refuse to delete any, unless TF_VAR_delete_data has the environment's name or all hosts
# GUARD_FOLDER is the environment's folder and GUARD_NAME its name; GUARD_DATA is the name of the data, and GUARD_CONTENT
# what it is: one line of JSON with host, what and place.
set -euo pipefail

noted=${GUARD_FOLDER:?}/.data

fail() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

field() { # name; one line of JSON, as terraform's jsonencode writes it, on standard input
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

named() { # a host's key
    local word
    for word in ${TF_VAR_delete_data//,/ }; do
        [ "$word" != "$1" ] && [ "$word" != "${GUARD_NAME:?}" ] || return 0
    done
    return 1
}

# A copied folder has the hosts of the first in its state.
refuse_copy() {
    local record first
    # Read at once: while all of the environment is destroyed, which `all` has allowed, it goes beside this.
    record=$(cat "$GUARD_FOLDER/.identity" 2>/dev/null) || return 0
    first=$(field folder <<<"$record")
    if [ "$first" -ef "$GUARD_FOLDER" ] || [ ! -e "$first/.identity" ]; then return 0; fi
    [ "$(field id <"$first/.identity")" != "$(field id <<<"$record")" ] ||
        fail "$(realpath "$GUARD_FOLDER") is a copy of $first, and the hosts belong to that. Go on there. If this is the one to go on with, move the other away first."
}

refuse() { # what would be lost
    printf 'Error: this would delete data of the environment %s, and nothing says that it may go:\n' "$GUARD_NAME" >&2
    printf '  - %s\n' "$@" >&2
    cat >&2 <<TEXT
If it is to go: make down NAME=$GUARD_NAME CONFIRM=$GUARD_NAME deletes the environment's hosts with all their data. With
terraform alone, put TF_VAR_delete_data=$GUARD_NAME (all), or the keys of the hosts concerned, before the command.
TEXT
    exit 1
}

: "${TF_VAR_delete_data:=}"
case "${1:-}" in
note)
    mkdir -p "$noted"
    printf '%s\n' "${GUARD_CONTENT:?}" >"$noted/${GUARD_DATA:?}"
    ;;
release)
    refuse_copy
    named "$(field host <<<"${GUARD_CONTENT:?}")" || refuse "$(field what <<<"$GUARD_CONTENT")"
    rm -f "$noted/${GUARD_DATA:?}"
    rmdir "$noted" 2>/dev/null || true # not empty: there is more data
    ;;
all)
    refuse_copy
    lost=()
    for file in "$noted"/*; do
        if [ -e "$file" ] && ! named "$(field host <"$file")"; then lost+=("$(field what <"$file")"); fi
    done
    [ ${#lost[@]} -eq 0 ] || refuse "${lost[@]}"
    ;;
*)
    echo "usage: guard.sh note|release|all" >&2
    exit 2
    ;;
esac
