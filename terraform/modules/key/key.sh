#!/usr/bin/env bash
# The operator's key for the hosts: key.sh create|delete, in the folder KEY_FOLDER
set -euo pipefail

key=${KEY_FOLDER:?}/id_ed25519

case "${1:-}" in
create)
    command -v ssh-keygen >/dev/null || {
        echo "Error: this machine lacks ssh-keygen (Debian package openssh-client). Install it and run terraform apply again." >&2
        exit 1
    }
    mkdir -p "$KEY_FOLDER"
    [ -e "$key" ] || ssh-keygen -q -t ed25519 -N '' -C imdb-pipeline -f "$key"
    [ -e "$key.pub" ] || ssh-keygen -y -f "$key" >"$key.pub"
    echo "$KEY_MARK" >"$KEY_FOLDER/.key"
    ;;
delete)
    rm -f "$key" "$key.pub" "$KEY_FOLDER/.key"
    rmdir "$KEY_FOLDER" 2>/dev/null || true # not empty: other files are still to go
    ;;
*)
    echo "usage: KEY_FOLDER=... key.sh create|delete" >&2
    exit 2
    ;;
esac
