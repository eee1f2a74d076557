#!/usr/bin/env bash
# One host, a systemd-nspawn container over an overlay of the base image:
# host.sh create|delete (its disk), start|stop (the host), names (who is who), supervise (internal)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
as_root "$@"

if [ -n "${LOCAL_FOLDER:-}" ]; then
    disk=$LOCAL_FOLDER/disk
    root=$disk/root
    unit=imdb-$LOCAL_MACHINE
fi

create() {
    local upper=$disk/upper
    [ ! -e "$LOCAL_FOLDER/image" ] || return 0 # a disk that is there is never made anew
    install -d -m 0755 "$LOCAL_STATE" "$LOCAL_STATE/hosts" "$LOCAL_FOLDER" # terraform reads it as the operator
    install -d -m 0700 "$disk"
    install -d -m 0755 "$disk/work" "$root" "$upper" "$upper/etc" "$upper/etc/ssh"

    echo "$LOCAL_HOST" >"$upper/etc/hostname"
    tr -d - </proc/sys/kernel/random/uuid >"$upper/etc/machine-id"
    ssh-keygen -q -t ed25519 -N '' -C "$LOCAL_HOST" -f "$upper/etc/ssh/ssh_host_ed25519_key"
    cp "$upper/etc/ssh/ssh_host_ed25519_key.pub" "$LOCAL_FOLDER/"
    echo "$LOCAL_DEBIAN_RELEASE $LOCAL_ARCH" >"$LOCAL_FOLDER/system"
    echo "$LOCAL_IMAGE" >"$LOCAL_FOLDER/image"
}

delete() {
    stop # terraform runs no destroy provisioner for a host whose start failed
    rm -rf --one-file-system "${LOCAL_FOLDER:?}"
    rmdir "$LOCAL_STATE/hosts" "$LOCAL_STATE" 2>/dev/null || true # not empty: other parts are still to go
}

# Write every host's /etc/hosts: through the mount where a host runs, else to its disk.
names() {
    local folder file
    while read -r folder; do
        file=$folder/disk/upper/etc/hosts
        ! mountpoint -q "$folder/disk/root" || file=$folder/disk/root/etc/hosts
        printf '127.0.0.1 localhost\n%s\n' "$LOCAL_NAMES" >"$file"
    done <<<"${LOCAL_FOLDERS:?}"
}

mount_disk() {
    local image
    image=$(<"$LOCAL_FOLDER/image")
    # The cache may have been emptied since. What today's recipe makes takes the place of an image of an earlier one: Debian and
    # architecture are the same, and what was installed since is on the disk.
    LOCAL_IMAGE=$image "$(dirname "$0")/image.sh"
    mountpoint -q "$root" ||
        mount -t overlay -o "lowerdir=$image,upperdir=$disk/upper,workdir=$disk/work" "imdb-$LOCAL_MACHINE" "$root"
    # What may change from start to start: the operator's key, the address, the name servers.
    install -d -m 0700 "$root/home/admin/.ssh"
    install -m 0600 "$LOCAL_PUBLIC_KEY" "$root/home/admin/.ssh/authorized_keys"
    chown -R --reference="$root/home/admin" "$root/home/admin/.ssh"
    # The name must sort before 80-container-host0.network, the vendor's.
    cat >"$root/etc/systemd/network/10-host0.network" <<NETWORK
[Match]
Name=host0

[Network]
Address=$LOCAL_ADDRESS/24
Gateway=$LOCAL_GATEWAY
LinkLocalAddressing=no
NETWORK
    write_resolv_conf "$root"
}

unmount() {
    ! mountpoint -q "$root" || umount "$root" 2>/dev/null || umount --lazy "$root"
}

start() {
    stop # what an earlier one left
    mount_disk
    : >"$LOCAL_FOLDER/console.log"
    launch
    local seconds=30
    ! emulated || seconds=120
    if ! wait_for "$seconds" answers; then
        stop
        fail "host $LOCAL_HOST ($LOCAL_ADDRESS) did not answer on port 22 within $seconds s. The last lines of its console, $LOCAL_FOLDER/console.log:
$(tail -n 15 "$LOCAL_FOLDER/console.log")"
    fi
    echo "$LOCAL_GENERATION" >"$LOCAL_FOLDER/generation"
}

# The supervisor outlives terraform, in a control group of its own: hosts that share one would meddle with each
# other's services. Where systemd runs the machine it is a unit, else a session.
launch() {
    local name variables=()
    if [ -d /run/systemd/system ]; then
        for name in $(compgen -e LOCAL_); do variables+=("--setenv=$name=${!name}"); done
        systemd-run --quiet --collect --unit="$unit" --slice=system.slice --property=Delegate=yes \
            --property=KillMode=mixed --property="StandardOutput=append:$LOCAL_FOLDER/console.log" \
            --property=StandardError=inherit "${variables[@]}" "$(realpath "$0")" supervise "$LOCAL_MACHINE"
    else
        setsid "$0" supervise "$LOCAL_MACHINE" <&- >>"$LOCAL_FOLDER/console.log" 2>&1 &
    fi
}

# The control groups of a host: of cgroup v2, or of v1's named hierarchy and v2 beside. systemd makes and removes those
# of its unit.
cgroups() {
    local hierarchy group=/$unit
    [ ! -d /run/systemd/system ] || group=/system.slice/$unit.service
    for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
        [ ! -e "$hierarchy/cgroup.procs" ] || echo "$hierarchy$group"
    done
}

# A group of cgroup v2 has processes or passes controllers on to its subgroups, never both. So the supervisor moves into
# a subgroup, and nspawn, which makes groups of its own, gets another.
enter_cgroups() {
    local group controller
    for group in $(cgroups); do
        mkdir -p "$group/supervisor"
        echo $$ >"$group/supervisor/cgroup.procs"
        for controller in $(cat "$group/cgroup.controllers" 2>/dev/null || true); do
            echo "+$controller" >"$group/cgroup.subtree_control" || echo "the host goes without controller $controller" >&2
        done
    done
}

enter_host_cgroups() {
    local group
    for group in $(cgroups); do
        mkdir -p "$group/host"
        echo "$BASHPID" >"$group/host/cgroup.procs"
    done
}

# Processes that were killed may stay for a moment.
remove_cgroups() {
    local group
    for group in $(cgroups); do
        group=$group${1:-}
        [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || return 1
    done
}

answers() { timeout 2 bash -c "read -r banner <'/dev/tcp/$LOCAL_ADDRESS/22' && [[ \$banner == SSH* ]]" 2>/dev/null; }
emulated() { [ "$LOCAL_ARCH" != "$(uname -m | sed s/aarch64/arm64/)" ]; }

# Keep the host running over its own reboots. Ends when it is powered off or dies.
supervise() {
    local nspawn status ending=
    enter_cgroups
    echo $$ >"$LOCAL_FOLDER/supervisor.pid"
    # The machine shuts down: so does the host, with its services in order.
    trap 'ending=yes; power_off' TERM
    while [ -z "$ending" ]; do
        wait_for 10 remove_cgroups /host || fail "processes of host $LOCAL_HOST do not end: see $(cgroups | head -n 1)"
        run_nspawn &
        nspawn=$!
        identity "$nspawn" >"$LOCAL_FOLDER/nspawn.id"
        wait_for 20 note_init "$nspawn" || true # it died at once; the status below says so
        ! emulated || wait_for 20 set_address || echo "could not set the address of $LOCAL_HOST" >&2
        status=0
        wait "$nspawn" || status=$?
        # A signal ends the wait, and not the host.
        while [ "$status" -eq 143 ] && kill -0 "$nspawn" 2>/dev/null; do
            status=0
            wait "$nspawn" || status=$?
        done
        # 133 is how nspawn says that the host asked for a reboot.
        [ "$status" -eq 133 ] || break
    done
    echo "systemd-nspawn ended with status $status" >&2
    kill_host
    unmount
    rm -f "$LOCAL_FOLDER/supervisor.pid"
}

run_nspawn() {
    trap - TERM
    enter_host_cgroups
    local options=()
    read -ra options <<<"${LOCAL_NSPAWN_OPTIONS:-}" # tools/test-laptop has some
    # What systemd shows of a start that takes long can fill the console, and nspawn miss to empty it: the
    # host's PID 1 then waits for good. Failures are shown.
    exec systemd-nspawn --quiet --register=no --keep-unit --boot --directory="$root" \
        --machine="$LOCAL_MACHINE" --hostname="$LOCAL_HOST" \
        --network-bridge="$LOCAL_BRIDGE" --resolv-conf=off --timezone=off --link-journal=no \
        --bind="$LOCAL_OUTPUT:/opt/spark-output" --console=passive "${options[@]}" systemd.show_status=error
}

# Note the host's PID 1, a child of nspawn: nspawn can be killed and leave it behind.
note_init() {
    local pid
    [ -e "/proc/$1" ] || return 0
    for pid in $(pgrep -P "$1"); do
        if [[ "$(grep NSpid "/proc/$pid/status" 2>/dev/null)" =~ [[:space:]]1$ ]]; then
            identity "$pid" >"$LOCAL_FOLDER/init.id"
            return 0
        fi
    done
    return 1
}

# networkd needs netlink protocols that qemu-user does not pass on: the address is set from outside.
set_address() {
    local pid
    read -r pid _ <"$LOCAL_FOLDER/init.id" || return 1
    in_network() { nsenter --target "$pid" --net ip "$@"; }
    in_network address replace "$LOCAL_ADDRESS/24" dev host0 2>/dev/null || return 1
    in_network link set host0 up
    in_network route replace default via "$LOCAL_GATEWAY"
}

# The end of PID 1 ends every process of the host.
kill_host() {
    local pid file
    for file in "$LOCAL_FOLDER/init.id" "$LOCAL_FOLDER/nspawn.id"; do
        if lives "$file"; then
            read -r pid _ <"$file"
            kill -KILL "$pid" 2>/dev/null || true # it may have ended just now
            wait_for 10 gone "$file" || fail "process $pid of host $LOCAL_HOST does not end"
        fi
        rm -f "$file"
    done
}
gone() { ! lives "$1"; }

power_off() { # systemd's signal for poweroff.target
    local pid
    ! lives "$LOCAL_FOLDER/init.id" || { read -r pid _ <"$LOCAL_FOLDER/init.id" && kill -s RTMIN+4 "$pid" 2>/dev/null; } || true
}

# An orderly shutdown within 10 s, then a hard one.
stop() {
    if lives "$LOCAL_FOLDER/init.id"; then
        power_off
        wait_for 10 gone "$LOCAL_FOLDER/init.id" || true # then it is killed
    fi
    kill_host
    wait_for 10 supervisor_gone || fail "the supervisor of host $LOCAL_HOST does not end"
    unmount
    wait_for 10 unit_gone || fail "the unit $unit of host $LOCAL_HOST does not end: see systemctl status $unit"
    wait_for 10 remove_cgroups || fail "processes of host $LOCAL_HOST do not end: see $(cgroups | head -n 1)"
}
unit_gone() { [ ! -d /run/systemd/system ] || [ "$(systemctl show --property=LoadState --value "$unit")" = not-found ]; }
supervisor_gone() {
    local pid
    pid=$(cat "$LOCAL_FOLDER/supervisor.pid" 2>/dev/null) || return 0
    ! tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "supervise $LOCAL_MACHINE"
}

case "${1:-}" in
create | delete | start | stop | names | supervise) "$1" ;;
*) fail "usage: host.sh create|delete|start|stop|names" ;;
esac
