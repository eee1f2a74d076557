"""What terraform/local makes of its machine: umask, name servers, keyring and control groups."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "terraform/local/scripts"
HOST = "0badcafe-10"
SYSTEMD = Path("/sys/fs/cgroup/systemd")


def call(script: str, umask: int = 0o022, /, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands with mounts of their own and an empty /run; both outputs are one."""
    begin = "mount --make-rprivate / && mount -t tmpfs tmpfs /run\n"
    return subprocess.run(
        ["unshare", "--mount", "bash", "-euc", begin + script],
        umask=umask,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def run(script: str, umask: int = 0o022, /, **variables: str) -> str:
    """Run what must succeed."""
    done = call(script, umask, **variables)
    assert done.returncode == 0, done.stdout
    return done.stdout


def local_variables(state: Path) -> dict[str, str]:
    """Return what terraform gives the scripts of one host."""
    return {
        "LOCAL_ID": "0badcafe",
        "LOCAL_STATE": str(state),
        "LOCAL_ARCH": os.uname().machine.replace("aarch64", "arm64"),
        "LOCAL_BRIDGE": "imdb-0badcafe",
        "LOCAL_SUBNET": "10.200.1.0/24",
        "LOCAL_FOLDER": f"{state}/hosts/1",
        "LOCAL_MACHINE": HOST,
        "LOCAL_HOST": "test-1",
        "LOCAL_IMAGE": "/nowhere",
        "LOCAL_DEBIAN_RELEASE": "bookworm",
        "LOCAL_NAMES": "10.200.1.10 test-1",
        "LOCAL_FOLDERS": f"{state}/hosts/1",
    }


# umask


def made(state: Path, umask: int) -> list[str]:
    """Return what the parts of a host that need no running host are made of, with their modes."""
    run(
        f"'{SCRIPTS}/output.sh' create; '{SCRIPTS}/host.sh' create; '{SCRIPTS}/host.sh' names",
        umask,
        **local_variables(state),
    )
    return run(f"cd '{state}'; find . -printf '%m %p\\n' | sort").splitlines()


@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_a_host_does_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    strict = made(tmp_path / "strict", umask)
    assert strict == made(tmp_path / "usual", 0o022)
    # Services read their settings, and the operator looks at the tables and terraform's marks.
    for mode in (
        "755 .",
        "755 ./output",
        "755 ./hosts/1",
        "755 ./hosts/1/disk/upper/etc",
        "644 ./hosts/1/disk/upper/etc/hosts",
    ):
        assert mode in strict
    assert "700 ./hosts/1/disk" in strict


# name servers

ASK = f". '{SCRIPTS}/lib.sh'; name_servers"
# The files of the machine, by what the tests write in their place.
RESOLVER = "cat >/run/it && mount --bind /run/it /etc/resolv.conf"


def machine_with(resolv_conf: str, files: dict[str, str] | None = None) -> str:
    """Return shell commands that give a machine its resolver's files."""
    lines = [f"printf '%s\\n' {shlex.quote(resolv_conf)} | {{ {RESOLVER}; }}"]
    for name, content in (files or {}).items():
        lines.append(f"mkdir -p {Path(name).parent}; printf '%s\\n' {shlex.quote(content)} >{name}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("resolv_conf", "files", "servers"),
    [
        ("nameserver 192.168.1.1\nnameserver 10.0.0.53", {}, "192.168.1.1 10.0.0.53"),
        ("nameserver 127.0.0.1\nnameserver ::1\nnameserver 9.9.9.9", {}, "9.9.9.9"),
        (
            "nameserver 127.0.0.53",
            {"/run/systemd/resolve/resolv.conf": "nameserver 192.168.2.1"},
            "192.168.2.1",
        ),
        (
            "nameserver 127.0.1.1",
            {"/run/NetworkManager/no-stub-resolv.conf": "nameserver 192.168.3.1"},
            "192.168.3.1",
        ),
        (
            "nameserver 127.0.0.1",
            {"/run/dnsmasq/resolv.conf": "nameserver 192.168.4.1 # dhcp"},
            "192.168.4.1",
        ),
        ("nameserver fe80::1%wlan0", {}, ""),
        ("nameserver 127.0.0.1", {}, ""),
        ("search example.org", {}, ""),
    ],
)
def test_name_servers_are_those_that_hosts_can_reach(
    resolv_conf: str, files: dict[str, str], servers: str
) -> None:
    assert run(machine_with(resolv_conf, files) + ASK).split() == servers.split()


def test_name_servers_that_the_operator_names_go_first() -> None:
    found = run(machine_with("nameserver 192.168.1.1") + ASK, LOCAL_NAME_SERVERS="9.9.9.9 1.1.1.1")
    assert found.split() == ["9.9.9.9", "1.1.1.1"]


def test_a_host_keeps_its_name_servers_where_none_is_known(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc/resolv.conf"
    write = f". '{SCRIPTS}/lib.sh'; write_resolv_conf '{tmp_path}'"
    run(machine_with("search example.org\nnameserver 127.0.0.1\nnameserver 10.0.0.53") + write)
    assert file.read_text(encoding="ascii") == "search example.org\nnameserver 10.0.0.53\n"
    assert "Warning: this machine knows no name server" in run(
        machine_with("nameserver 127.0.0.1") + write
    )
    assert file.read_text(encoding="ascii") == "search example.org\nnameserver 10.0.0.53\n"


def test_a_hosts_own_link_is_not_followed_on_the_machine(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").symlink_to(tmp_path / "machine")
    (tmp_path / "machine").touch()
    run(
        machine_with("nameserver 10.0.0.53")
        + f". '{SCRIPTS}/lib.sh'; write_resolv_conf '{tmp_path}'"
    )
    assert (tmp_path / "machine").read_text(encoding="ascii") == ""
    assert (tmp_path / "etc/resolv.conf").read_text(encoding="ascii") == "nameserver 10.0.0.53\n"


# preflight

PREFLIGHT = f"'{SCRIPTS}/preflight.sh'"


def test_preflight_passes_on_this_machine(tmp_path: Path) -> None:
    assert (
        run(
            machine_with("nameserver 192.168.1.1") + PREFLIGHT,
            **local_variables(tmp_path / "state"),
        )
        == ""
    )


def test_preflight_refuses_hosts_without_dns(tmp_path: Path) -> None:
    refused = call(
        machine_with("nameserver 127.0.0.1") + PREFLIGHT, **local_variables(tmp_path / "state")
    )
    assert refused.returncode == 1
    assert "/etc/resolv.conf (127.0.0.1)" in refused.stdout
    assert "name_servers = [" in refused.stdout
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("resolv_conf", "mirror"),
    [("", ""), ("nameserver 127.0.0.1", "http://192.0.2.1/debian")],
    ids=["no resolver", "mirror"],
)
def test_preflight_warns_where_hosts_may_do_without_dns(
    tmp_path: Path, resolv_conf: str, mirror: str
) -> None:
    told = run(
        machine_with(resolv_conf) + PREFLIGHT,
        **local_variables(tmp_path / "state"),
        LOCAL_DEBIAN_MIRROR=mirror,
    )
    assert told.startswith("Warning: this machine has no name server that hosts can reach")


def test_preflight_refuses_a_machine_that_hides_processes() -> None:
    """Terraform, which is not root, would take each host for dead."""
    as_nobody = f"""
cp -r '{SCRIPTS}' /run/scripts
unshare --pid --fork --mount-proc sh -c '
    mount -t proc -o hidepid=2 proc /proc
    setpriv --reuid=65534 --regid=65534 --clear-groups /run/scripts/preflight.sh || exit 1'
"""
    refused = call(as_nobody, **local_variables(Path("/run/state")))
    assert refused.returncode == 1
    assert "/proc is mounted with hidepid" in refused.stdout


def test_preflight_names_the_keyring_that_ubuntu_lacks(tmp_path: Path) -> None:
    refused = call(
        f"mount -t tmpfs tmpfs /usr/share/keyrings\n{PREFLIGHT}",
        **local_variables(tmp_path / "state"),
    )
    assert refused.returncode == 1
    assert "lacks /usr/share/keyrings/debian-archive-keyring.gpg" in refused.stdout
    assert "package debian-archive-keyring)" in refused.stdout


# a disk


def test_a_disk_outlives_the_recipe_of_its_image(tmp_path: Path) -> None:
    """The cache was emptied, and an image of that recipe is made no more."""
    told = run(
        f"""
cp -r '{SCRIPTS}' /run/scripts
cat >/run/scripts/image.sh <<'SCRIPT'
#!/bin/bash
mkdir -p "$LOCAL_IMAGE"/{{home/admin,etc/systemd/network}}
SCRIPT
/run/scripts/host.sh create
echo '{tmp_path}/earlier' >"$LOCAL_FOLDER/image"
echo rows >"$LOCAL_FOLDER/disk/upper/rows"
# It ends before a host would be started.
! LOCAL_PUBLIC_KEY=/nowhere /run/scripts/host.sh start
cat "$LOCAL_FOLDER/disk/root/rows"
findmnt --noheadings --output OPTIONS "$LOCAL_FOLDER/disk/root"
""",
        **local_variables(tmp_path / "state"),
    )
    assert "cannot stat '/nowhere'" in told
    assert "\nrows\n" in told
    assert f"lowerdir={tmp_path}/earlier," in told


# In the place of mmdebstrap; the folder is its last argument where no mirror is named.
FEW_FILES = """#!/bin/bash
mkdir -p "${@: -1}"/{etc,home/admin}
echo 12 >"${@: -1}/etc/debian_version"
chown 1000:1000 "${@: -1}/home/admin"
"""


@pytest.mark.parametrize(
    ("harm", "again"),
    [
        ("true", False),
        ('cp -r "$LOCAL_IMAGE" copy; rm -r "$LOCAL_IMAGE"; mv copy "$LOCAL_IMAGE"', True),
        ('rmdir "$LOCAL_IMAGE/home/admin"', True),
        ('rm "$LOCAL_IMAGE/etc/debian_version"', True),
    ],
    ids=["as it was made", "copied without owners", "cleaned in part", "begun"],
)
def test_an_image_that_is_not_as_it_was_made_is_made_anew(
    tmp_path: Path, harm: str, again: bool
) -> None:
    (tmp_path / "mmdebstrap").write_text(FEW_FILES)
    (tmp_path / "mmdebstrap").chmod(0o755)
    image = tmp_path / "images/bookworm"
    told = run(
        f"""
cd '{tmp_path}'
'{SCRIPTS}/image.sh'
{harm}
echo '--- again'
'{SCRIPTS}/image.sh'
stat --format=%u "$LOCAL_IMAGE/home/admin"
""",
        **local_variables(tmp_path / "state")
        | {
            "LOCAL_IMAGE": str(image),
            "LOCAL_DEBIAN_MIRROR": "",
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
        },
    )
    told = told.split("--- again")[1]
    assert told.splitlines()[-1] == "1000"
    assert (f"the base image {image} is not as it was made" in told) == again
    assert image.with_name("bookworm.damaged").exists() == again


# control groups


@pytest.fixture
def cgroup2() -> Iterator[Path]:
    """Yield the mount of cgroup v2, which passes a controller on."""
    mount = next(
        (
            it
            for it in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
            if (it / "cgroup.controllers").exists()
        ),
        None,
    )
    if mount is None or Path("/run/systemd/system").exists():
        pytest.skip("needs cgroup v2 without systemd; tools/test-laptop has it with systemd")
    control = mount / "cgroup.subtree_control"
    controllers = (mount / "cgroup.controllers").read_text(encoding="ascii").split()
    if not controllers:
        pytest.skip("needs a controller of cgroup v2; version 1 has them all on this machine")
    before = control.read_text(encoding="ascii").split()
    control.write_text(f"+{controllers[0]}", encoding="ascii")
    yield mount
    if controllers[0] not in before:
        # Hosts of others that were made meanwhile may use it.
        subprocess.run(
            ["sh", "-c", f"echo -{controllers[0]} >{control}"],
            stderr=subprocess.DEVNULL,
            check=False,
        )


def test_a_host_gets_the_controllers_of_its_group(tmp_path: Path, cgroup2: Path) -> None:
    """The supervisor, which starts nspawn anew, is in no group that passes controllers on."""
    (tmp_path / "bin").mkdir()
    nspawn = tmp_path / "bin/systemd-nspawn"
    # In nspawn's place: makes groups as nspawn does, shows them, and asks for a reboot once.
    nspawn.write_text(
        f"""#!/bin/bash
own={cgroup2}$(sed -n s/^0:://p /proc/self/cgroup)
mkdir $own/payload $own/supervisor && echo $$ >$own/supervisor/cgroup.procs || exit 1
for it in $(<$own/cgroup.controllers); do echo +$it >$own/cgroup.subtree_control || exit 1; done
echo "payload has $(<$own/payload/cgroup.controllers)"
[ -e {tmp_path}/rebooted ] || {{ touch {tmp_path}/rebooted; exit 133; }}
""",
        encoding="ascii",
    )
    nspawn.chmod(0o755)
    variables = local_variables(tmp_path / "state")
    (tmp_path / "state/hosts/1").mkdir(parents=True)
    told = run(
        f"""
PATH={tmp_path}/bin:$PATH
status=0
timeout 30 '{SCRIPTS}/host.sh' supervise {HOST} || status=$?
'{SCRIPTS}/host.sh' stop
exit $status
""",
        **variables,
        LOCAL_OUTPUT="/nowhere",
    )
    controllers = (cgroup2 / "cgroup.subtree_control").read_text(encoding="ascii").split()
    assert told.count(f"payload has {' '.join(controllers)}\n") == 2, told
    assert told.endswith("systemd-nspawn ended with status 0\n")
    assert not (cgroup2 / f"imdb-{HOST}").exists()
