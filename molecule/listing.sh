#!/bin/sh
# Everything on a host that a role could have put there: rights and contents of files, users, packages, units.
# Left out: what differs without any role, such as caches, logs and what package tools note.
find /etc /opt /usr -xdev \
    \( -path /usr/lib/python3 -o -path /usr/share/man -o -path /usr/share/info -o -path /usr/share/mime \
    -o -path /opt/spark-output -o -path /etc/ld.so.cache -o -path /etc/.pwd.lock -o -path '/etc/*-' \) -prune \
    -o -printf '%p %M %U:%G %l\n' | sort
# Of data just whose folders there are: services that the role needs go on writing into theirs.
find /var/lib -maxdepth 1 -printf '%p %M %U:%G\n' | sort
find /etc /opt /usr/local -xdev -type f ! -name '*-' ! -name ld.so.cache -exec sha256sum '{}' + | sort -k 2
dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' | grep -v not-installed | sort
