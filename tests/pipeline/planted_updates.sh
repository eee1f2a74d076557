#!/bin/bash
# Gives a host an archive of its own with updates, in place of those that it has: planted_updates.sh plant|remove
# A newer zlib1g, which JVMs and Python have loaded, is Debian's by its label; so is a package that is held. Another archive has
# a third package.
set -euo pipefail
work=/srv/planted-updates
case "$1" in
plant)
    mkdir -p $work/debian $work/elsewhere
    package() { # name, version, folder of the archive
        local folder=$work/$1-$2
        mkdir -p "$folder/DEBIAN"
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody\nDescription: planted\n' "$1" "$2" >"$folder/DEBIAN/control"
        dpkg-deb --root-owner-group --build "$folder" "$3" >/dev/null
    }
    for name in held foreign; do
        package "planted-$name" 1 $work
        dpkg --install "$work/planted-${name}_1_all.deb" >/dev/null
    done
    package planted-held 2 $work/debian
    package planted-foreign 2 $work/elsewhere
    apt-mark hold planted-held >/dev/null

    # The library that is installed, under a newer version.
    folder=$work/zlib1g
    mkdir -p $folder/DEBIAN
    dpkg-query --status zlib1g | sed -e '/^Status:/d' -e 's/^Version: .*/&+planted/' >$folder/DEBIAN/control
    for kind in shlibs symbols triggers; do
        cp "$(dpkg-query --control-path zlib1g $kind)" $folder/DEBIAN/$kind
    done
    dpkg-query --listfiles zlib1g | while read -r path; do
        if [ ! -d "$path" ]; then
            mkdir -p "$folder$(dirname "$path")"
            cp --archive "$path" "$folder$path"
        fi
    done
    dpkg-deb --root-owner-group --build $folder $work/debian >/dev/null

    mkdir -p /etc/apt/planted-away
    find /etc/apt/sources.list /etc/apt/sources.list.d -type f 2>/dev/null | while read -r file; do mv "$file" /etc/apt/planted-away/; done
    for name in debian elsewhere; do
        cd $work/$name
        for file in *.deb; do
            dpkg-deb --field "$file"
            printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d ' ' -f 1)"
        done >Packages
        label=$([ $name = debian ] && echo Debian-Security || echo Elsewhere)
        printf 'Origin: planted\nLabel: %s\nSuite: planted\nSHA256:\n %s %s Packages\n' "$label" "$(sha256sum Packages | cut -d ' ' -f 1)" \
            "$(stat -c %s Packages)" >Release
        echo "deb [trusted=yes] file:$work/$name ./" >>/etc/apt/sources.list.d/planted.list
    done
    ;;
remove)
    rm -f /etc/apt/sources.list.d/planted.list
    for file in /etc/apt/planted-away/*; do
        case "$file" in
        */sources.list) mv "$file" /etc/apt/ ;;
        *) [ ! -e "$file" ] || mv "$file" /etc/apt/sources.list.d/ ;;
        esac
    done
    rm -rf $work /etc/apt/planted-away
    apt-mark unhold planted-held >/dev/null
    dpkg --purge planted-held planted-foreign >/dev/null
    ;;
esac
