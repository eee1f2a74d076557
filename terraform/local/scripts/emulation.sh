#!/usr/bin/env bash
# Let this machine run programs of the hosts' architecture: emulation.sh up|down
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
as_root "$@"

case "$LOCAL_ARCH" in
arm64) cpu=aarch64 ;;
*) cpu=x86_64 ;;
esac
# An entry of our own, which goes before the distribution's: it keeps the rights of set-uid programs (flag C; sudo
# needs it) and holds the interpreter open, so that hosts need no copy (F).
entry=imdb-$cpu
interpreter=/usr/libexec/qemu-binfmt/$cpu-binfmt-P
# Who uses it, and what was there before; /run is empty after a reboot, as binfmt_misc is.
shared=/run/imdb-pipeline
binfmt=/proc/sys/fs/binfmt_misc

up() {
    lock "$shared/lock" 60
    mkdir -p "$shared/$entry"
    if [ ! -e "$binfmt/register" ]; then
        mount -t binfmt_misc binfmt_misc "$binfmt"
        touch "$shared/binfmt.mounted"
    fi
    if [ ! -e "$binfmt/$entry" ]; then
        local magic mask
        magic=$(sed -n 's/^magic //p' "/usr/share/binfmts/qemu-$cpu")
        mask=$(sed -n 's/^mask //p' "/usr/share/binfmts/qemu-$cpu")
        printf '%s' ":$entry:M:0:$magic:$mask:$interpreter:POCF" >"$binfmt/register" ||
            fail "the kernel refused to run $cpu programs by $interpreter. Is qemu-user-static installed whole?"
    fi
    touch "$shared/$entry/$LOCAL_ID"
    mkdir -p "$LOCAL_STATE"
    echo "$LOCAL_GENERATION" >"$LOCAL_STATE/emulation.generation"
}

down() {
    lock "$shared/lock" 60
    rm -f "$shared/$entry/$LOCAL_ID" "$LOCAL_STATE/emulation.generation"
    rmdir "$LOCAL_STATE" 2>/dev/null || true    # not empty: the network is still to go
    rmdir "$shared/$entry" 2>/dev/null || return 0 # others use it
    [ ! -e "$binfmt/$entry" ] || echo -1 >"$binfmt/$entry"
    if [ -e "$shared/binfmt.mounted" ]; then
        umount "$binfmt"
        rm "$shared/binfmt.mounted"
    fi
}

case "${1:-}" in
up | down) "$1" ;;
*) fail "usage: emulation.sh up|down" ;;
esac
