#!/usr/bin/env bash
# Make the base image, once, by mmdebstrap. Its recipe is this file: a change of it makes another image.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
as_root "$@"

# The files of an image with mode, owner and size: one whose owners were lost in a copy boots, and lets nobody in.
listed() { find "$1" -printf '%y %m %U %G %P ' \( -type f -printf '%s\n' -o -printf '\n' \) | LC_ALL=C sort; }
made() { # whether it is there, and as it was made; an image of an earlier recipe has no list
    [ -e "$LOCAL_IMAGE/etc/debian_version" ] || return 1
    [ ! -e "$LOCAL_IMAGE.files" ] || cmp --quiet "$LOCAL_IMAGE.files" <(listed "$LOCAL_IMAGE")
}
! made || exit 0
lock "$LOCAL_IMAGE.lock" 900
! made || exit 0
if [ -e "$LOCAL_IMAGE" ]; then
    # Hosts that run from it keep what they have.
    rm -rf "$LOCAL_IMAGE.damaged"
    mv "$LOCAL_IMAGE" "$LOCAL_IMAGE.damaged"
    echo "Warning: the base image $LOCAL_IMAGE is not as it was made (copied without owners, or cleaned in part), so it is made anew. The old one is $LOCAL_IMAGE.damaged; delete it when no host runs from it." >&2
fi

case "$LOCAL_ARCH" in
x86_64) arch=amd64 ;;
*) arch=$LOCAL_ARCH ;;
esac
# Java and nftables too: once for all hosts, in the one run of dpkg. Roles install them where they are not.
packages=systemd,systemd-sysv,libpam-systemd,dbus,openssh-server,sudo,python3,python3-apt,iproute2,procps,ca-certificates,default-jre-headless,nftables

customize=$(mktemp)
trap 'rm -rf "$customize" "$LOCAL_IMAGE.partial"' EXIT
cat >"$customize" <<'CUSTOMIZE'
set -eu
root=$1
# The admin user: by key alone, may do all.
chroot "$root" useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/admin"
chmod 0440 "$root/etc/sudoers.d/admin"
printf 'PasswordAuthentication no\nPermitRootLogin no\nUseDNS no\nAcceptEnv LANG LC_*\n' >"$root/etc/ssh/sshd_config.d/10-hosts.conf"
# Each host gets keys, a name and an identity of its own.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname" "$root/etc/resolv.conf"
: >"$root/etc/machine-id"
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
for unit in systemd-networkd.service ssh.service; do
    chroot "$root" systemctl enable "$unit" >/dev/null 2>&1
done
# What makes no sense in a host whose clock, disks and console are the machine's, or costs boots time.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer systemd-timesyncd.service \
    systemd-networkd-wait-online.service getty.target console-getty.service systemd-firstboot.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# The hosts share the machine's disk, and their data outlives them only as files: no sync for packages.
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
printf 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n' >"$root/etc/apt/apt.conf.d/10-hosts"
if [ "$2" = emulated ]; then
    # networkd finds no netlink under qemu-user; host.sh sets the address.
    for unit in systemd-networkd.service systemd-networkd.socket; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    # qemu-user has no way to pass credentials, so units that load them fail.
    for unit in systemd-sysctl systemd-sysusers systemd-tmpfiles-setup systemd-tmpfiles-setup-dev systemd-tmpfiles-clean; do
        mkdir -p "$root/etc/systemd/system/$unit.service.d"
        printf '[Service]\nLoadCredential=\nSetCredential=\n' >"$root/etc/systemd/system/$unit.service.d/emulated.conf"
    done
fi
CUSTOMIZE

emulated=native
[ "$arch" = "$(dpkg --print-architecture)" ] || emulated=emulated

mkdir -p "$(dirname "$LOCAL_IMAGE")"
rm -rf "$LOCAL_IMAGE.partial"
echo "Making the base image (Debian $LOCAL_DEBIAN_RELEASE, $LOCAL_ARCH) in $LOCAL_IMAGE" >&2
# shellcheck disable=SC2086  # no mirror: no argument
mmdebstrap --quiet --mode=root --variant=minbase --arch="$arch" --include="$packages" --skip=cleanup/apt/lists \
    --dpkgopt=force-unsafe-io \
    --customize-hook="sh '$customize' \"\$1\" $emulated" \
    --customize-hook="${LOCAL_IMAGE_HOOK:-true}" \
    "$LOCAL_DEBIAN_RELEASE" "$LOCAL_IMAGE.partial" $LOCAL_DEBIAN_MIRROR >&2 ||
    fail "mmdebstrap could not make the base image; its last lines say why. No network? Then set debian_mirror to one that is reachable."
# Once for all its files, in place of dpkg's sync for each: what bears the image's name is whole.
sync --file-system "$LOCAL_IMAGE.partial"
listed "$LOCAL_IMAGE.partial" >"$LOCAL_IMAGE.files"
mv "$LOCAL_IMAGE.partial" "$LOCAL_IMAGE"
