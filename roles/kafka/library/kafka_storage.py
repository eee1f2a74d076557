#!/usr/bin/python
"""Ansible module: whose data a broker's folder holds; formats it for a broker without ZooKeeper."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kafka_storage
short_description: The data folder of a Kafka broker, and its format without ZooKeeper
description:
  - Says which mode (ZooKeeper or KRaft), cluster and broker the folder's data are of, and why a
    broker of C(mode) cannot have them. Changes nothing, unless C(state) is C(formatted).
  - With C(state=formatted) an empty folder becomes that of a new cluster of one controller, with
    its first users. A folder with data is never written to.
  - Notes the cluster beside the settings, so that a folder that has lost its data, such as one
    whose disk is not mounted, is not taken for a new one.
author: imdb-pipeline
options:
  folder:
    description: Folder of the broker's data.
    type: path
    required: true
  mode:
    description: What the broker will be.
    type: str
    choices: [zookeeper, kraft]
    required: true
  version:
    description: Version of Kafka that the broker will be.
    type: str
    required: true
  note:
    description: File on the host that says which cluster was formatted, and by which version.
    type: path
    default: /etc/kafka/cluster.properties
  state:
    description: Whether the folder should be looked at alone, or formatted if it is empty.
    type: str
    choices: [seen, formatted]
    default: seen
  settings:
    description: The broker's server.properties; needed to format.
    type: path
    default: /etc/kafka/server.properties
  command:
    description: What runs a class of Kafka's.
    type: path
    default: /usr/local/bin/kafka-run
  uid:
    description: Number of the user and the group that the broker runs as.
    type: int
    default: 0
  users:
    description: Users of SCRAM-SHA-512 that the cluster begins with, each C(name) and C(password).
    type: list
    elements: dict
    default: []
"""
EXAMPLES = r"""
- name: Format the folder of a new broker
  kafka_storage:
    folder: /var/lib/kafka
    mode: kraft
    version: 4.4.0
    state: formatted
    uid: 7102
    users: [{name: kafka, password: "{{ vault_kafka }}"}]
"""
RETURN = r"""
mode:
  description: What the data are of, C(zookeeper) or C(kraft); empty for none.
  type: str
  returned: always
id:
  description: Id of the broker that the data are of; empty for none.
  type: str
  returned: always
cluster:
  description: Id of the cluster that the data are of; empty for none.
  type: str
  returned: always
problem:
  description: Why a broker of this mode and version cannot have the folder; empty if it can.
  type: str
  returned: always
"""

META = "meta.properties"
METADATA = "__cluster_metadata-0"
# What a format that was cut off leaves before it writes META, and what a file system has.
NO_DATA = {"bootstrap.checkpoint", METADATA, "lost+found"}
NAMES = {"zookeeper": "with ZooKeeper", "kraft": "without ZooKeeper (kafka_mode: kraft)"}
FORMAT_SECONDS = 180
# In memory: what lies there is never on a disk.
SCRATCH = "/run"


def read_properties(path: Path) -> dict[str, str]:
    """Return the pairs of a properties file; none if there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if line.strip() and line[0] not in "#!")
    return {key.strip(): value.strip() for key, _, value in pairs}


def found_in(folder: Path) -> dict[str, str]:
    """Return mode, id and cluster of a folder's data, each empty for none."""
    meta = read_properties(folder / META)
    if not meta:
        return {"mode": "", "id": "", "cluster": ""}
    mode = "kraft" if "node.id" in meta else "zookeeper"
    number = meta.get("node.id", meta.get("broker.id", ""))
    return {"mode": mode, "id": number, "cluster": meta.get("cluster.id", "")}


def unnamed_data(folder: Path) -> list[str]:
    """Return what lies in a folder that has no META, and is no rest of a format."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    rest = [name for name in names if name not in NO_DATA]
    metadata = folder / METADATA
    # A controller that has run has written its log.
    if metadata.is_dir() and any(metadata.glob("*.log")):
        rest.append(METADATA)
    return rest


def numbers(version: str) -> list[int]:
    return [int(it) for it in re.findall(r"\d+", version)]


def problem(given: dict[str, Any], found: dict[str, str]) -> str:
    """Return why the broker cannot have the folder; empty if it can."""
    folder, mode = given["folder"], given["mode"]
    noted = read_properties(Path(given["note"])) if mode == "kraft" else {}
    if found["mode"] not in ("", mode):
        return (
            f"kafka_mode is {mode}, and {folder} holds the data of a broker "
            f"{NAMES[found['mode']]}. A broker's data do not go from one mode to the other by a "
            f"setting: let kafka_mode be {found['mode']}, as it was deployed."
        )
    if mode != "kraft":
        return ""
    if not found["mode"]:
        if data := unnamed_data(Path(folder)):
            shown = ", ".join(data[:3]) + (" ..." if len(data) > 3 else "")
            return (
                f"{folder} is not empty ({shown}), and has no {META} that says whose data these "
                "are. Bring the file back from your backup, or move the folder away."
            )
        if noted:
            return (
                f"{folder} is empty, and this host had the cluster {noted.get('cluster.id')} "
                f"in it ({given['note']}). Mount the disk, or bring the data back from your "
                f"backup. If they are lost for good, delete {given['note']}, and a new cluster "
                "is made."
            )
        return ""
    if noted and noted.get("cluster.id") != found["cluster"]:
        return (
            f"{folder} holds the data of the cluster {found['cluster']}, and this host belongs "
            f"to {noted.get('cluster.id')} ({given['note']}). Bring its own data back, or, if "
            f"these are meant, delete {given['note']}."
        )
    by = noted.get("formatted.by", "")
    if by and numbers(given["version"]) < numbers(by):
        return (
            f"kafka_version is {given['version']}, and {folder} was formatted by {by}, whose "
            f"metadata an older version does not read. Give {by} or a newer one."
        )
    return ""


def write_note(given: dict[str, Any], cluster: str, by: str) -> None:
    """Note the cluster that the host's folder has, whole or not at all."""
    path = Path(given["note"])
    lines = [f"cluster.id={cluster}", *([f"formatted.by={by}"] if by else [])]
    new = path.with_name(f"{path.name}.new")
    new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)


def new_cluster() -> str:
    """Return an id as Kafka makes them; no option of a command begins like it."""
    while True:
        made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not made.startswith("-"):
            return made


def format_folder(given: dict[str, Any], cluster: str) -> str:
    """Format the folder as the broker's user; return what went wrong.

    Passwords go by a file that the user alone may read: arguments are seen by everybody.
    """
    users = [
        f"SCRAM-SHA-512=[name={user['name']},password={user['password']}]"
        for user in given["users"]
    ]
    arguments = ["--config", given["settings"], f"--cluster-id={cluster}", "--standalone"]
    arguments += [word for user in users for word in ("--add-scram", user)]
    with tempfile.TemporaryDirectory(prefix="kafka-format-", dir=SCRATCH) as scratch:
        listed = Path(scratch) / "arguments"
        listed.touch(mode=0o600)
        listed.write_text("\n".join(arguments), encoding="utf-8")
        for path in (Path(scratch), listed):
            os.chown(path, given["uid"], given["uid"])
        command = [given["command"], "kafka.tools.StorageTool", "format", f"@{listed}"]
        try:
            done = subprocess.run(
                command,
                cwd="/",
                user=given["uid"],
                group=given["uid"],
                extra_groups=[] if os.geteuid() == 0 else None,
                umask=0o027,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=FORMAT_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{type(error).__name__}: {error}"
    if done.returncode == 0:
        return ""
    # Without the metadata that it shows, in which are the keys made of the passwords.
    lines = (done.stdout + done.stderr).splitlines()
    said = "\n".join(line for line in lines if "UserScramCredentialRecord" not in line).strip()
    for user in given["users"]:
        said = said.replace(user["password"], "***")
    return said or f"exit status {done.returncode}"


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look, and format if asked to and nothing is there; return the module's result."""
    given = module.params
    found = found_in(Path(given["folder"]))
    why = problem(given, found)
    result: dict[str, Any] = {"changed": False, "problem": why} | found
    if given["state"] == "seen" or given["mode"] != "kraft":
        return result
    if why:
        module.fail_json(msg=f"{why} Nothing was changed.", **found)
    fresh = not found["mode"]
    if not fresh and read_properties(Path(given["note"])):
        return result
    result["changed"] = True
    if module.check_mode:
        return result
    cluster = new_cluster() if fresh else found["cluster"]
    if fresh and (said := format_folder(given, cluster)):
        module.fail_json(msg=f"{given['folder']} could not be formatted: {said}")
    # Data that were here before the note may be of any version.
    write_note(given, cluster, given["version"] if fresh else "")
    return result | found_in(Path(given["folder"]))


def main() -> None:
    """Run the module."""
    user = {"name": {"required": True}, "password": {"required": True, "no_log": True}}
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "mode": {"choices": ["zookeeper", "kraft"], "required": True},
            "version": {"required": True},
            "note": {"type": "path", "default": "/etc/kafka/cluster.properties"},
            "state": {"choices": ["seen", "formatted"], "default": "seen"},
            "settings": {"type": "path", "default": "/etc/kafka/server.properties"},
            "command": {"type": "path", "default": "/usr/local/bin/kafka-run"},
            "uid": {"type": "int", "default": 0},
            "users": {"type": "list", "elements": "dict", "options": user, "default": []},
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
