"""What is deleted as data: all of a folder, but nothing mounted below it or of the system's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .modules import ROOT, load

module = load("roles/removal/library/removal_folders.py", "removal_folders")


def delete(*paths: Path, dry: bool = False, empty: tuple[Path, ...] = ()) -> list[str]:
    """Delete folders, and then those that are empty; return what the module has removed."""
    deletion = module.Deletion(dry=dry)
    for path in paths:
        deletion.delete(str(path))
    for path in empty:
        deletion.delete_if_empty(str(path))
    return list(deletion.removed)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a file in it, one deeper, and links."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept").touch()
    folder = tmp_path / "above" / "data"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "file").touch()
    (folder / "deep" / "deeper" / "file").touch()
    (folder / "link").symlink_to(tmp_path / "outside")
    return folder


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/srv",
            "/etc",
            "/etc/kafka",
            "/var/lib",
            "/var/lib/",
            "//var//lib",
            "/var/lib/dpkg/info",
        ),
        *(
            "/home/somebody",
            "/usr/local/lib",
            str(Path.home()),
            "/var/log",
            "/data",
            "data/kafka",
            "kafka",
            "",
        ),
        *("/var/lib/../lib", "/srv/data/../../etc", "/bin/data"),
    ],
)
def test_what_is_none_of_a_services_data_is_refused(path: str) -> None:
    assert module.why_not(path.rstrip("/") or path[:1])


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/kafka",
        "/srv/kafka",
        "/opt/spark-output/parquet",
        "/home/somebody/data",
        "/data/kafka",
    ],
)
def test_a_services_data_may_be_deleted(path: str) -> None:
    assert module.why_not(path) == ""


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("/var/lib")
    (tmp_path / "etc").symlink_to("/etc")
    (tmp_path / "link").symlink_to(tmp_path)
    assert "/var/lib" in module.why_not(f"{tmp_path}/data")
    assert "the system's" in module.why_not(f"{tmp_path}/etc/kafka")
    assert "is a link" in module.why_not(f"{tmp_path}/link")


def test_a_folder_goes_with_all_in_it_once(data: Path, tmp_path: Path) -> None:
    assert delete(data) == [str(data)]
    assert not data.exists()
    assert (tmp_path / "outside" / "kept").exists()
    assert delete(data) == []


def test_check_mode_foresees_it_and_deletes_nothing(data: Path) -> None:
    assert delete(data, dry=True, empty=(data.parent,)) == [str(data), str(data.parent)]
    assert (data / "deep" / "deeper" / "file").exists()


def test_a_folder_that_is_not_empty_stays(data: Path) -> None:
    (data.parent / "other").touch()
    assert delete(data, empty=(data.parent,)) == [str(data)]
    assert data.parent.exists()


def test_an_empty_folder_goes(data: Path) -> None:
    assert delete(data, empty=(data.parent,)) == [str(data), str(data.parent)]
    assert not data.parent.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
@pytest.mark.parametrize("mount", ["-t tmpfs tmpfs", "--bind outside"])
def test_mounts_are_let_be(data: Path, tmp_path: Path, mount: str) -> None:
    mounted, within = tmp_path / "mounted", data / "deep" / "mounted"
    mounted.mkdir()
    within.mkdir()
    again = """
import json, runpy, sys
module = runpy.run_path(sys.argv[1])
for _ in range(2):
    deletion = module["Deletion"](dry=False)
    for path in sys.argv[2:]:
        deletion.delete(path)
    print(json.dumps(deletion.removed))
"""
    script = f"""
        set -e
        mount -t tmpfs tmpfs mounted && touch mounted/file
        mount {mount} {within} && touch {within}/kept
        "$@"
        ls -A mounted; ls {within}; ls -A {data} {data}/deep
    """
    said = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", script, "-", sys.executable, "-c", again),
            *(str(module.__file__), str(mounted), str(data)),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    first, second, *left = said.stdout.splitlines()
    assert json.loads(first) == [str(mounted), str(data)]
    assert json.loads(second) == []
    assert left == ["kept", f"{data}:", "deep", "", f"{data}/deep:", "mounted"]


#: Two words, as -e gives them: text. Whether the role refuses, and whether the data stays.
WORDS = {
    "asked": ({"data_asked": "true", "data_confirmed": "false"}, True, True),
    "confirmed": ({"data_asked": "false", "data_confirmed": "true"}, False, True),
    "both": ({"data_asked": "true", "data_confirmed": "true"}, False, False),
    "check": ({"data_asked": "true", "data_confirmed": "true", "check_only": "true"}, False, True),
}


@pytest.fixture(scope="module")
def removed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the role on this machine with each of WORDS, in one run; return the data, and its words.

    Each is a host, and has a folder of its name.
    """
    folder = tmp_path_factory.mktemp("removal")
    hosts = {}
    for case, (words, _, _) in WORDS.items():
        (folder / case).mkdir()
        given = {f"removal_{name}": value for name, value in words.items()}
        hosts[case] = given | {"removal_data": [str(folder / case)]}
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": hosts, "vars": here}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (folder / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  roles: [removal]\n")
    done = subprocess.run(
        ["ansible-playbook", "-i", folder / "hosts.yml", folder / "play.yml"],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_STRATEGY": "linear", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return folder, done.stdout + done.stderr


@pytest.mark.parametrize("case", WORDS)
def test_data_goes_only_if_both_words_are_true_and_it_is_no_check(
    removed: tuple[Path, str], case: str
) -> None:
    folder, said = removed
    _, refused, stays = WORDS[case]
    assert re.search(rf"^{case} +: .* unreachable=0 +failed={int(refused)} ", said, re.M), said
    told = re.search(rf" on {case} would be deleted for good\..* Nothing was removed", said)
    assert bool(told) == refused, said
    assert (folder / case).exists() == stays
