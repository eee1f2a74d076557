"""The phases by which a running pipeline goes from the clear to secured, and back."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

#: In their order; inventories/pipeline/group_vars/all/security.yml says what each is.
PHASES = ["open", "both", "inside", "secured"]


def phases_left(wanted: str, deployed: str, switch: dict[str, str]) -> list[str]:
    """Return the phases that are left to deploy, in their order.

    wanted: where it is to end, `secured` or `open`.
    deployed: the same, of what is deployed now.
    switch: `phase` and `towards` of a switch that is under way; empty without one. Its phase may be
        deployed in part. It is deployed once more, unless the switch is to go back from there.

    Raises AnsibleFilterError for a phase that is none.
    """
    at = switch.get("phase", deployed)
    if at not in PHASES:
        raise AnsibleFilterError(
            f"pipeline_switch has the phase '{at}', which is none of {', '.join(PHASES)}. Take "
            "group_vars/all/switch.yml of the environment from your backup"
        )
    way = PHASES if wanted == PHASES[-1] else PHASES[::-1]
    goes_on = switch.get("towards") == wanted
    return way[way.index(at) + (0 if goes_on else 1) :]


class FilterModule:
    """The filters of ansible/switch_security.yml."""

    def filters(self) -> dict[str, Any]:
        """Return each by its name."""
        return {"phases_left": phases_left}
