#!/usr/bin/env bash
# Spark 4.1.1, standalone: spark.authenticate.secret.file is taken for what it is at the start and not at work. Master and
# worker start with it and say nothing, and the worker never registers: "A secret key must be specified via the
# spark.authenticate.secret config" stands in its log, although the documentation says of the file that drivers and executors
# read it. The same secret by spark.authenticate.secret registers the worker.
# Seen:
#   spark.authenticate.secret:       registered
#   spark.authenticate.secret.file:  not registered: A secret key must be specified via the spark.authenticate.secret config
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
echo a-secret-of-some-length >secret
export SPARK_HOME=$home SPARK_LOCAL_IP=127.0.0.1

try() { # a line of spark-defaults.conf
    local master
    master=$(port)
    printf '%s\n' 'spark.master.rest.enabled false' 'spark.authenticate true' 'spark.network.crypto.enabled true' "$1" >spark.conf
    "$home/bin/spark-class" org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "$master" --webui-port 0 \
        --properties-file spark.conf >master.log 2>&1 &
    started+=($!)
    for ((tries = 0; tries < 1200; tries++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$master") 2>/dev/null; then break; fi
        sleep 0.1
    done
    "$home/bin/spark-class" org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --webui-port 0 --cores 1 --memory 512m \
        --work-dir "$work/jobs" --properties-file spark.conf "spark://127.0.0.1:$master" >worker.log 2>&1 &
    started+=($!)
    local said='not registered'
    for ((tries = 0; tries < 1200; tries++)); do
        if grep -q 'Successfully registered with master' worker.log; then said=registered && break; fi
        if reason=$(grep -m 1 -oE 'A secret key must be specified via the [a-z.]+ config' worker.log master.log -h); then
            said="not registered: $reason"
            break
        fi
        sleep 0.1
    done
    printf '%-32s %s\n' "${1%% *}:" "$said" | tee -a seen
    end
}
try "spark.authenticate.secret $(cat secret)"
try "spark.authenticate.secret.file $work/secret"
diff - seen >/dev/null <<'SEEN' || {
spark.authenticate.secret:       registered
spark.authenticate.secret.file:  not registered: A secret key must be specified via the spark.authenticate.secret config
SEEN
    echo "It has changed, or did not run; the last lines of master and worker:" >&2
    tail -n 5 master.log worker.log >&2
    exit 1
}
