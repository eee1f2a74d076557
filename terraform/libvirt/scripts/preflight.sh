#!/usr/bin/env bash
# Refuse what cannot work on this machine, before anything is made.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

missing=()
need() { command -v "$1" >/dev/null || missing+=("$1 (Debian package $2)"); }
need virsh libvirt-clients
need mkisofs genisoimage
need xsltproc xsltproc
need ssh openssh-client
need ssh-keygen openssh-client
if [ "$LIBVIRT_MAKES" = image ]; then
    need mmdebstrap mmdebstrap
    need mke2fs e2fsprogs
    need qemu-img qemu-utils
    need flock util-linux
    case "$LIBVIRT_ARCH-$(uname -m)" in
    arm64-x86_64) need arch-test arch-test && need qemu-aarch64-static qemu-user-static ;;
    x86_64-aarch64) need arch-test arch-test && need qemu-x86_64-static qemu-user-static ;;
    esac
fi
if [ ${#missing[@]} -gt 0 ]; then
    printf -v list '%s, ' "${missing[@]}"
    fail "this machine lacks ${list%, }. Install them (TARGET=libvirt tools/setup does on Debian) and run terraform apply again."
fi

case "$LIBVIRT_URI" in
qemu:///* | qemu+unix:///*) ;;
*) exit 0 ;; # another machine's network is its own
esac

case "$LIBVIRT_ARCH" in
arm64) need qemu-system-aarch64 qemu-system-arm ;;
*) need qemu-system-x86_64 qemu-system-x86 ;;
esac
[ ${#missing[@]} -eq 0 ] ||
    fail "this machine lacks ${missing[*]}. Install it (TARGET=libvirt tools/setup does on Debian) and run terraform apply again."

# Another interface or route that overlaps the subnet would lose its traffic to us.
taken=$(ip -j -4 route show table main | python3 -c '
import ipaddress, json, os, sys
subnet = ipaddress.ip_network(os.environ["LIBVIRT_SUBNET"])
for route in json.load(sys.stdin):
    if route["dst"] != "default" and route.get("dev") != os.environ["LIBVIRT_BRIDGE"]:
        if subnet.overlaps(ipaddress.ip_network(route["dst"], strict=False)):
            print(route["dst"], "on", route.get("dev", "another route"))
')
[ -z "$taken" ] ||
    fail "the subnet $LIBVIRT_SUBNET is taken on this machine: ${taken//$'\n'/, }. Choose another: terraform apply -var subnet=10.200.1.0/24"
