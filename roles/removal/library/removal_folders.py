#!/usr/bin/python
"""Ansible module: deletes folders of data, and never what is mounted below them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: removal_folders
short_description: Delete folders of data
description:
  - Deletes folders with all that is in them. One that is a mount point is emptied and stays, and
    what is mounted below a folder is let be.
  - Refuses a path that is none of a service's data, such as /etc, before anything is deleted.
author: imdb-pipeline
options:
  folders:
    description: Absolute paths of the folders, two levels deep at least.
    type: list
    elements: str
    default: []
  empty_folders:
    description: Folders that are then removed too if nothing lies in them, but no mount points.
    type: list
    elements: str
    default: []
"""
EXAMPLES = r"""
- name: Delete the data
  removal_folders:
    folders: [/var/lib/kafka]
"""
RETURN = r"""
removed:
  description: Folders that were deleted or emptied, or would be.
  type: list
  elements: str
  returned: always
"""

# With all below them.
SYSTEMS_OWN = [
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin"),
    *("/sys", "/usr", "/var/cache/apt", "/var/log/journal"),
    *(f"/var/lib/{name}" for name in ("apt", "dpkg", "pam", "private", "systemd", "ucf")),
]
# Others' data lies in them; in a folder of / itself, such as /srv, too.
SHARED = [
    *("/var/backups", "/var/cache", "/var/lib", "/var/local", "/var/lock", "/var/log", "/var/mail"),
    *("/var/opt", "/var/run", "/var/spool", "/var/tmp"),
]


def is_shared(path: Path) -> bool:
    """Whether others' data may lie in a folder: /, /srv, /var/lib, /home/somebody."""
    return len(path.parts) < 3 or str(path) in SHARED or path.parent == Path("/home")


def why_not(folder: str) -> str:
    """Why a folder must not be deleted; empty if it may be."""
    if not folder.startswith("/"):
        return "is not an absolute path"
    path = Path("/" + folder.lstrip("/"))
    if ".." in path.parts:
        return "goes up by .."
    # Where it really is, too: a folder above it may be a link.
    for place in (path, path.resolve()):
        if is_shared(place):
            return f"is or leads to {place}, where others' files lie too"
        if any(place.is_relative_to(own) for own in SYSTEMS_OWN):
            return f"is or leads to {place}, which is the system's"
    if path.is_symlink() and path.exists():
        return f"is a link: name {path.resolve()} itself"
    return ""


def mount_points() -> set[Path]:
    """What is mounted where, also where the number of the file system is that of the folder."""
    found = set()
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    for line in table.rstrip("\n").split("\n"):
        path = line.split(" ")[4]
        # A blank is written \040.
        for code, character in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
            path = path.replace(f"\\{code}", character)
        found.add(Path(path))
    return found


class Deletion:
    """Deletes, or says what it would delete."""

    def __init__(self, dry: bool) -> None:
        """Note what is mounted where."""
        self.dry = dry
        self.mounts = mount_points()
        self.removed: list[str] = []
        self.gone: set[Path] = set()

    def delete(self, folder: str) -> None:
        """Delete a folder, or empty it if it is a mount point."""
        above = Path(folder).parent.resolve()
        path = above / Path(folder).name
        if not path.is_symlink() and not path.exists():
            return
        opened = os.open(above, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if path in self.mounts:
                changed, gone = self.empty(opened, path)[0], False
            else:
                changed, gone = self.take(opened, path)
        finally:
            os.close(opened)
        if changed:
            self.removed.append(str(path))
        if gone:
            self.gone.add(path)

    def take(self, above: int, path: Path) -> tuple[bool, bool]:
        """Delete what lies in an open folder; return whether anything went, and whether all."""
        try:
            if not stat.S_ISDIR(os.stat(path.name, dir_fd=above, follow_symlinks=False).st_mode):
                if not self.dry:
                    os.unlink(path.name, dir_fd=above)
                return True, True
            changed, emptied = self.empty(above, path)
            if emptied and not self.dry:
                os.rmdir(path.name, dir_fd=above)
        except FileNotFoundError:
            # Another host that shares the folder was faster.
            return True, True
        return changed or emptied, emptied

    def empty(self, above: int, path: Path) -> tuple[bool, bool]:
        """Empty a folder in an open one; return whether anything went, and whether all."""
        # By open folders: nobody can put a link in the place of one in the meantime.
        opened = os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        try:
            changed, emptied = False, True
            with os.scandir(opened) as entries:
                names = [entry.name for entry in entries]
            for name in names:
                if path / name in self.mounts or self.is_elsewhere(opened, name):
                    emptied = False
                    continue
                went, whole = self.take(opened, path / name)
                changed, emptied = changed or went, emptied and whole
        finally:
            os.close(opened)
        return changed, emptied

    @staticmethod
    def is_elsewhere(folder: int, name: str) -> bool:
        """Whether a folder in an open one is on another file system."""
        try:
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        # A file may seem so on an overlay.
        return stat.S_ISDIR(there.st_mode) and there.st_dev != os.fstat(folder).st_dev

    def delete_if_empty(self, folder: str) -> None:
        """Remove a folder in which nothing lies."""
        path = Path(folder).resolve()
        if not path.is_dir() or path in self.mounts or is_shared(path):
            return
        if set(path.iterdir()) - self.gone:
            return
        if not self.dry:
            path.rmdir()
        self.removed.append(str(path))


def main() -> None:
    """Run the module."""
    paths: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={"folders": paths, "empty_folders": paths}, supports_check_mode=True
    )
    folders = module.params["folders"]
    refused = [f"{path} {reason}." for path in folders if (reason := why_not(path))]
    if refused:
        module.fail_json(
            msg=f"Not deleted as a folder of data: {' '.join(refused)} "
            "Give a folder of the service's own, such as /var/lib/kafka. Nothing was removed."
        )
    deletion = Deletion(dry=module.check_mode)
    try:
        for path in folders:
            deletion.delete(path)
        for path in module.params["empty_folders"]:
            deletion.delete_if_empty(path)
    except OSError as error:
        module.fail_json(msg=f"Could not delete: {error}", removed=deletion.removed)
    module.exit_json(changed=bool(deletion.removed), removed=deletion.removed)


if __name__ == "__main__":
    main()
