"""A copy of terraform/ and its knobs, in which terraform/aws is applied as by a user, to moto."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from .attached import attached
from .aws_moto import Aws

ROOT = Path(__file__).resolve().parents[2]
# Nothing of the real AWS is asked, and buckets are paths: their names are no host names here.
OVERRIDE = """
provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  s3_use_path_style           = true
}
"""


@dataclass(frozen=True)
class Project:
    """A copy of the project's Terraform, with a state of its own."""

    folder: Path
    aws: Aws
    provider: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The copy of terraform/aws."""
        return self.folder / "terraform/aws"

    def terraform(self, *arguments: str, code: int = 0, delete_data: str = "aws,wide") -> str:
        """Run terraform in the root; fail with what it said unless it exits with the code.

        Its data is the tests' own and may be deleted, unless a test says otherwise.
        """
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.root,
            env={
                **environment(),
                **self.aws.environment,
                **self.provider,
                "PATH": self.path,
                "TF_VAR_delete_data": delete_data,
            },
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        # What went wrong comes first: the end of a long text may be cut off on its way to a reader.
        assert done.returncode == code, (
            f"terraform {' '.join(arguments)}:\n{done.stderr}\n{done.stdout[-6000:]}"
        )
        return done.stdout + done.stderr if code else done.stdout

    def apply(self, *arguments: str) -> None:
        """Apply without asking."""
        self.terraform("apply", "-input=false", "-no-color", "-auto-approve", *arguments)

    def destroy(self, *arguments: str, code: int = 0) -> str:
        """Destroy without asking."""
        return self.terraform(
            "destroy", "-input=false", "-no-color", "-auto-approve", *arguments, code=code
        )

    def changes(self, *arguments: str) -> str:
        """Return what a further plan would change: nothing is an empty string."""
        plan = ("plan", "-input=false", "-no-color", "-detailed-exitcode", *arguments)
        try:
            self.terraform(*plan)
        except AssertionError as error:
            return str(error)
        return ""

    def outputs(self) -> dict[str, Any]:
        """Return the outputs by name."""
        listed = json.loads(self.terraform("output", "-json"))
        return {name: output["value"] for name, output in listed.items()}

    @property
    def path(self) -> str:
        """PATH with a stand-in for the one tool that PyPI does not have."""
        return f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"


def environment() -> dict[str, str]:
    """Return the environment without what would lead terraform or AWS's clients elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "TF_VAR_", "TF_WORKSPACE", "TF_DATA_DIR", "TF_REATTACH"))
    }
    return {**kept, "TF_CLI_CONFIG_FILE": cli_configuration()}


@cache
def cli_configuration() -> str:
    """Return where terraform is told how to come by the provider."""
    return subprocess.run(
        [str(ROOT / "tools/providers"), "aws"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    ).stdout.strip()


def copy_sources(folder: Path) -> None:
    """Copy terraform/ and the knobs that it reads, without what an init or apply has left."""
    left = shutil.ignore_patterns(".terraform*", "*.tfstate*", "terraform.tfstate.d")
    for name in ("terraform", "inventories/pipeline"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=left)


@contextmanager
def copied_project(folder: Path, aws: Aws) -> Iterator[Project]:
    """Copy the sources to a folder, init terraform/aws against moto, and have its provider."""
    copy_sources(folder)
    (folder / "terraform/aws/override.tf").write_text(OVERRIDE)
    plugin = folder / "bin/session-manager-plugin"
    plugin.parent.mkdir()
    plugin.write_text("#!/bin/sh\nexit 1\n")
    plugin.chmod(0o755)
    project = Project(folder, aws)
    project.terraform("init", "-input=false", "-no-color")
    with attached(project.root, {**environment(), **aws.environment}) as provider:
        yield replace(project, provider=provider)
