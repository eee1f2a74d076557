#!/usr/bin/env bash
# Spark 4.1.1, standalone: the master takes a worker for recovered, without its executors, if the worker's own retry reaches
# a restarted master before the worker's answer to that master's recovery. It starts executor 0 of the application a second
# time beside the first, then hears of the first and counts it too. From then on master and worker count the cores of an
# executor as used that is not there, also when the application has ended: the next one waits ("requires more resource than
# any of Workers could have") until the worker is started anew. Both messages are sent after each restart of a master; here a
# proxy brings the retry at that moment, and the worker stands still meanwhile, as on a busy host. 4.3.0 does the same.
# Seen (cores used by master and worker of 2, executors that the worker names):
#   before:                     2 2 1
#   after the recovery:         4 4 1
#   the application has ended:  2 2 0
#   the next application:       no executor in 20 s
# Needs python3 and java. Ends with 1 if that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "pyspark==${1:-4.1.1}"
cat >application.py <<'PYTHON'
import time
from pyspark.sql import SparkSession
print("counted", SparkSession.builder.getOrCreate().sparkContext.parallelize([1, 2]).count(), flush=True)
time.sleep(300)
PYTHON
cat >try.py <<'PYTHON'
import json, os, signal, socket, subprocess, sys, threading, time, urllib.request
from pathlib import Path

import pyspark

HOME, END = pyspark.__path__[0], time.monotonic() + 600
ASK = urllib.request.build_opener(urllib.request.ProxyHandler({}))
started, retries = [], threading.Event()

def free():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]

def until(what, question):
    while time.monotonic() < END:
        if answer := question():
            return answer
        time.sleep(0.005)
    sys.exit(f"not seen in time: {what}")

def start(log, *command):
    with open(log, "w") as file:
        started.append(subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"SPARK_HOME": HOME, "SPARK_LOCAL_IP": "127.0.0.1"}))
    return started[-1]

def daemon(kind, log, *options):
    name = f"org.apache.spark.deploy.{kind.lower()}.{kind}"
    return start(log, f"{HOME}/bin/spark-class", name, "--host", "127.0.0.1", "--properties-file", "spark.conf", *options)

def begin_master(log):
    return daemon("Master", log, "--port", str(MASTER), "--webui-port", str(MASTER_PAGE))

def begin_application(log):
    options = ("--conf", "spark.executor.cores=2", "--conf", "spark.executor.memory=512m", "--conf", "spark.ui.enabled=false")
    return start(log, f"{HOME}/bin/spark-submit", "--master", f"spark://127.0.0.1:{MASTER}", *options, "application.py")

def says(log, text):
    return text in Path(log).read_text()

def page(port):
    try:
        with ASK.open(f"http://127.0.0.1:{port}/json/", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None

def used():
    master, worker = (until("a page", lambda: page(port)) for port in (MASTER_PAGE, WORKER_PAGE))
    return f"{master['coresused']} {worker['coresused']} {len(worker['executors'])}"

def reach():
    try:
        return socket.create_connection(("127.0.0.1", MASTER))
    except OSError:
        return None

def carry(source, target, of_worker):
    while data := source.recv(65536):
        if of_worker and retries.is_set() and b"DeployMessages$RegisterWorker" in data:
            worker.send_signal(signal.SIGSTOP)
            until("the recovery", lambda: says("master-2.log", "Trying to recover worker"))
            target.sendall(data)
            until("the end of the recovery", lambda: says("master-2.log", "Recovery complete"))
            worker.send_signal(signal.SIGCONT)
        else:
            target.sendall(data)
    target.shutdown(socket.SHUT_RDWR)

def connect(side):
    try:
        master = until("the master's port", reach)
        threading.Thread(target=carry, args=(master, side, False), daemon=True).start()
        carry(side, master, True)
    except OSError:
        pass  # the other side has gone

def serve():
    with socket.create_server(("127.0.0.1", PROXY)) as it:
        while True:
            threading.Thread(target=connect, args=(it.accept()[0],), daemon=True).start()

MASTER, MASTER_PAGE, WORKER_PAGE, PROXY = free(), free(), free(), free()
Path("spark.conf").write_text(f"""spark.deploy.recoveryMode FILESYSTEM
spark.deploy.recoveryDirectory {os.getcwd()}/recovery
spark.master.rest.enabled false
spark.worker.preferConfiguredMasterAddress true
""")
threading.Thread(target=serve, daemon=True).start()
try:
    master = begin_master("master-1.log")
    until("the master", lambda: page(MASTER_PAGE))
    where = ("--webui-port", str(WORKER_PAGE), "--work-dir", f"{os.getcwd()}/work", f"spark://127.0.0.1:{PROXY}")
    worker = daemon("Worker", "worker.log", "--cores", "2", "--memory", "2g", *where)
    until("a worker", lambda: says("worker.log", "Successfully registered"))
    application = begin_application("application-1.log")
    until("an executor at work", lambda: says("application-1.log", "counted 2"))
    print("before:", used())
    master.kill()
    retries.set()
    until("a retry", lambda: says("worker.log", "Retrying connection to master"))
    begin_master("master-2.log")
    until("a second registration", lambda: says("worker.log", "Duplicate registration"))
    time.sleep(5)
    print("after the recovery:", used())
    application.terminate()
    application.wait(60)
    time.sleep(10)
    print("the application has ended:", used())
    begin_application("application-2.log")
    waits, runs = ("master-2.log", "requires more resource than any of Workers could have"), ("application-2.log", "counted 2")
    until("how it begins", lambda: says(*waits) or says(*runs))
    time.sleep(20)
    print("the next application:", "an executor" if says(*runs) else "no executor in 20 s")
finally:
    for process in started:
        process.kill()
        process.wait()
PYTHON
timeout 700 venv/bin/python try.py | tee seen
diff - seen >/dev/null <<'SEEN' || {
before: 2 2 1
after the recovery: 4 4 1
the application has ended: 2 2 0
the next application: no executor in 20 s
SEEN
    echo "It has changed, or did not run; the last lines of master and worker:" >&2
    tail -n 5 master-*.log worker.log >&2
    exit 1
}
