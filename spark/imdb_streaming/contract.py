"""What a run keeps to from its first batch to its last, and whether the topic still does.

The first start notes the topic's id, the score's parameters and silver's columns beside the
checkpoint. Later starts are refused when they differ, or when the topic no longer holds what the
checkpoint goes on from.
"""

import json
import logging
from dataclasses import asdict, dataclass
from typing import Any

from imdb_streaming.checkpoint import LOSS_FILE, by_partition, planned_offsets, read_offsets
from imdb_streaming.config import Config
from imdb_streaming.files import write_json
from imdb_streaming.jvm import TopicState
from imdb_streaming.refusals import StartRefusedError
from imdb_streaming.schema import SILVER_SCHEMA

#: In the checkpoint's folder.
CONTRACT_FILE = "_contract.json"

#: Where an open transaction looks like a topic that has shrunk.
_MAY_BE_OPEN = (
    ". But a start with KAFKA_ISOLATION_LEVEL=read_uncommitted, or of a version before there was "
    "that setting, may have read messages of a transaction that is open still: then start again "
    "when it has ended, at the latest after its producer's transaction.timeout.ms."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contract:
    """What must not change within a run."""

    topic: str
    topic_id: str
    global_mean_rating: float
    min_votes_prior: float
    silver_schema: str


def check_contract(config: Config, topic: TopicState, *, note: bool = True) -> None:
    """Refuse what would mix scores, columns or topics in one table; note it at the first start."""
    now = Contract(
        config.topic,
        topic.id,
        config.global_mean_rating,
        config.min_votes_prior,
        SILVER_SCHEMA.simpleString(),
    )
    path = config.checkpoint_folder / CONTRACT_FILE
    if planned_offsets(config.checkpoint_folder) is None:
        if note:
            write_json(path, asdict(now), config.out_folder)
        return
    try:
        noted = Contract(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise StartRefusedError(
            f"{path} cannot be read ({error}): the checkpoint is damaged, or of an older version "
            "of the job. Restore the file from a backup, or begin anew from the topic's first "
            "message, keeping what is there aside: imdb-streaming reset"
        ) from error
    anew = "make the table anew beside this one: imdb-streaming reprocess NEW_RUN_ID"
    scores = (noted.global_mean_rating, noted.min_votes_prior)
    if scores != (now.global_mean_rating, now.min_votes_prior):
        raise StartRefusedError(
            f"The table was made with GLOBAL_MEAN_RATING={noted.global_mean_rating:g} and "
            f"MIN_VOTES_PRIOR={noted.min_votes_prior:g}, and the job was started with "
            f"{now.global_mean_rating:g} and {now.min_votes_prior:g}: scores of both would stand "
            f"in one table. Either set them back, or {anew}"
        )
    if noted.silver_schema != now.silver_schema:
        raise StartRefusedError(
            f"The table has the columns {noted.silver_schema}, and this version of the job writes "
            f"{now.silver_schema}. Either go back to the version of before, or {anew}"
        )
    if noted.topic != now.topic:
        raise StartRefusedError(
            f"The checkpoint is of the topic {noted.topic}, and the job was started with "
            f"KAFKA_TOPIC={now.topic}. Either set it back, or {anew}"
        )
    if noted.topic_id != now.topic_id:
        raise StartRefusedError(
            f"The topic {now.topic} is not the one that was read before: it was deleted and made "
            "again, and its offsets mean other messages. To read the new one from its first "
            "message, keeping what is there aside: imdb-streaming reset"
        )


def check_offsets(config: Config, topic: TopicState) -> bool:
    """Refuse to go on where the topic has not all that comes next.

    Returns True if messages are lost and `imdb-streaming accept-loss` has said to go on.
    """
    checkpoint = config.checkpoint_folder
    planned = planned_offsets(checkpoint) or read_offsets(checkpoint) or {}
    for partition, offset in planned.items():
        if topic.ends.get(partition, -1) < offset:
            end = topic.ends.get(partition)
            there = "is not there any more" if end is None else f"ends at {end}"
            raise StartRefusedError(
                f"The checkpoint has read {config.topic} up to offset {offset} of partition "
                f"{partition}, which {there}: the topic has shrunk, and new messages would be "
                "taken for old ones. If the brokers' data can be restored, do. Else read what is "
                "there from the first message, keeping the tables aside: imdb-streaming reset"
                + (_MAY_BE_OPEN if config.isolation_level == "read_committed" else "")
            )
    lost = lost_messages(config, topic)
    if not lost:
        return False
    accepted = _loss(config)["accepted"]
    shown = offsets_shown(lost)
    if all(accepted.get(partition, -1) >= last for partition, (_, last) in lost.items()):
        log.error("Going on without the messages %s, as accept-loss said.", shown)
        return True
    raise StartRefusedError(
        f"The topic {config.topic} has lost messages that were not read yet: offsets {shown}. "
        f"{_why_lost(topic.settings)} If they can be restored, do. Else go on without them: "
        "imdb-streaming accept-loss"
    )


def _why_lost(settings: dict[str, str]) -> str:
    """What deletes messages of a topic, as its settings say."""
    reasons = []
    kept = settings.get("retention.ms", "")
    if kept != "-1":
        time = f" ({_duration(int(kept))})" if kept else ""
        reasons.append(f"the job was behind or away for longer than the topic's retention.ms{time}")
        if settings.get("message.timestamp.type") != "LogAppendTime":
            reasons.append(
                "the messages carried a time older than that (retention goes by their own time, as "
                "of a backfill by another tool), so that they were acknowledged and deleted at the "
                "next sweep; with message.timestamp.before.max.ms no larger than retention.ms, as "
                "the role kafka_topic sets it, the broker refuses such messages instead"
            )
    if settings.get("retention.bytes", "") != "-1":
        size = settings.get("retention.bytes", "")
        reasons.append(
            "the topic has outgrown its retention.bytes" + (f" ({size})" if size else "")
        )
    reasons.append("somebody has deleted them (kafka-delete-records.sh)")
    return f"Either {'; or '.join(reasons)}."


def _duration(milliseconds: int) -> str:
    """A time in words, in the largest unit that divides it."""
    for size, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if milliseconds % size == 0:
            return f"{milliseconds // size} {name}"
    return f"{milliseconds} ms"


def offsets_shown(lost: dict[int, tuple[int, int]]) -> str:
    """Offsets that are lost, in words."""
    return ", ".join(f"{first} to {last} of partition {p}" for p, (first, last) in lost.items())


def lost_messages(config: Config, topic: TopicState) -> dict[int, tuple[int, int]]:
    """By partition, the first and last offset that comes next and is not there any more.

    A partition that was added since comes from its offset 0, as Spark has it too.
    """
    read = read_offsets(config.checkpoint_folder)
    if read is None:
        return {}
    return {
        partition: (read.get(partition, 0), beginning - 1)
        for partition, beginning in topic.beginnings.items()
        if beginning > read.get(partition, 0)
    }


def accept_loss(config: Config, topic: TopicState) -> dict[int, tuple[int, int]]:
    """Note that the job may go on without the messages that are lost now, and return them."""
    lost = lost_messages(config, topic)
    noted = _loss(config)
    for partition, (first, last) in lost.items():
        # Said before, and lost more since: what was counted is not counted again.
        begin = max(first, noted["accepted"].get(partition, -1) + 1)
        noted["messages"] += max(0, last + 1 - begin)
        noted["accepted"][partition] = last
    write_json(config.checkpoint_folder / LOSS_FILE, noted, config.out_folder)
    return lost


def accepted_loss(config: Config) -> int:
    """How many messages the run went on without."""
    return int(_loss(config)["messages"])


def _loss(config: Config) -> dict[str, Any]:
    """By partition, the last offset that may be missing; and how many messages that were."""
    path = config.checkpoint_folder / LOSS_FILE
    noted: dict[str, Any] = {"accepted": {}, "messages": 0}
    if path.exists():
        noted = json.loads(path.read_bytes())
    return noted | {"accepted": by_partition(noted["accepted"])}
