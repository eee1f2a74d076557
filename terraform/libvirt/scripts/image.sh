#!/usr/bin/env bash
# Make the base image, once, by mmdebstrap: a disk without boot loader, its kernel and its initial RAM disk.
# Its recipe is this file: a change of it makes another image.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

[ ! -e "$LIBVIRT_IMAGE/disk.qcow2" ] || exit 0
as_root "making the base image (once; or give one by -var image=...)" "$@"
lock "$LIBVIRT_IMAGE.lock" 1800
[ ! -e "$LIBVIRT_IMAGE/disk.qcow2" ] || exit 0

case "$LIBVIRT_ARCH" in
x86_64) arch=amd64 ;;
*) arch=$LIBVIRT_ARCH ;;
esac
packages=systemd,systemd-sysv,libpam-systemd,systemd-timesyncd,dbus,udev,openssh-server,sudo,python3,python3-apt
packages+=,iproute2,procps,ca-certificates,e2fsprogs,xfsprogs,cloud-init,cloud-guest-utils,initramfs-tools,"linux-image-cloud-$arch"
[ "$LIBVIRT_DEBIAN_RELEASE" = bookworm ] || packages+=,systemd-cryptsetup-

partial=$LIBVIRT_IMAGE.partial
emulation=
clean_up() {
    [ -z "$emulation" ] || emulate down
    rm -rf --one-file-system "${partial:?}" || true # what is still mounted in it goes with the next try
}
trap clean_up EXIT

# Programs of another architecture are run the way that terraform/local runs its hosts.
emulate() {
    LOCAL_ARCH=$LIBVIRT_ARCH LOCAL_ID=$LIBVIRT_ID-image LOCAL_STATE=$partial/emulation LOCAL_GENERATION=0 \
        "$(dirname "$0")/../../local/scripts/emulation.sh" "$1"
}

rm -rf --one-file-system "${partial:?}"
mkdir -p "$partial"
if [ "$arch" != "$(dpkg --print-architecture)" ]; then
    emulate up
    emulation=yes
fi

cat >"$partial/essential" <<'ESSENTIAL'
set -eu
# Several packages have the initial RAM disk made anew; it is made once, at the end.
chroot "$1" dpkg-divert --quiet --local --rename --add /usr/sbin/update-initramfs
ln -s /bin/true "$1/usr/sbin/update-initramfs"
ESSENTIAL

cat >"$partial/customize" <<'CUSTOMIZE'
set -eu
root=$1
rm "$root/usr/sbin/update-initramfs"
chroot "$root" dpkg-divert --quiet --local --rename --remove /usr/sbin/update-initramfs
for kernel in "$root"/boot/vmlinuz-*; do
    chroot "$root" update-initramfs -c -k "${kernel##*/vmlinuz-}" >/dev/null
done
# What the roles install lies ready, not installed.
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq --yes --no-install-recommends --download-only install default-jre-headless >/dev/null
# The kernel is given from outside, so its modules must stay when packages are upgraded.
chroot "$root" sh -c 'apt-mark hold $(dpkg-query -W -f "\${Package}\n" "linux-image-*")' >/dev/null
printf '/dev/vda / ext4 errors=remount-ro,x-systemd.growfs 0 1\n' >"$root/etc/fstab"
printf 'PasswordAuthentication no\nPermitRootLogin no\nUseDNS no\nAcceptEnv LANG LC_*\n' >"$root/etc/ssh/sshd_config.d/10-hosts.conf"
# Nor is the initial RAM disk the host's, and making it takes an emulated one minutes.
echo update_initramfs=no >"$root/etc/initramfs-tools/update-initramfs.conf"
# Each host gets keys, a name and an identity of its own.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname" "$root/etc/resolv.conf"
: >"$root/etc/machine-id"
# cloud-init does what a host needs and nothing else: each module costs an emulated host seconds.
cat >"$root/etc/cloud/cloud.cfg.d/90_hosts.cfg" <<'CLOUD'
datasource_list: [NoCloud]
system_info:
  network:
    renderers: [networkd]
cloud_init_modules: [write_files, set_hostname, users_groups, ssh]
cloud_config_modules: []
cloud_final_modules: []
CLOUD
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
for unit in systemd-networkd.service ssh.service; do
    chroot "$root" systemctl enable "$unit" >/dev/null 2>&1
done
# What makes no sense in a host that lives for the pipeline, or costs boots time.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service systemd-networkd-wait-online.service \
    systemd-firstboot.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
printf 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n' >"$root/etc/apt/apt.conf.d/10-hosts"
CUSTOMIZE

echo "Making the base image (Debian $LIBVIRT_DEBIAN_RELEASE, $LIBVIRT_ARCH) in $LIBVIRT_IMAGE" >&2
# shellcheck disable=SC2086  # no mirror: no argument
mmdebstrap --quiet --mode=root --variant=minbase --arch="$arch" --include="$packages" --skip=cleanup/apt \
    --essential-hook="sh '$partial/essential' \"\$1\"" --customize-hook="sh '$partial/customize' \"\$1\"" \
    "$LIBVIRT_DEBIAN_RELEASE" "$partial/root" $LIBVIRT_DEBIAN_MIRROR >&2 ||
    fail "mmdebstrap could not make the base image; its last lines say why. No network? Then set debian_mirror to one that is reachable."

cp "$(ls "$partial/root/boot/"vmlinuz-*)" "$partial/vmlinuz"
cp "$(ls "$partial/root/boot/"initrd.img-*)" "$partial/initrd.img"
# The file system is filled without mounting it, then stored without its holes.
mke2fs -q -t ext4 -d "$partial/root" "$partial/disk.raw" 3G >/dev/null
qemu-img convert -q -f raw -O qcow2 -c -o compression_type=zstd "$partial/disk.raw" "$partial/disk.qcow2"
rm -rf --one-file-system "$partial/root" "$partial/disk.raw" "$partial/essential" "$partial/customize"
[ -z "$emulation" ] || emulate down
emulation=
chmod 0644 "$partial"/*
mv "$partial" "$LIBVIRT_IMAGE"
