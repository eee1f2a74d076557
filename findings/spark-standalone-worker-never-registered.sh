#!/usr/bin/env bash
# Spark 4.1.1, standalone, master with spark.deploy.recoveryMode FILESYSTEM: a worker that is started anew at its old address while
# the master is away stays unregistered for good. The master that comes back takes the address for the worker that it remembers,
# and tells it that the master has changed. The new worker drops its own registration for that and names the master in its answers;
# the master does not know its id, gives the remembered worker up after a minute, and ignores the new one's heartbeats. The master
# has no worker then, and nothing tries again. A worker that is started anew while the master is there registers.
# Seen:
#   started while the master is there:  ALIVE
#   started while the master is away:   none, and the worker names its master
# Needs python3 and java. Ends with 1 if that has changed.
set -euo pipefail
work=$(mktemp -d)
started=()
end() {
    for process in "${started[@]}"; do
        kill -9 "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    started=()
}
trap 'end; rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyspark==4.1.1
home=$(venv/bin/python -c 'import pyspark; print(pyspark.__path__[0])')
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
export SPARK_HOME=$home SPARK_LOCAL_IP=127.0.0.1

master() { # starts it, by its port and the port of its page
    "$home/bin/spark-class" org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "$1" --webui-port "$2" \
        --properties-file spark.conf >>master.log 2>&1 &
    started+=($!)
    master=$!
}
worker() { # starts it: its log, its port, the port of its page, the master's port
    "$home/bin/spark-class" org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --port "$2" --webui-port "$3" --cores 1 \
        --memory 512m --work-dir "$work/jobs" --properties-file spark.conf "spark://127.0.0.1:$4" >"$1" 2>&1 &
    started+=($!)
    worker=$!
}
said() { # waits two minutes for a line in a log
    for ((tries = 0; tries < 1200; tries++)); do
        if grep -q "$2" "$1" 2>/dev/null; then return; fi
        sleep 0.1
    done
    echo "$1 never said: $2" >&2
    tail -n 5 "$1" >&2
    exit 1
}
# Prints the states of the workers that are not dead.
workers() {
    venv/bin/python - "http://127.0.0.1:$1/json/" <<'ASK'
import json, sys, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
found = json.load(direct.open(sys.argv[1], timeout=20))["workers"]
print(" ".join(it["state"] for it in found if it["state"] != "DEAD") or "none")
ASK
}
stop() { # by its id, hard
    kill -9 "$1" && { wait "$1" 2>/dev/null || true; }
}

try() { # there or away: where the master is when the worker is started anew
    local at page own ui
    at=$(port) page=$(port) own=$(port) ui=$(port)
    rm -rf recovery master.log
    mkdir recovery
    printf '%s\n' 'spark.deploy.recoveryMode FILESYSTEM' "spark.deploy.recoveryDirectory $work/recovery" \
        'spark.master.rest.enabled false' >spark.conf
    master "$at" "$page"
    said master.log 'New state: ALIVE'
    worker first.log "$own" "$ui" "$at"
    said first.log 'Successfully registered with master'
    if [ "$1" = away ]; then stop "$master"; fi
    stop "$worker"
    worker second.log "$own" "$ui" "$at"
    if [ "$1" = away ]; then
        said second.log 'Failed to connect to master'
        : >master.log
        master "$at" "$page"
        said master.log 'Recovery complete'
    else
        said second.log 'Successfully registered with master'
    fi
    # Longer than a worker's heartbeats and its attempts to register are apart.
    if [ "$1" = away ]; then sleep 90; fi
    local seen
    seen=$(workers "$page")
    if [ "$1" = away ] && grep -q 'Master has changed' second.log; then seen="$seen, and the worker names its master"; fi
    printf '%-36s%s\n' "started while the master is $1:" "$seen" | tee -a seen
    end
}
try there
try away
diff - seen >/dev/null <<'SEEN' || {
started while the master is there:  ALIVE
started while the master is away:   none, and the worker names its master
SEEN
    echo "It has changed, or did not run; the last lines of master and worker:" >&2
    tail -n 5 master.log second.log >&2
    exit 1
}
