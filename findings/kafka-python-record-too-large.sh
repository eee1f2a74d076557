#!/usr/bin/env bash
# kafka-python 3.0.12, an idempotent producer, Kafka 3.9.2: one record that the broker refuses as too large is the end of
# the whole producer. Every record that is out fails with MessageSizeTooLargeError, small ones too, and so does each that
# is sent afterwards. Its own comment says that such a producer "just fails the batch without any state reset"
# (transaction_manager.py, classify_batch_error); the line below it returns ERROR_CLASS_FATAL. confluent-kafka 2.16.1
# fails the batch alone, and so does kafka-python with enable_idempotence=False.
# Seen:
#   idempotent: before ok, too large MessageSizeTooLargeError, after MessageSizeTooLargeError
#   not idempotent: before ok, too large MessageSizeTooLargeError, after ok
# Needs python3, java and mvn. Ends with 1 if that has changed.
set -euo pipefail
work=$(mktemp -d)
started=()
end() {
    for process in "${started[@]}"; do
        kill -9 "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap end EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kafka-python==3.0.12
cat >pom.xml <<'POM'
<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>3.9.2</version>
</dependency></dependencies></project>
POM
mvn -q -B dependency:copy-dependencies -DoutputDirectory=libs

port() { venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
zookeeper=$(port) kafka=$(port)
printf 'dataDir=%s/zookeeper\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n' \
    "$work" "$zookeeper" >zoo.cfg
printf '%s\n' broker.id=1 "log.dirs=$work/kafka" "listeners=PLAINTEXT://127.0.0.1:$kafka" \
    "zookeeper.connect=127.0.0.1:$zookeeper" offsets.topic.replication.factor=1 >server.properties
java -Xmx256m -cp 'libs/*' org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg >zookeeper.log 2>&1 &
started+=($!)
java -Xmx384m -cp 'libs/*' kafka.Kafka server.properties >kafka.log 2>&1 &
started+=($!)

cat >try.py <<'PY'
import logging
import os
import sys
import time

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

logging.disable(logging.CRITICAL)
deadline = time.monotonic() + 120
while True:
    try:
        admin = KafkaAdminClient(bootstrap_servers=sys.argv[1], bootstrap_timeout_ms=5000)
        break
    except KafkaError:
        if time.monotonic() > deadline:
            raise
admin.create_topics([NewTopic("small", 1, 1, topic_configs={"max.message.bytes": "20000"})])
admin.wait_for_topics(["small"])


def outcome(future):
    try:
        future.get(30)
        return "ok"
    except KafkaError as error:
        return type(error).__name__


seen = []
for idempotent in (True, False):
    producer = KafkaProducer(
        bootstrap_servers=sys.argv[1], acks="all", enable_idempotence=idempotent, linger_ms=0
    )
    results = [outcome(producer.send("small", size)) for size in (b"x", os.urandom(30_000), b"x")]
    seen.append(results)
    print(
        f"{'' if idempotent else 'not '}idempotent: before {results[0]}, too large {results[1]}, "
        f"after {results[2]}"
    )
large = "MessageSizeTooLargeError"
os._exit(seen != [["ok", large, large], ["ok", large, "ok"]])
PY
timeout 300 venv/bin/python -u try.py "127.0.0.1:$kafka" || {
    echo "It has changed, or did not run; the broker's last lines:" >&2
    tail -5 kafka.log >&2
    exit 1
}
