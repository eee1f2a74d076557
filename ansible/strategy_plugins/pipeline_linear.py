"""Ansible's linear strategy, run by mitogen where it is installed: three times the pace.

Every task of plain Ansible starts a Python on the host; mitogen keeps one alive. Without mitogen
(or with an Ansible it does not know) the same playbooks run by the plain strategy.
ANSIBLE_STRATEGY=linear chooses that by hand.

Mitogen keeps the first processor for its connections and binds tasks to the others. On a controller
with two that is one for all tasks, whatever the number of hosts; few processors are left unbound.

Mitogen splits the path of an interpreter as a shell does, and Ansible names localhost's as it is:
in a checkout whose path has a blank no task would run there.
"""

from __future__ import annotations

import os
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.strategy.linear import StrategyModule as Linear
from ansible.utils.display import Display

DOCUMENTATION = """
    name: pipeline_linear
    short_description: The linear strategy, through mitogen where it is installed
    description:
      - Runs tasks in lockstep as C(linear) does, by mitogen where the controller has it.
    author: imdb-pipeline
"""

#: Below that, mitogen has no processor to give away.
PROCESSORS_TO_BIND = 4

try:
    from ansible_mitogen import affinity, transport_config
    from ansible_mitogen.strategy import StrategyMixin
except (ImportError, AnsibleError) as error:
    Display().display(f"Without mitogen, by plain ssh, which is slower ({error}).")

    class StrategyModule(Linear):
        """Plain linear."""

else:
    if (os.cpu_count() or 1) < PROCESSORS_TO_BIND:
        affinity.policy = affinity.Policy()

    split_path = transport_config.parse_python_path

    def parse_python_path(s: str | None, **options: object) -> list[str]:
        """Take the path of a program that is there for one word."""
        return [s] if s and Path(s).exists() else split_path(s, **options)

    transport_config.parse_python_path = parse_python_path

    class StrategyModule(StrategyMixin, Linear):  # type: ignore[no-redef]
        """Linear, with tasks carried by mitogen."""
