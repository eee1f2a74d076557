#!/usr/bin/env bash
# Install AWS's Session Manager agent from AGENT_URL, if it is signed by one of AGENT_KEYS (armored OpenPGP keys).
# On a host, as the end of its first boot: Debian's images have no agent, and without it nobody gets in.
set -euo pipefail

agent_folder=$(mktemp -d)
trap 'rm -rf "$agent_folder"' EXIT

agent_fetch() { # url, file; python3 comes with cloud-init, curl need not be there
    python3 -c 'import sys, urllib.request as u; open(sys.argv[2], "wb").write(u.urlopen(sys.argv[1], timeout=60).read())' "$1" "$2"
}

# The way out may not be there yet when the host boots.
agent_try() { # seconds between tries, command
    local pause=$1 left=${AGENT_TRIES:-60}
    shift
    until "$@"; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "ssm_agent: gave up: $*" >&2
            return 1
        fi
        sleep "$pause"
    done
}

agent_tools() {
    command -v gpgv >/dev/null || {
        apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends gpgv
    }
}

# gpgv wants its keys without armor, one after another.
agent_keyring() {
    local line inside='' body=''
    while IFS= read -r line; do
        case "$line" in
        -----BEGIN*) inside=headers body='' ;;
        '') [ "$inside" != headers ] || inside=body ;;
        =*) ;; # the armor's checksum
        -----END*)
            printf '%s' "$body" | base64 -d
            inside=''
            ;;
        *) [ "$inside" != body ] || body+=$line ;;
        esac
    done <<<"${AGENT_KEYS:?}"
}

# A key of ours that has expired since still vouches for what it signed; one that was revoked does not.
agent_is_signed() {
    local status
    status=$(gpgv --status-fd 1 --keyring "$agent_folder/keys.gpg" "$agent_folder/agent.deb.sig" "$agent_folder/agent.deb" 2>/dev/null) || true
    grep -q '^\[GNUPG:\] VALIDSIG ' <<<"$status" && grep -qE '^\[GNUPG:\] (GOODSIG|EXPKEYSIG) ' <<<"$status"
}

agent_try 5 agent_fetch "${AGENT_URL:?}" "$agent_folder/agent.deb"
agent_try 5 agent_fetch "$AGENT_URL.sig" "$agent_folder/agent.deb.sig"
agent_try 5 agent_tools
agent_keyring >"$agent_folder/keys.gpg"
agent_is_signed || {
    echo "ssm_agent: $AGENT_URL is not signed by AWS's keys; it is not installed." >&2
    exit 1
}
agent_try 5 dpkg --install "$agent_folder/agent.deb"
systemctl enable --now amazon-ssm-agent
