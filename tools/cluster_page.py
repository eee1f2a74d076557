"""The part of the status page that is about many hosts: who leads what, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def unit_text(unit: str, it: dict[str, str], found: dict[str, Any]) -> str:
    """Return a unit's state in a few words, with its part in its group."""
    restarts = int(it.get("NRestarts") or 0)
    again = f", restarted {restarts}x" if restarts else ""
    if it["LoadState"] != "loaded":
        return f"{unit} {it['LoadState'].upper()}"
    if it["ActiveState"] != "active":
        return f"{unit} {it['ActiveState'].upper()} ({it['SubState']}){again}"
    part = {"zookeeper": found.get("ensemble"), "spark-master": found.get("master")}.get(unit)
    role = (part or {}).get("role") or (part or {}).get("error") or found["roles"].get(unit) or "up"
    return f"{unit} {role}{again}"


def certificate_text(found: dict[str, Any]) -> str:
    """Return when the first of a host's certificates ends, loud if that is soon; empty for none."""
    it = found.get("certificate")
    if not it:
        return ""
    day = it["end"][:10]
    return f"CERTIFICATE {it['name']} ENDS {day}" if it["soon"] else f"certificates until {day}"


def render_hosts(state: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each host."""
    controller = (state["brokers"] or {}).get("controller")
    yield f"{'HOST':<20}{'ADDRESS':<17}UNITS"
    for host, found in state["hosts"].items():
        if found["error"]:
            what = f"DOES NOT ANSWER: {found['error']}"
        else:
            texts = [unit_text(unit, it, found) for unit, it in found["units"].items()]
            texts += [certificate_text(found)] if found.get("certificate") else []
            leads = controller and controller == found["address"]
            what = ", ".join("kafka controller" if leads and t == "kafka up" else t for t in texts)
        yield f"{host:<20}{found['address']:<17}{what}"


def render_cluster(state: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each of ensemble, brokers and Spark."""
    hosts = state["hosts"]
    yield from render_ensemble(hosts)
    yield from render_brokers(state["brokers"], hosts)
    yield from render_spark(hosts)


def render_ensemble(hosts: dict[str, Any]) -> Iterator[str]:
    """Yield ZooKeeper's line."""
    servers = {host for host, found in hosts.items() if "zookeeper" in found["groups"]}
    leaders = {
        host: hosts[host]["ensemble"]
        for host in servers
        if (hosts[host]["ensemble"] or {}).get("role") in ("leader", "standalone")
    }
    if len(leaders) == 1:
        ((host, said),) = leaders.items()
        synced = f"{said['synced_followers']} of {len(servers) - 1} followers in sync"
        yield f"ZooKeeper  {host} leads, {synced}"
    else:
        yield f"ZooKeeper  {len(leaders)} LEADERS of {len(servers)} servers"


def render_brokers(said: dict[str, Any] | None, hosts: dict[str, Any]) -> Iterator[str]:
    """Yield Kafka's line."""
    wanted = sum("kafka" in found["groups"] for found in hosts.values())
    if not said:
        yield "Kafka      nobody to ask"
    elif "error" in said:
        yield f"Kafka      {said['error']}"
    else:
        names = {found["address"]: host for host, found in hosts.items()}
        missing = [] if not said["offline"] else [f"{said['offline']} OFFLINE"]
        missing += [] if not said["under_replicated"] else [f"{said['under_replicated']} LAGGING"]
        yield (
            f"Kafka      {len(said['up'])} of {wanted} brokers, "
            f"{names.get(said['controller'], 'nobody')} controls; {said['partitions']} partitions, "
            f"{said['in_sync']} of {said['replicas']} replicas in sync"
            + "".join(f", {text}" for text in missing)
        )


def render_spark(hosts: dict[str, Any]) -> Iterator[str]:
    """Yield Spark's line."""
    wanted = {found["address"] for found in hosts.values() if "spark_worker" in found["groups"]}
    leading = {
        host: found["master"]
        for host, found in hosts.items()
        if (found["master"] or {}).get("role") == "alive"
    }
    if len(leading) == 1:
        ((host, said),) = leading.items()
        alive = len(wanted & set(said["workers"]))
        yield f"Spark      {host} leads, {alive} of {len(wanted)} workers registered"
    else:
        yield f"Spark      {len(leading)} MASTERS LEAD, {len(wanted)} workers wanted"
