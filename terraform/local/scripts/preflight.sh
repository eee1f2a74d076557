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

# Terraform reads the hosts' state as the operator.
folder=$LOCAL_STATE
until [ -d "$folder" ] || [ "$folder" = / ]; do folder=$(dirname "$folder"); done
[ -x "$folder" ] ||
    fail "$folder is closed to $(id -un), who runs terraform and must see the hosts' state in it. Open it (sudo chmod 0755 $folder), or set state_dir to another folder."
# And sees by the process of a host's supervisor whether it runs: one that it does not see would be started anew each time.
[ -r /proc/1/cmdline ] ||
    fail "/proc is mounted with hidepid and hides the processes of others from $(id -un), who runs terraform and must see whether the hosts run. Run terraform as root, or let your group see them: the option gid= of that mount."

as_root "$@"

if [ -z "$(name_servers)" ]; then
    servers=$({ cat /etc/resolv.conf 2>/dev/null || true; } | awk '$1 == "nameserver" { print $2 }' | paste -sd ' ')
    # Hosts whose mirror is an address need no names.
    if [ -n "$servers" ] && ! [[ "${LOCAL_DEBIAN_MIRROR:-}" =~ ://[0-9.]+[:/] ]]; then
        fail "hosts would have no DNS: they cannot reach the name servers of this machine's /etc/resolv.conf ($servers), which are on its loopback or have no IPv4 address, and nothing says whom those ask. Name servers that hosts can reach: name_servers = [\"192.0.2.53\"] among the inputs, or terraform apply -var 'name_servers=[\"192.0.2.53\"]'."
    fi
    echo "Warning: this machine has no name server that hosts can reach, so they will look up no names but each other's." >&2
fi

case "$(stat -f -c %T "$(d=$LOCAL_STATE; until [ -d "$d" ]; do d=$(dirname "$d"); done; echo "$d")")" in
overlayfs) fail "$LOCAL_STATE lies on an overlay file system, which cannot carry the hosts' overlays. Set state_dir to a folder on a disk." ;;
esac
"$(dirname "$0")/network.sh" check
