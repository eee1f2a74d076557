#!/bin/sh
# listing.sh before|after [FOLDER...]: keep a list of everything on a host that a role could have put there (rights and
# contents of files, users, packages, units), or print how the host differs from it and fail. Left out is what differs
# without any role, such as caches, logs and what package tools note. FOLDERs are of data, and listed with all in them.
list() {
    find /etc /opt /usr -xdev \
        \( -path /usr/lib/python3 -o -path /usr/share/man -o -path /usr/share/info -o -path /usr/share/mime \
        -o -path /opt/spark-output -o -path /etc/ld.so.cache -o -path /etc/.pwd.lock -o -path '/etc/*-' \) -prune \
        -o -printf '%p %M %U:%G %l\n'
    # Of data just whose folders there are: services that the role needs go on writing into theirs.
    find /var/lib /srv -maxdepth 1 -printf '%p %M %U:%G\n'
    for folder in "$@"; do find "$folder" -printf '%p %M %U:%G\n'; done
    # Releases are large: their sizes and times say enough.
    find /opt -xdev -type f -printf '%p %s %T@\n'
    find /etc /usr/local -xdev -type f ! -name '*-' ! -name ld.so.cache -exec sha256sum '{}' +
    dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' | grep -v not-installed
    # What systemd remembers, though its file is gone.
    systemctl list-units --all --plain --no-legend --state=not-found | awk '$3 == "failed" { print $1, $2, $3 }'
}

# Where it outlives a reboot.
kept=/var/tmp/listing
when=$1
shift
case "$when" in
before) list "$@" | sort >"$kept" ;;
after) list "$@" | sort | diff "$kept" - ;;
esac
