"""Ansible's linear strategy, run by mitogen where it is installed: three times the pace.

Every task of plain Ansible starts a Python on the host; mitogen keeps one alive. Without mitogen
(or with an Ansible it does not know) the same playbooks run by the plain strategy.
ANSIBLE_STRATEGY=linear chooses that by hand.

Mitogen keeps the first processor for its connections and binds tasks to the others. On a controller
with two that is one for all tasks, whatever the number of hosts; few processors are left unbound.
"""

from __future__ import annotations

import os

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
    from ansible_mitogen import affinity
    from ansible_mitogen.strategy import StrategyMixin
except (ImportError, AnsibleError) as error:
    Display().display(f"Without mitogen, by plain ssh, which is slower ({error}).")

    class StrategyModule(Linear):
        """Plain linear."""

else:
    if (os.cpu_count() or 1) < PROCESSORS_TO_BIND:
        affinity.policy = affinity.Policy()

    class StrategyModule(StrategyMixin, Linear):  # type: ignore[no-redef]
        """Linear, with tasks carried by mitogen."""
