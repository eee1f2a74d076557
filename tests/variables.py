"""The variables of a deployment, as Ansible gives them to its roles."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.splitter import parse_kv
from ansible.parsing.vault import get_file_vault_secret
from ansible.plugins.loader import filter_loader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from hosts import ROOT


class HostVariables:
    """One host's variables. Each is rendered when it is asked for: some need facts."""

    def __init__(self, loader: DataLoader, values: dict[str, Any]) -> None:
        """Keep the values as the files have them."""
        self._values = values
        self._templar = Templar(loader, values)

    def __getitem__(self, name: str) -> Any:
        """Return a variable's value.

        Raises:
            KeyError: Neither the inventory nor a role's defaults name it.
        """
        return self._templar.template(self._values[name])


class Variables:
    """Roles' defaults, under the inventories' variables, under those given for this run."""

    def __init__(self, inventories: Sequence[str]) -> None:
        """Read the inventories and the defaults of every role."""
        self._loader = DataLoader()
        if password := os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE"):
            secret = get_file_vault_secret(filename=password, loader=self._loader)
            secret.load()
            self._loader.set_vault_secrets([("default", secret)])
        self._inventory = InventoryManager(loader=self._loader, sources=list(inventories))
        self._manager = VariableManager(loader=self._loader, inventory=self._inventory)
        # The manager takes note of it: `hostvars` in a template needs it.
        HostVars(inventory=self._inventory, variable_manager=self._manager, loader=self._loader)
        self._defaults: dict[str, Any] = {}
        # An inventory may use a role's filters; Ansible knows them once it has loaded the role.
        for path in sorted((ROOT / "roles").glob("*/filter_plugins")):
            filter_loader.add_directory(str(path))
        for path in sorted((ROOT / "roles").glob("*/defaults/main.yml")):
            values = self._loader.load_from_file(str(path), trusted_as_template=True)
            self._defaults |= values or {}

    def hosts(self) -> list[str]:
        """Return the names of the inventory's hosts."""
        return [host.name for host in self._inventory.get_hosts()]

    def of(self, host: str) -> HostVariables:
        """Return the variables of a host of the inventory.

        Raises:
            KeyError: The inventory has no such host.
        """
        known = self._inventory.get_host(host)
        if known is None:
            raise KeyError(f"host {host!r} is not in the inventory")
        values = self._defaults | self._manager.get_vars(host=known) | extra_variables()
        return HostVariables(self._loader, values)


def deploy_arguments() -> list[str]:
    """Return what the pipeline was deployed with, beside the inventory (DEPLOY_ARGS)."""
    return shlex.split(os.environ.get("DEPLOY_ARGS", ""))


def extra_variables() -> dict[str, Any]:
    """Return the variables that DEPLOY_ARGS sets by `-e name=value` or `-e '{"name": ...}'`."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-e", "--extra-vars", action="append", default=[])
    given, _ = parser.parse_known_args(deploy_arguments())
    values: dict[str, Any] = {}
    for text in given.extra_vars:
        pairs = json.loads(text) if text.startswith("{") else parse_kv(text)
        values |= {name: trust_as_template(value) for name, value in pairs.items()}
    return values
