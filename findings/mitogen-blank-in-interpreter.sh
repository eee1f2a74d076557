#!/usr/bin/env bash
# mitogen 0.3.54 under ansible-core 2.19.14: a venv whose path has a blank runs no task on localhost.
#
# Ansible sets ansible_python_interpreter of the implicit localhost to the path of its own interpreter, as it is. Its
# own strategies take that for one word. mitogen_linear splits it as a shell does (parse_python_path) and runs what stands
# before the blank. Seen:
#   linear:         ok=1
#   mitogen_linear: [Errno 2] No such file or directory: '.../a'
# Exits with 1 if that is no longer so. Needs python3 (3.11 or newer) and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv "a venv"
"a venv/bin/python" -m pip install --quiet --disable-pip-version-check ansible-core==2.19.14 mitogen==0.3.54
cat >play.yml <<'PLAY'
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.stat: {path: /}
PLAY
plugins=$("a venv/bin/python" -c 'import ansible_mitogen; print(ansible_mitogen.__path__[0])')/plugins/strategy

play() { # strategy
    ANSIBLE_STRATEGY=$1 ANSIBLE_STRATEGY_PLUGINS=$plugins LC_ALL=C.UTF-8 timeout 120 \
        "a venv/bin/python" -m ansible.cli.playbook play.yml 2>&1 | grep -oE "ok=1|\[Errno 2\][^.]*'[^']*'" | head -n 1 || true
}
plain=$(play linear) mitogen=$(play mitogen_linear)
printf 'linear:         %s\nmitogen_linear: %s\n' "$plain" "$mitogen"
[ "$plain" = ok=1 ] && [[ "$mitogen" == *"[Errno 2]"*"/a'"* ]]
