"""Where replicas should be: few moves, spread over brokers and racks. Pure functions of ids.

Ids are those of brokers; a partition's replicas are a list of ids, the first of which leads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

Replicas = dict[tuple[str, int], list[int]]


def plan(
    partitions: Mapping[tuple[str, int], list[int]],
    racks: Mapping[int, str | None],
    leaving: Iterable[int] = (),
    replication_factor: int = 1,
) -> Replicas:
    """Return the replicas of those partitions that are to change.

    Args:
        partitions: replicas of each partition, by topic and number.
        racks: the rack of each broker that is up; None where there are no racks.
        leaving: brokers that shall have no replica any more.
        replication_factor: replicas that each partition shall have at least; one that has more
            keeps as many, as far as there are brokers.

    Raises:
        ValueError: No broker would stay, or fewer than the replication factor.
    """
    staying = sorted(set(racks) - set(leaving))
    if len(staying) < max(replication_factor, 1):
        raise ValueError(
            f"{len(staying)} brokers would stay, and every partition needs {replication_factor} "
            f"replicas"
        )
    wanted: Replicas = {}
    for key in sorted(partitions):
        factor = min(max(replication_factor, len(partitions[key])), len(staying))
        wanted[key] = [broker for broker in partitions[key] if broker in staying][:factor]
    load = Counter(dict.fromkeys(staying, 0))
    load.update(broker for replicas in wanted.values() for broker in replicas)
    for key, replicas in wanted.items():
        factor = min(max(replication_factor, len(partitions[key])), len(staying))
        while len(replicas) < factor:
            broker = _best(replicas, staying, racks, load)
            replicas.append(broker)
            load[broker] += 1
    _spread_racks(wanted, racks, load)
    _level(wanted, racks, load)
    _spread_leaders(wanted, staying)
    return {key: replicas for key, replicas in wanted.items() if replicas != partitions[key]}


def moved(before: Mapping[tuple[str, int], list[int]], changes: Replicas) -> int:
    """Return how many replicas are to be copied."""
    return sum(len(set(replicas) - set(before[key])) for key, replicas in changes.items())


def _best(
    replicas: list[int], brokers: list[int], racks: Mapping[int, str | None], load: Counter[int]
) -> int:
    """The broker for one more replica: in a rack that has none, then the least loaded."""
    taken = Counter(racks[broker] for broker in replicas)
    free = [broker for broker in brokers if broker not in replicas]
    return min(free, key=lambda broker: (taken[racks[broker]], load[broker], broker))


def _spread_racks(wanted: Replicas, racks: Mapping[int, str | None], load: Counter[int]) -> None:
    """Take replicas out of racks that hold more of a partition than another needs to."""
    for replicas in wanted.values():
        for _ in range(len(replicas)):
            taken = Counter(racks[broker] for broker in replicas)
            crowded = max(replicas, key=lambda broker: (taken[racks[broker]], load[broker], broker))
            if len(replicas) == len(load):
                break
            other = _best(replicas, sorted(load), racks, load)
            if taken[racks[crowded]] - taken[racks[other]] < 2:
                break
            replicas[replicas.index(crowded)] = other
            load[crowded] -= 1
            load[other] += 1


def _level(wanted: Replicas, racks: Mapping[int, str | None], load: Counter[int]) -> None:
    """Move replicas from the most to the least loaded broker while that makes them more alike."""
    for _ in range(sum(load.values())):
        if not _move_one(wanted, racks, load):
            return


def _move_one(wanted: Replicas, racks: Mapping[int, str | None], load: Counter[int]) -> bool:
    """Move one replica to a broker that has at least two fewer; return whether there was one."""
    for full in sorted(load, key=lambda broker: (-load[broker], broker)):
        for empty in sorted(load, key=lambda broker: (load[broker], broker)):
            if load[full] - load[empty] < 2:
                break
            for replicas in wanted.values():
                if full not in replicas or empty in replicas:
                    continue
                others = [racks[broker] for broker in replicas if broker != full]
                if others.count(racks[empty]) > others.count(racks[full]):
                    continue
                replicas[replicas.index(full)] = empty
                load[full] -= 1
                load[empty] += 1
                return True
    return False


def _spread_leaders(wanted: Replicas, brokers: list[int]) -> None:
    """Let each broker lead about as many partitions; another order of replicas copies nothing."""
    leads = Counter(dict.fromkeys(brokers, 0))
    leads.update(replicas[0] for replicas in wanted.values())
    for _ in range(len(wanted)):
        for replicas in wanted.values():
            best = min(replicas, key=lambda broker: (leads[broker], broker))
            if leads[replicas[0]] - leads[best] >= 2:
                leads[replicas[0]] -= 1
                leads[best] += 1
                replicas.remove(best)
                replicas.insert(0, best)
                break
        else:
            return
