#!/usr/bin/env bash
# What this machine needs to reach the hosts, asked for before anything is made that costs: preflight.sh
set -euo pipefail

missing=()
for tool in aws ssh ssh-keygen; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ "${AWS_ACCESS_BY:?}" = ssm ]; then
    command -v session-manager-plugin >/dev/null || missing+=(session-manager-plugin)
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "Error: this machine lacks ${missing[*]}. docs/aws.md says how to install it; then run terraform apply again." >&2
    exit 1
fi
