#!/usr/bin/env bash
# The hosts' bridge and its NAT: network.sh check|up|down
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
as_root "$@"

# What is shared by all sets of hosts on this machine; /run is empty after a reboot, as the settings are.
shared=/run/imdb-pipeline
table="imdb_$LOCAL_ID"
gateway=${LOCAL_SUBNET%.*}.1

# Another interface or route that overlaps the subnet would lose its traffic to us.
check() {
    local taken
    taken=$(ip -j -4 route show table main | LOCAL_BRIDGE=$LOCAL_BRIDGE LOCAL_SUBNET=$LOCAL_SUBNET python3 -c '
import ipaddress, json, os, sys
subnet = ipaddress.ip_network(os.environ["LOCAL_SUBNET"])
for route in json.load(sys.stdin):
    if route["dst"] != "default" and route.get("dev") != os.environ["LOCAL_BRIDGE"]:
        if subnet.overlaps(ipaddress.ip_network(route["dst"], strict=False)):
            print(route["dst"], "on", route.get("dev", "another route"))
')
    [ -z "$taken" ] ||
        fail "the subnet $LOCAL_SUBNET is taken on this machine: ${taken//$'\n'/, }. Choose another: terraform apply -var subnet=10.200.1.0/24"
}

up() {
    check
    # terraform runs no destroy provisioner for what failed to be made
    trap '[ $? -eq 0 ] || down' EXIT
    lock "$shared/lock" 60
    mkdir -p "$shared/networks"
    [ -e "$shared/ip_forward.before" ] || cat /proc/sys/net/ipv4/ip_forward >"$shared/ip_forward.before"
    touch "$shared/networks/$LOCAL_ID"
    echo 1 >/proc/sys/net/ipv4/ip_forward

    ip link show "$LOCAL_BRIDGE" >/dev/null 2>&1 || ip link add "$LOCAL_BRIDGE" type bridge
    ip addr replace "$gateway/24" dev "$LOCAL_BRIDGE"
    ip link set "$LOCAL_BRIDGE" up
    nft -f - <<RULES
table ip $table
delete table ip $table
table ip $table {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr $LOCAL_SUBNET oifname != "$LOCAL_BRIDGE" masquerade
    }
}
RULES
    # Docker and firewalls close the forward chain; open it for this bridge alone.
    if command -v iptables >/dev/null && iptables -S FORWARD 2>/dev/null | grep -q -e '-P FORWARD DROP'; then
        forward_rules -D
        forward_rules -I
    fi
    mkdir -p "$LOCAL_STATE"
    echo "$LOCAL_GENERATION" >"$LOCAL_STATE/network.generation"
}

forward_rules() {
    iptables "$1" FORWARD -i "$LOCAL_BRIDGE" -j ACCEPT 2>/dev/null || [ "$1" = -D ]
    iptables "$1" FORWARD -o "$LOCAL_BRIDGE" -j ACCEPT 2>/dev/null || [ "$1" = -D ]
}

down() {
    lock "$shared/lock" 60
    if command -v iptables >/dev/null; then forward_rules -D; fi
    if nft list table ip "$table" >/dev/null 2>&1; then nft delete table ip "$table"; fi
    if ip link show "$LOCAL_BRIDGE" >/dev/null 2>&1; then ip link delete "$LOCAL_BRIDGE"; fi
    rm -f "$shared/networks/$LOCAL_ID" "$LOCAL_STATE/network.generation"
    rmdir "$LOCAL_STATE" 2>/dev/null || true # not empty: hosts are still to go
    # The last one out puts the machine's setting back.
    if [ -e "$shared/ip_forward.before" ] && [ -z "$(ls -A "$shared/networks" 2>/dev/null)" ]; then
        cat "$shared/ip_forward.before" >/proc/sys/net/ipv4/ip_forward
        rm -rf "$shared/ip_forward.before" "$shared/networks"
    fi
}

case "${1:-}" in
check | up | down) "$1" ;;
*) fail "usage: network.sh check|up|down" ;;
esac
