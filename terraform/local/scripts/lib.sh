# shellcheck shell=bash
# What the scripts of this target share. Source it.

set -euo pipefail
# Where Debian has nft, and where a user's PATH does not lead.
PATH="$PATH:/usr/sbin:/sbin"
# Services on hosts, and terraform as the operator, read what is made here, whatever the operator's umask.
umask 022

fail() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

# Become root by sudo, keeping just the variables that start with LOCAL_.
as_root() {
    [ "$(id -u)" -ne 0 ] || return 0
    local variables
    mapfile -d '' -t variables < <(env -0 | grep -z '^LOCAL_')
    command -v sudo >/dev/null ||
        fail "local hosts need root (mounts, network, namespaces) and there is no sudo. Run terraform as root."
    sudo -n true 2>/dev/null ||
        fail "local hosts need root (mounts, network, namespaces). Run terraform as root, or as a user whose sudo asks no password (after 'sudo -v', for instance)."
    exec sudo -n env "PATH=$PATH" "${variables[@]}" "$0" "$@"
}

# Hold a lock for the rest of the script; give up after so many seconds.
lock() {
    mkdir -p "$(dirname "$1")"
    exec 9>"$1"
    flock --wait "$2" 9 || fail "another run has held $1 for $2 s. Wait for it, or end it."
}

# A process as "pid starttime", so that another one with the same pid is told from it.
identity() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # shellcheck disable=SC2086  # the fields after the command's name
    set -- "$1" ${stat##*) }
    echo "$1 ${21}"
}

# Whether the process that a file names, by its identity, lives. A zombie does not.
lives() {
    local pid start
    [ -s "$1" ] && read -r pid start <"$1" && [ "$(identity "$pid")" = "$pid $start" ] &&
        [ -n "$(tr -d '\0' <"/proc/$pid/cmdline" 2>/dev/null)" ]
}

# Wait up to so many seconds for a command to succeed.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# Name servers that hosts can reach, one a line: those that the operator names, else the machine's. Hosts have IPv4
# through NAT, so a server on the machine's loopback is not one of them, but those that it asks itself are.
name_servers() {
    local file found
    # shellcheck disable=SC2086  # one argument a server
    [ -z "${LOCAL_NAME_SERVERS:-}" ] || { printf '%s\n' $LOCAL_NAME_SERVERS && return; }
    for file in /etc/resolv.conf /run/systemd/resolve/resolv.conf /run/NetworkManager/no-stub-resolv.conf \
        /run/dnsmasq/resolv.conf /run/resolvconf/resolv.conf /etc/resolv.dnsmasq* /etc/dnsmasq.conf /etc/dnsmasq.d/*; do
        [ -r "$file" ] || continue
        found=$(sed -nE 's/^(nameserver[[:space:]]+|server=)(([0-9]+\.){3}[0-9]+)([[:space:]#].*)?$/\2/p' "$file" |
            grep -vE '^(127|0)\.') || continue
        echo "$found"
        return
    done
}

write_resolv_conf() { # a host's root folder; without a server it keeps the file that it has
    local servers
    servers=$(name_servers)
    # A link of the host's own would be followed on this machine.
    [ ! -L "$1/etc/resolv.conf" ] || rm "$1/etc/resolv.conf"
    if [ -z "$servers" ]; then
        echo "Warning: this machine knows no name server that hosts can reach, so they look up no new names. Set name_servers." >&2
        return
    fi
    {
        grep -sE '^(search|domain|options)[[:space:]]' /etc/resolv.conf || true
        echo "nameserver ${servers//$'\n'/$'\nnameserver '}"
    } >"$1/etc/resolv.conf"
}
