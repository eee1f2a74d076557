#!/usr/bin/env bash
# Refuse what cannot work on this machine, before anything is made.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

missing=()
need() { command -v "$1" >/dev/null || missing+=("$1 (Debian package $2)"); }
need systemd-nspawn systemd-container
need mmdebstrap mmdebstrap
need ip iproute2
need nft nftables
need ssh-keygen openssh-client
need python3 python3
need flock util-linux
# mmdebstrap checks Debian's packages by it; Debian has it from the start, other distributions do not.
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] ||
    missing+=("/usr/share/keyrings/debian-archive-keyring.gpg (Debian and Ubuntu package debian-archive-keyring)")
case "$LOCAL_ARCH-$(uname -m)" in
arm64-x86_64) need arch-test arch-test; need qemu-aarch64-static qemu-user-static ;;
x86_64-aarch64) need arch-test arch-test; need qemu-x86_64-static qemu-user-static ;;
esac
if [ ${#missing[@]} -gt 0 ]; then
    printf -v list '%s, ' "${missing[@]}"
    fail "this machine lacks ${list%, }. Install them (tools/setup does on Debian) and run terraform apply again."
fi

as_root "$@"

case "$(stat -f -c %T "$(d=$LOCAL_STATE; until [ -d "$d" ]; do d=$(dirname "$d"); done; echo "$d")")" in
overlayfs) fail "$LOCAL_STATE lies on an overlay file system, which cannot carry the hosts' overlays. Set state_dir to a folder on a disk." ;;
esac
"$(dirname "$0")/network.sh" check
