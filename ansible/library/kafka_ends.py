#!/usr/bin/python
"""Ansible module: says where the partitions of a topic end."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_admin import (
    SECURITY,
    Cluster,
    KafkaError,
    NotReadyError,
    library,
    patiently,
)

DOCUMENTATION = r"""
module: kafka_ends
short_description: Say where the partitions of a topic end
description:
  - Gives of each partition the offset that its next message gets.
  - Changes nothing.
author: imdb-pipeline
options:
  bootstrap_servers:
    description: Brokers to ask, as host:port[,host:port...].
    type: str
    required: true
  topic:
    description: Name of the topic.
    type: str
    required: true
  security:
    description: How to log in, as C(security_protocol) and other options of kafka-python.
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for the brokers.
    type: int
    default: 60
"""
EXAMPLES = r"""
- name: Ask where the topic ends
  kafka_ends:
    bootstrap_servers: 192.0.2.1:9092
    topic: imdb-movies
"""
RETURN = r"""
ends:
  description: By partition, the offset that its next message gets.
  type: dict
  returned: success
"""


def ends(cluster: Cluster, topic: str) -> dict[str, int]:
    """Where the partitions of a topic end. Raises KafkaError, NotReadyError."""
    partitions = cluster.metadata([topic]).topics.get(topic)
    if partitions is None:
        raise KafkaError(f"There is no topic {topic}.")
    if leaderless := [it for it, row in partitions.items() if row["leader"] < 0]:
        raise NotReadyError(f"partitions {leaderless} of {topic} have no leader")
    kafka = library()
    latest = kafka.admin.OffsetSpec.LATEST
    with cluster.asking(f"asking where {topic} ends") as admin:
        said = admin.list_partition_offsets(
            {kafka.TopicPartition(topic, it): latest for it in partitions}
        )
    return {str(it.partition): found.offset for it, found in sorted(said.items())}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bootstrap_servers": {"type": "str", "required": True},
            "topic": {"type": "str", "required": True},
            "security": SECURITY,
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        with Cluster(given["bootstrap_servers"], given["security"]) as cluster:
            deadline = time.monotonic() + given["timeout"]
            found = patiently(lambda: ends(cluster, given["topic"]), deadline)
    except TimeoutError as error:
        module.fail_json(
            msg=f"The brokers at {given['bootstrap_servers']} did not say within "
            f"{given['timeout']} s where {given['topic']} ends ({error}). "
            "See `journalctl -u kafka` there."
        )
    except KafkaError as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(changed=False, ends=found)


if __name__ == "__main__":
    main()
