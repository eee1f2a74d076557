"""Which of AWS's command lines make and Terraform find, where there are two."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hosts import ROOT

IN_VENV = "aws-cli/1.45.0 Python/3.11.7"


def program(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ("aws-cli/2.17.0 Python/3.12 exe/x86_64", "aws-cli/2.17.0 Python/3.12 exe/x86_64"),
        ("aws-cli/1.29.0 Python/3.9", IN_VENV),
        ("something else", IN_VENV),
    ],
)
def test_version_2_of_the_users_own_comes_first(tmp_path: Path, says: str, found: str) -> None:
    function = re.search(
        r"^prefer_aws_2\(\) \{.*?^\}", (ROOT / "tools/setup").read_text(), re.M | re.S
    )
    assert function
    venv, own = tmp_path / ".venv/bin/aws", tmp_path / "a folder/aws"
    program(venv, IN_VENV)
    program(own, says)
    for _ in range(2):
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{function[0]}\nprefer_aws_2"],
            cwd=tmp_path,
            env={"PATH": f"{venv.parent}:{own.parent}:/usr/bin:/bin"},
            check=True,
            timeout=30,
        )
        done = subprocess.run([str(venv)], capture_output=True, text=True, check=True, timeout=30)
        assert done.stdout.strip() == found
