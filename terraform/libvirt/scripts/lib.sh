# shellcheck shell=bash
# What the scripts of this target share. Source it.

set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin"

fail() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

# Become root by sudo, keeping just the variables that start with LIBVIRT_. The argument says what for.
as_root() {
    local what=$1
    shift
    [ "$(id -u)" -ne 0 ] || return 0
    local variables
    mapfile -d '' -t variables < <(env -0 | grep -z '^LIBVIRT_')
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
        fail "$what needs root. Run terraform as root, or as a user whose sudo asks no password (after 'sudo -v', for instance)."
    fi
    exec sudo -n env "PATH=$PATH" "HOME=$HOME" "${variables[@]}" "$0" "$@"
}

# Hold a lock for the rest of the script; give up after so many seconds.
lock() {
    mkdir -p "$(dirname "$1")"
    exec 9>"$1"
    flock --wait "$2" 9 || fail "another run has held $1 for $2 s. Wait for it, or end it."
}

virsh() { LC_ALL=C timeout 30 virsh -q -c "$LIBVIRT_URI" "$@"; }
