#!/usr/bin/env bash
# Write a disk for cloud-init. It holds the host's private key, and so is for nobody else to read.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
umask 077
command -v mkisofs >/dev/null || fail "mkisofs is missing (Debian package genisoimage). TARGET=libvirt tools/setup installs it."
parts=$(mktemp -d)
trap 'rm -rf "$parts" "$LIBVIRT_FILE.partial"' EXIT
printf '%s' "$LIBVIRT_USER_DATA" >"$parts/user-data"
printf '%s' "$LIBVIRT_META_DATA" >"$parts/meta-data"
printf '%s' "$LIBVIRT_NETWORK_CONFIG" >"$parts/network-config"
# cloud-init finds it by this label.
mkisofs -quiet -output "$LIBVIRT_FILE.partial" -volid cidata -joliet -rock "$parts"
mv "$LIBVIRT_FILE.partial" "$LIBVIRT_FILE"
