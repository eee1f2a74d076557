#!/usr/bin/env bash
# kafka-python 3.0.12, Kafka 3.9.2 with its AclAuthorizer: settings that a user may not read look like settings that are not
# there. A user with the right to describe a topic, but not its settings, asks for them: describe_configs() gives none and
# raises nothing. confluent-kafka 2.16.1 raises the broker's answer for the same user and request.
# Seen:
#   kafka-python, operator: max.message.bytes=20000
#   kafka-python, reader: nothing
#   confluent-kafka, reader: TOPIC_AUTHORIZATION_FAILED
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
venv/bin/pip install --quiet --disable-pip-version-check kafka-python==3.0.12 confluent-kafka==2.16.1
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
login=org.apache.kafka.common.security.plain.PlainLoginModule
printf '%s\n' broker.id=1 "log.dirs=$work/kafka" "listeners=SASL_PLAINTEXT://127.0.0.1:$kafka" \
    "zookeeper.connect=127.0.0.1:$zookeeper" offsets.topic.replication.factor=1 \
    security.inter.broker.protocol=SASL_PLAINTEXT sasl.mechanism.inter.broker.protocol=PLAIN sasl.enabled.mechanisms=PLAIN \
    "listener.name.sasl_plaintext.plain.sasl.jaas.config=$login required username=\"operator\" password=\"o\" \
user_operator=\"o\" user_reader=\"r\";" authorizer.class.name=kafka.security.authorizer.AclAuthorizer \
    super.users=User:operator >server.properties
java -Xmx256m -cp 'libs/*' org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg >zookeeper.log 2>&1 &
started+=($!)
java -Xmx384m -cp 'libs/*' kafka.Kafka server.properties >kafka.log 2>&1 &
started+=($!)

cat >try.py <<'PY'
import logging
import os
import sys
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource as Resource
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ConfigResourceType,
    NewTopic,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import KafkaError

logging.disable(logging.CRITICAL)
address = sys.argv[1]


def admin(name):
    return KafkaAdminClient(
        bootstrap_servers=address,
        bootstrap_timeout_ms=5000,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=name,
        sasl_plain_password=name[0],
    )


deadline = time.monotonic() + 120
while True:
    try:
        operator = admin("operator")
        break
    except KafkaError:
        if time.monotonic() > deadline:
            raise
operator.create_topics([NewTopic("small", 1, 1, topic_configs={"max.message.bytes": "20000"})])
operator.wait_for_topics(["small"])
operator.create_acls(
    [
        ACL(
            "User:reader",
            "*",
            ACLOperation.DESCRIBE,
            ACLPermissionType.ALLOW,
            ResourcePattern(ResourceType.TOPIC, "small"),
        )
    ]
)
time.sleep(1)


def settings(client):
    found = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "small")])
    named = found["topic"]["small"]
    return ", ".join(f"{name}={it['value']}" for name, it in named.items()) or "nothing"


seen = [settings(operator), settings(admin("reader"))]
print("kafka-python, operator:", seen[0])
print("kafka-python, reader:", seen[1])
other = AdminClient(
    {
        "bootstrap.servers": address,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "reader",
        "sasl.password": "r",
        "log_level": 0,
    }
)
try:
    asked = other.describe_configs([Resource(Resource.Type.TOPIC, "small")], request_timeout=20)
    seen.append(str(next(iter(asked.values())).result(30)))
except KafkaException as error:
    seen.append(error.args[0].name())
print("confluent-kafka, reader:", seen[2])
os._exit(seen != ["max.message.bytes=20000", "nothing", "TOPIC_AUTHORIZATION_FAILED"])
PY
timeout 300 venv/bin/python -u try.py "127.0.0.1:$kafka" || {
    echo "It has changed, or did not run; the broker's last lines:" >&2
    tail -5 kafka.log >&2
    exit 1
}
