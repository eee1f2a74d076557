"""tools/providers brings what the targets need, and locks it. No registry is asked here."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
from pathlib import Path

import providers
import pytest
from providers import Provider, ProvidersError, bring, find_package, package_hash, required

ROOT = Path(__file__).resolve().parents[2]
HOST = "registry.example"
SOURCE = "someone/thing"
VERSION = "1.2.3"
CHECKSUM = "h1:thatOfTheModule="


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like /opt, the only one; no registry answers, and the operator has no config."""
    place = tmp_path / "opt"
    place.mkdir()
    monkeypatch.setattr(providers, "PLACES", [place, tmp_path / "missing"])
    monkeypatch.setattr(providers, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(providers, "answers", lambda host: False)
    monkeypatch.setattr(providers, "registry_host", lambda provider: HOST)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TF_CLI_CONFIG_FILE", raising=False)
    return place


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that requires one provider."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "versions.tf").write_text(
        "terraform {\n  required_providers {\n    thing = {\n"
        f'      source  = "{SOURCE}"\n      version = "{VERSION}"\n'
        "    }\n  }\n}\n"
    )
    return root


def put(mirror: Path, version: str = VERSION, platform: str = "") -> Path:
    """Put a package into a mirror and return its folder."""
    folder = mirror / HOST / SOURCE / version / (platform or providers.platform_name())
    folder.mkdir(parents=True)
    (folder / f"terraform-provider-thing_v{version}").write_text("#!/bin/sh\n")
    return folder


def bring_it(root: Path) -> str:
    """Do what tools/providers does for a root."""
    cache = providers.CACHE
    return bring(root, cache / "root.tfrc", cache / "mirror")


def test_every_target_pins_its_providers_exactly() -> None:
    wanted = {
        "local": [],
        "libvirt": [Provider("dmacvicar/libvirt", "0.8.3")],
        "aws": [Provider("hashicorp/aws", "5.100.0")],
    }
    assert {name: required(ROOT / "terraform" / name) for name in wanted} == wanted


def test_a_target_without_providers_needs_no_configuration(place: Path) -> None:
    assert bring_it(ROOT / "terraform/local") == ""


def test_a_mirror_is_found_and_named_in_the_configuration(place: Path, root: Path) -> None:
    put(place / "plugins")
    config = Path(bring_it(root)).read_text()
    assert f'path    = "{place / "plugins"}"' in config
    assert f'include = ["{HOST}/{SOURCE}"]' in config
    assert f'exclude = ["{HOST}/{SOURCE}"]' in config


def test_a_packed_mirror_is_found(place: Path) -> None:
    folder = place / "plugins" / HOST / SOURCE
    folder.mkdir(parents=True)
    archive = f"terraform-provider-thing_{VERSION}_{providers.platform_name()}.zip"
    (folder / archive).write_bytes(b"")
    package = find_package(Provider(SOURCE, VERSION), [place / "plugins"])
    assert package is not None
    assert package.host == HOST


@pytest.mark.parametrize(
    ("version", "platform"), [("1.2.4", ""), (VERSION, "plan9_mips")], ids=["version", "platform"]
)
def test_a_mirror_of_something_else_is_not_taken(
    place: Path, root: Path, version: str, platform: str
) -> None:
    put(place / "plugins", version, platform)
    with pytest.raises(ProvidersError, match=rf"{SOURCE} {VERSION} is in no mirror folder here"):
        bring_it(root)


def test_the_second_time_nothing_is_written(place: Path, root: Path, tmp_path: Path) -> None:
    put(place / "plugins")
    (root / "providers.lock").write_text(f'provider "{SOURCE}" {{\n}}\n')
    first = bring_it(root)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert bring_it(root) == first
    assert {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()
    } == before


def test_the_committed_lock_gets_the_registrys_host(place: Path, root: Path) -> None:
    put(place / "plugins")
    rest = f'{{\n  version = "{VERSION}"\n  hashes = ["h1:committed="]\n}}\n'
    (root / "providers.lock").write_text(f'provider "{SOURCE}" {rest}')
    bring_it(root)
    assert (root / ".terraform.lock.hcl").read_text() == f'provider "{HOST}/{SOURCE}" {rest}'


def test_terraform_takes_the_package_by_the_configuration_and_the_lock(
    place: Path, root: Path, tmp_path: Path
) -> None:
    # As if it had been built here: no committed lock, and a hash of our own making.
    put(tmp_path / "cache/mirror")
    config = bring_it(root).strip()
    source = root / "versions.tf"
    source.write_text(source.read_text().replace(SOURCE, f"{HOST}/{SOURCE}"))
    done = subprocess.run(
        ["terraform", f"-chdir={root}", "init", "-input=false", "-no-color", "-lockfile=readonly"],
        env=os.environ | {"TF_CLI_CONFIG_FILE": config},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Installed {HOST}/{SOURCE} v{VERSION}" in done.stdout


def test_a_package_that_changed_has_another_hash(tmp_path: Path) -> None:
    folder = put(tmp_path)
    before = package_hash(folder)
    (folder / f"terraform-provider-thing_v{VERSION}").write_text("something else")
    assert package_hash(folder) != before


def test_the_operators_own_configuration_is_left_alone(
    place: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place / "plugins")
    own = tmp_path / "own.tfrc"
    own.write_text("# mine\n")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(own))
    assert bring_it(root) == str(own)
    assert own.read_text() == "# mine\n"
    assert not (tmp_path / "cache/root.tfrc").exists()


def test_a_configuration_that_is_not_there_is_nobodys(
    place: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place / "plugins")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "nowhere.tfrc"))
    assert bring_it(root) == str(tmp_path / "cache/root.tfrc")
    assert not (tmp_path / "nowhere.tfrc").exists()


def test_a_registry_that_answers_is_left_to_terraform(
    place: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "answers", lambda host: host == HOST)
    (root / "providers.lock").write_text(f'provider "{SOURCE}" {{\n}}\n')
    assert bring_it(root) == ""
    assert (root / ".terraform.lock.hcl").read_text() == f'provider "{HOST}/{SOURCE}" {{\n}}\n'


def test_a_registry_that_cannot_be_reached_is_given_up_soon() -> None:
    assert providers.answers("registry.invalid") is False


def test_terraform_is_asked_for_the_registrys_host() -> None:
    host = providers.registry_host(Provider(SOURCE, VERSION))
    assert "." in host
    assert "/" not in host


# --- built from a Go module -----------------------------------------------------------------------


def fake_go(folder: Path, module: Path, version: str = "go1.26.0") -> None:
    """Put a `go` into a folder that knows one module and notes what it was asked."""
    folder.mkdir()
    answer = json.dumps({"Dir": str(module), "Sum": CHECKSUM})
    program = folder / "go"
    program.write_text(
        f"""#!/bin/sh
echo "$*" >>"{folder}/asked"
case "$1" in
mod) echo '{answer}' ;;
version) echo "go version {version} linux/amd64" ;;
build) sleep 0.5; while [ "$1" != -o ]; do shift; done; echo built >"$2"; chmod +x "$2" ;;
esac
"""
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def go(place: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `go` on PATH, and a root that may be served by it; the file of what it was asked."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.go").write_text("package main\n")
    (module / "main.go").chmod(0o444)
    fake_go(tmp_path / "bin", module)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (root / "provider.sum").write_text(f"code.example/thing v{VERSION} {CHECKSUM}\n")
    return tmp_path / "bin/asked"


def test_a_provider_is_built_where_nothing_else_has_it(go: Path, root: Path) -> None:
    config = Path(bring_it(root)).read_text()
    mirror = providers.CACHE / "mirror"
    assert f'path    = "{mirror}"' in config
    package = find_package(Provider(SOURCE, VERSION), [mirror])
    assert package is not None
    assert (package.path / f"terraform-provider-thing_v{VERSION}").read_text() == "built\n"
    assert package_hash(package.path) in (root / ".terraform.lock.hcl").read_text()
    assert list(providers.CACHE.glob(".build.*")) == []


def test_two_at_once_build_once(go: Path, root: Path) -> None:
    said: list[str] = []
    runs = [threading.Thread(target=lambda: said.append(bring_it(root))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(timeout=60)
    assert said == [str(providers.CACHE / "root.tfrc")] * 2
    assert [line for line in go.read_text().splitlines() if line.startswith("build")][1:] == []


def test_a_module_of_another_checksum_is_not_built(go: Path, root: Path) -> None:
    (root / "provider.sum").write_text(f"code.example/thing v{VERSION} h1:another=\n")
    with pytest.raises(ProvidersError, match=f"expected h1:another=, found {CHECKSUM}"):
        bring_it(root)
    assert "build" not in go.read_text()


def test_a_go_too_old_takes_a_newer_one_as_a_module(go: Path, root: Path, tmp_path: Path) -> None:
    module = tmp_path / "module"
    (go.parent / "go").unlink()
    go.parent.rmdir()
    fake_go(go.parent, module, "go1.19.8")
    (module / "bin").mkdir()
    (module / "bin/go").write_text((go.parent / "go").read_text())
    toolchain = f"v0.0.1-{providers.GO_TOOLCHAIN}.{providers.platform_name().replace('_', '-')}"
    with (root / "provider.sum").open("a") as sums:
        sums.write(f"golang.org/toolchain {toolchain} {CHECKSUM}\n")
    bring_it(root)
    asked = go.read_text()
    assert f"golang.org/toolchain@{toolchain}" in asked
    assert f"terraform-provider-thing_v{VERSION}" in asked


def test_without_go_it_says_what_to_install(
    go: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ProvidersError, match="Debian package golang-go"):
        bring_it(root)
