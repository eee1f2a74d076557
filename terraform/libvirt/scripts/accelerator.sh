#!/usr/bin/env bash
# Find out whether KVM works, by booting a kernel with it, and write kvm or emulation to a file,
# with the mark of this run.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

say() { printf 'accelerator: %s\n' "$*" >&2; }

machine=$(uname -m)
case "$LIBVIRT_ARCH" in
arm64) cpu=aarch64 console=ttyAMA0 model=virt ;;
*) cpu=x86_64 console=ttyS0 model=q35 ;;
esac

# A kernel that finds no disk panics; with -no-reboot that ends QEMU. Nothing but a working processor gets so far.
boots() {
    local kernel=$1 log status=0
    log=$(mktemp)
    timeout 20 "${as_kvm[@]}" "qemu-system-$cpu" -accel kvm -cpu host -machine "$model" -m 256 -nodefaults -no-user-config \
        -display none -no-reboot -serial stdio -kernel "$kernel" -append "console=$console panic=-1" \
        </dev/null >"$log" 2>&1 || status=$?
    if [ "$status" -eq 0 ] && grep -q 'Kernel panic' "$log"; then
        rm -f "$log"
        return 0
    fi
    say "a kernel did not boot with KVM (status $status): $(tail -n 1 "$log" | tr -d '\r')"
    rm -f "$log"
    return 1
}

find_out() {
    if [ "$cpu" != "$machine" ]; then
        say "$cpu is not this machine's architecture ($machine)"
        return 1
    elif [ ! -e /dev/kvm ]; then
        say "this machine has no /dev/kvm"
        return 1
    fi
    as_kvm=()
    if [ ! -w /dev/kvm ]; then
        sudo -n true 2>/dev/null ||
            fail "you may not use /dev/kvm, so it cannot be tried. Join the group kvm (usermod -aG kvm $(id -un), then log in again), or set accelerator to kvm or emulation."
        as_kvm=(sudo -n)
    fi
    local kernel=$LIBVIRT_KERNEL candidate
    if [ ! -r "$kernel" ]; then
        for candidate in /boot/vmlinuz-*; do
            [ ! -r "$candidate" ] || kernel=$candidate
        done
    fi
    [ -r "$kernel" ] ||
        fail "there is no kernel to try KVM with: none in /boot may be read. Set accelerator to kvm or emulation."
    boots "$kernel"
}

case "$LIBVIRT_ACCELERATOR" in
auto) if find_out; then result=kvm; else result=emulation; fi ;;
*) result=$LIBVIRT_ACCELERATOR ;;
esac
say "using $result"
mkdir -p "$(dirname "$LIBVIRT_ACCELERATOR_FILE")"
echo "$result $LIBVIRT_MARK" >"$LIBVIRT_ACCELERATOR_FILE"
