"""moto's server, closer to AWS in four things; run by aws_moto.py as a program of its own.

An instance that is terminated gives back its interface and address. It is in the security groups of
its first interface. A rule keeps its description when it names a group instead of a range. Requests
that come at once are all answered rightly: moto's tables are plain dictionaries that its threads
change while others walk through them, so one request is served after the other.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from moto.ec2.models.instances import Instance
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import main

terminate_as_moto_does = Instance.terminate
start_as_moto_does = Instance.__init__
answer_as_moto_does = DomainDispatcherApplication.__call__
answering = threading.Lock()


def start(instance: Instance, *arguments: Any, **named: Any) -> None:
    """Make an instance that knows the security groups of its interface."""
    start_as_moto_does(instance, *arguments, **named)
    if not instance.security_groups and instance.nics:
        instance.security_groups = list(instance.nics[0].group_set)


def terminate(instance: Instance) -> Any:
    """Terminate an instance and release what was made with it."""
    state = terminate_as_moto_does(instance)
    for interface in list(instance.nics.values()):
        if interface.id in interface.ec2_backend.enis:
            interface.delete()
    return state


def description(rule: SecurityGroupRule) -> str | None:
    """Return a rule's description, wherever its source is."""
    for source in (rule.ip_range, rule.source_group):
        if source and source.get("Description"):
            return str(source["Description"])
    return None


def answer(application: DomainDispatcherApplication, *request: Any) -> Any:
    """Answer a request when those before it are answered."""
    with answering:
        return answer_as_moto_does(application, *request)


if __name__ == "__main__":
    for of, name, better in (
        (Instance, "__init__", start),
        (Instance, "terminate", terminate),
        (SecurityGroupRule, "description", property(description)),
        (DomainDispatcherApplication, "__call__", answer),
    ):
        setattr(of, name, better)
    main(sys.argv[1:])
