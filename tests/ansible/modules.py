"""Loads Ansible's modules of this repository, which lie where Ansible looks for them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def load(path: str, name: str) -> ModuleType:
    """Load a file of the repository as a module of this name."""
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_utility(name: str) -> ModuleType:
    """Load what several modules share, as these import it."""
    (path,) = [
        *ROOT.glob(f"ansible/module_utils/{name}.py"),
        *ROOT.glob(f"roles/*/module_utils/{name}.py"),
    ]
    return load(str(path), f"ansible.module_utils.{name}")
