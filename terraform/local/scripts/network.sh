#!/usr/bin/env bash
# The hosts' bridge and its NAT: network.sh check|up|down, and repair (what firewalls of this machine have undone since)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

# What is shared by all sets of hosts on this machine; /run is empty after a reboot, as the settings are.
shared=/run/imdb-pipeline
# Without sudo where there is nothing to repair.
if [ "${1:-}" = repair ] && ! ls "$shared/networks/"* >/dev/null 2>&1; then exit 0; fi
as_root "$@"

forward=/proc/sys/net/ipv4/ip_forward

# Another interface or route that overlaps the subnet would lose its traffic to us.
check() {
    local answer taken free
    answer=$(ip -j -4 route show table all | python3 "$(dirname "$0")/subnets.py" "$LOCAL_SUBNET" "$LOCAL_BRIDGE" "$LOCAL_ID")
    [ -n "$answer" ] || return 0
    taken=${answer%%$'\n'*} free=${answer#*$'\n'}
    [ "$free" != "$answer" ] ||
        fail "the subnet $LOCAL_SUBNET is taken on this machine: $taken, and so is every other private one. Disconnect what takes them (a VPN?), and try again."
    fail "the subnet $LOCAL_SUBNET is taken on this machine: $taken. $free is free: write subnet = \"$free\" into the environment's environment.tfvars, or terraform apply -var subnet=$free"
}

up() {
    check
    # terraform runs no destroy provisioner for what failed to be made
    trap '[ $? -eq 0 ] || down' EXIT
    lock "$shared/lock" 60
    install -d -m 0755 "$shared/networks" "$LOCAL_STATE"
    [ -e "$shared/forwarders.before" ] || forwarders >"$shared/forwarders.before"
    [ -e "$shared/ip_forward.before" ] || cat "$forward" >"$shared/ip_forward.before"
    echo "$LOCAL_BRIDGE $LOCAL_SUBNET" >"$shared/networks/$LOCAL_ID"

    ip link show "$LOCAL_BRIDGE" >/dev/null 2>&1 || ip link add "$LOCAL_BRIDGE" type bridge
    ip addr replace "${LOCAL_SUBNET%.*}.1/24" dev "$LOCAL_BRIDGE"
    ip link set "$LOCAL_BRIDGE" up
    open "$LOCAL_ID" "$LOCAL_BRIDGE" "$LOCAL_SUBNET"
    echo "$LOCAL_GENERATION" >"$LOCAL_STATE/network.generation"
}

# Forwarding, NAT and firewalls, for every set of hosts: as often as one likes. With a generation, for terraform.
repair() {
    local file bridge subnet
    lock "$shared/lock" 60
    for file in "$shared/networks/"*; do
        read -r bridge subnet <"$file" || continue
        [ ! -e "/sys/class/net/$bridge" ] || open "$(basename "$file")" "$bridge" "$subnet"
    done
    [ -z "${LOCAL_GENERATION:-}" ] || echo "$LOCAL_GENERATION" >"$LOCAL_STATE/forwarding.generation"
}

open() { # id, bridge, subnet
    echo 1 >"$forward"
    nft -f - <<RULES
table ip imdb_$1
delete table ip imdb_$1
table ip imdb_$1 {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr $3 oifname != "$2" masquerade
    }
}
RULES
    # Docker, ufw and others drop what is forwarded, and no rule of a chain of ours would save a packet from a chain of
    # theirs: the hosts' bridge is let through in their chains. Most of them use iptables and its chain, which is made if
    # it is not there yet, so that the rule is there before they come.
    if ! nft list chain ip filter FORWARD >/dev/null 2>&1; then
        nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority filter; policy accept; }'
        touch "$shared/filter.made"
    fi
    local family table chain
    while read -r family table chain; do
        let_through "$family $table $chain" "$2" ||
            echo "Warning: the firewall of this machine that owns the nftables table $table may drop what hosts send to the outside; let it forward what comes from and goes to $2." >&2
    done < <(forward_chains)
    if has_legacy filter; then
        legacy_rules -D "$2"
        legacy_rules -I "$2"
    fi
    if firewalld_runs; then firewall-cmd --quiet --zone=trusted --change-interface="$2"; fi
}

# Every chain that decides on what is forwarded, of whatever firewall. firewalld's is firewalld's to change.
forward_chains() {
    nft -j list chains | python3 -c '
import json, sys
for entry in json.load(sys.stdin)["nftables"]:
    chain = entry.get("chain", {})
    if chain.get("hook") == "forward" and chain["family"] in ("ip", "inet") and chain["table"] != "firewalld":
        print(chain["family"], chain["table"], chain["name"])
'
}

let_through() { # chain, bridge
    { forget "$1" "$2" && printf 'insert rule %s %s "%s" accept\n' "$1" iifname "$2" "$1" oifname "$2"; } | nft -f - 2>/dev/null
}

forget() { # chain, bridge: the commands that delete our rules from it
    # shellcheck disable=SC2086  # family, table and chain
    nft -a list chain $1 2> >(no_hints) | sed -nE "s/.*\"$2\".*# handle ([0-9]+)\$/delete rule $1 handle \1/p"
}

no_hints() { grep -v '^# Warning: table .* is managed by iptables-nft' >&2 || true; }

# The older kind of iptables, which nft does not see.
has_legacy() { grep -qsx "$1" /proc/net/ip_tables_names && command -v iptables-legacy >/dev/null; }
legacy_rules() { # -I or -D, bridge
    iptables-legacy "$1" FORWARD -i "$2" -j ACCEPT 2>/dev/null || [ "$1" = -D ]
    iptables-legacy "$1" FORWARD -o "$2" -j ACCEPT 2>/dev/null || [ "$1" = -D ]
}
firewalld_runs() { command -v firewall-cmd >/dev/null && firewall-cmd --state >/dev/null 2>&1; }

# What else on this machine lives on its forwarding: bridges (Docker's, libvirt's), NAT, and settings for each boot.
forwarders() {
    {
        ip -br link show type bridge | awk '$1 !~ /^imdb-/ { print "the bridge " $1 }'
        nft list ruleset 2> >(no_hints) | awk '/^table / { table = $3 }
            table !~ /^imdb_/ && tolower($0) ~ /masquerade|snat/ { print "NAT in the nftables table " table }'
        ! has_legacy nat || iptables-legacy -t nat -S | awk '/MASQUERADE|SNAT/ { print "NAT by iptables-legacy" }'
        grep -lsE '^[[:space:]]*net[./]ipv4[./](ip_forward|conf[./]all[./]forwarding)[[:space:]]*=[[:space:]]*1' \
            /etc/sysctl.conf /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /etc/ufw/sysctl.conf | sed 's/^/the setting in /' || true
    } | sort -u
}

down() {
    lock "$shared/lock" 60
    local chain
    if firewalld_runs; then firewall-cmd --quiet --zone=trusted --remove-interface="$LOCAL_BRIDGE" || true; fi
    if has_legacy filter; then legacy_rules -D "$LOCAL_BRIDGE"; fi
    while read -r chain; do forget "$chain" "$LOCAL_BRIDGE"; done < <(forward_chains) | nft -f -
    if nft list table ip "imdb_$LOCAL_ID" >/dev/null 2>&1; then nft delete table ip "imdb_$LOCAL_ID"; fi
    if ip link show "$LOCAL_BRIDGE" >/dev/null 2>&1; then ip link delete "$LOCAL_BRIDGE"; fi
    rm -f "$shared/networks/$LOCAL_ID" "$LOCAL_STATE/network.generation" "$LOCAL_STATE/forwarding.generation"
    rmdir "$LOCAL_STATE" 2>/dev/null || true # not empty: hosts are still to go
    [ -n "$(ls -A "$shared/networks" 2>/dev/null)" ] || restore
}

# The last one out puts the machine's settings back, unless somebody else has come to need them.
restore() {
    local since before
    if [ -e "$shared/filter.made" ] && [ "$(nft list table ip filter 2>/dev/null | tr -d '\t\n')" = \
        'table ip filter {chain FORWARD {type filter hook forward priority filter; policy accept;}}' ]; then
        nft delete table ip filter
    fi
    if [ -e "$shared/ip_forward.before" ]; then
        before=$(<"$shared/ip_forward.before")
        since=$(forwarders | comm -13 "$shared/forwarders.before" - | paste -sd , | sed 's/,/, /g')
        if [ "$before" = "$(<"$forward")" ]; then
            : # as it was
        elif [ -n "$since" ]; then
            echo "The machine goes on forwarding (net.ipv4.ip_forward stays 1): since the hosts were made has come $since." >&2
        else
            echo "$before" >"$forward"
        fi
    fi
    rm -rf "$shared/ip_forward.before" "$shared/forwarders.before" "$shared/filter.made" "$shared/networks"
}

case "${1:-}" in
check | up | repair | down) "$1" ;;
*) fail "usage: network.sh check|up|repair|down" ;;
esac
