#!/bin/sh
# listing.sh before|after: keep a list of everything on a host that a role could have put there (rights and contents of
# files, users, packages, units), or print how the host differs from it and fail. Left out is what differs without any
# role, such as caches, logs and what package tools note.
list() {
    find /etc /opt /usr -xdev \
        \( -path /usr/lib/python3 -o -path /usr/share/man -o -path /usr/share/info -o -path /usr/share/mime \
        -o -path /opt/spark-output -o -path /etc/ld.so.cache -o -path /etc/.pwd.lock -o -path '/etc/*-' \) -prune \
        -o -printf '%p %M %U:%G %l\n'
    # Of data just whose folders there are: services that the role needs go on writing into theirs.
    find /var/lib -maxdepth 1 -printf '%p %M %U:%G\n'
    # Releases are large: their sizes and times say enough.
    find /opt -xdev -type f -printf '%p %s %T@\n'
    find /etc /usr/local -xdev -type f ! -name '*-' ! -name ld.so.cache -exec sha256sum '{}' +
    dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' | grep -v not-installed
}

# Where it outlives a reboot.
kept=/var/tmp/listing
case "$1" in
before) list | sort >"$kept" ;;
after) list | sort | diff "$kept" - ;;
esac
