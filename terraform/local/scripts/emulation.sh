#!/usr/bin/env bash
# Let this machine run programs of the hosts' architecture: emulation.sh up|down
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
as_root "$@"

case "$LOCAL_ARCH" in
arm64) format=qemu-aarch64 ;;
*) format=qemu-x86_64 ;;
esac
# Who uses it, and what was there before; /run is empty after a reboot, as binfmt_misc is.
shared=/run/imdb-pipeline
binfmt=/proc/sys/fs/binfmt_misc

up() {
    lock "$shared/lock" 60
    mkdir -p "$shared/$format"
    if [ ! -e "$binfmt/register" ]; then
        mount -t binfmt_misc binfmt_misc "$binfmt"
        touch "$shared/binfmt.mounted"
    fi
    if [ ! -e "$binfmt/$format" ]; then
        update-binfmts --enable "$format"
        [ -e "$binfmt/$format" ] || fail "update-binfmts did not enable $format. Is qemu-user-static installed whole?"
        touch "$shared/$format.enabled"
    fi
    touch "$shared/$format/$LOCAL_ID"
    mkdir -p "$LOCAL_STATE"
    echo "$LOCAL_GENERATION" >"$LOCAL_STATE/emulation.generation"
}

down() {
    lock "$shared/lock" 60
    rm -f "$shared/$format/$LOCAL_ID" "$LOCAL_STATE/emulation.generation"
    rmdir "$LOCAL_STATE" 2>/dev/null || true # not empty: the network is still to go
    rmdir "$shared/$format" 2>/dev/null || return 0 # others use it
    if [ -e "$shared/$format.enabled" ]; then
        update-binfmts --disable "$format"
        rm "$shared/$format.enabled"
    fi
    if [ -e "$shared/binfmt.mounted" ]; then
        umount "$binfmt"
        rm "$shared/binfmt.mounted"
    fi
}

case "${1:-}" in
up | down) "$1" ;;
*) fail "usage: emulation.sh up|down" ;;
esac
