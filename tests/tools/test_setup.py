"""tools/setup's venv, for real: with a package made here, in checkouts that hold nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
# An interpreter whose first venv is made in earnest, and the others are copies: pip takes seconds.
INTERPRETER = """\
#!/bin/sh
if [ "$1 $2" != "-m venv" ]; then exec {python} "$@"; fi
if [ -e {template} ]; then exec cp -al {template} "$3"; fi
{python} "$@" && cp -al "$3" {template}
"""
PROGRAM = {
    "hello.py": "def main():\n    import sys\n    print(sys.prefix)\n",
    "hello-1.0.dist-info/entry_points.txt": "[console_scripts]\nhello = hello:main\n",
}


def make_wheel(folder: Path, name: str, files: dict[str, str]) -> str:
    """Make a wheel and return its line for a list of packages."""
    info = f"{name}-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, content in files.items():
            entry = zipfile.ZipInfo(file)
            entry.external_attr = (0o100755 if "/scripts/" in file else 0o100644) << 16
            archive.writestr(entry, content)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@dataclass
class Checkout:
    folder: Path
    wheels: Path
    python: Path

    def setup(self, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {
            it: value for it, value in os.environ.items() if it[:4] not in ("PIP_", "UV_C")
        }
        return subprocess.run(
            [self.folder / "tools/setup", "venv"],
            env={
                **inherited,
                # As make does.
                "PATH": ":".join(
                    (f"{self.folder}/.venv/bin", str(self.python.parent), os.environ["PATH"])
                ),
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": self.wheels.as_uri(),
                "UV_CACHE_DIR": str(self.wheels / "cache"),
                "PYTHON": str(self.python),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=300,
        )

    def set_up(self, **environment: str) -> str:
        result = self.setup(**environment)
        assert result.returncode == 0, result.stderr
        return result.stderr

    def hello(self) -> str:
        """Run the installed program, which names its interpreter by its path."""
        program = self.folder / ".venv/bin/hello"
        return subprocess.check_output([program], text=True, timeout=60).strip()

    @property
    def venv(self) -> str:
        return str(self.folder / ".venv")


def new_checkout(folder: Path, python: Path) -> Checkout:
    made = Checkout(folder / "first", folder / "wheels", python)
    (made.folder / "tools").mkdir(parents=True)
    for name in ("setup", "uv_install.py"):
        shutil.copy(ROOT / "tools" / name, made.folder / "tools" / name)
    (made.folder / "requirements.txt").write_text(make_wheel(made.wheels, "hello", PROGRAM))
    script = {"uv-1.0.data/scripts/uv": f'#!/bin/sh\nexec "{UV}" "$@"\n'}
    (made.folder / "requirements-uv.txt").write_text(make_wheel(made.wheels, "uv", script))
    return made


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("python")
    path = folder / "python3"
    real = os.path.realpath(sys.executable)
    path.write_text(INTERPRETER.format(python=real, template=folder / "template"))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Checkout:
    """A checkout that is set up, for tests that leave it so."""
    made = new_checkout(tmp_path_factory.mktemp("setup"), python)
    said = made.set_up()
    assert "making .venv" in said
    assert ("more slowly" in said) != UV.exists()
    return made


@pytest.fixture
def bare(tmp_path: Path, python: Path) -> Checkout:
    return new_checkout(tmp_path, python)


def installer(checkout: Checkout) -> str:
    (file,) = checkout.folder.glob(".venv/lib/*/site-packages/hello-1.0.dist-info/INSTALLER")
    return file.read_text().strip()


def test_packages_are_installed_by_uv(whole: Checkout) -> None:
    if not UV.exists():
        pytest.skip("uv could not be had for the venv of these tests; pip made it")
    assert installer(whole) == "uv"
    assert whole.hello() == whole.venv


def test_a_second_run_does_nothing_by_whatever_path(whole: Checkout) -> None:
    assert whole.set_up() == ""
    link = whole.folder.with_name("link")
    link.symlink_to(whole.folder)
    assert replace(whole, folder=link).set_up() == ""


def test_a_checkout_goes_on_when_copied_and_when_moved(whole: Checkout) -> None:
    copy = replace(whole, folder=whole.folder.with_name("copy"))
    subprocess.run(["cp", "-a", whole.folder, copy.folder], check=True, timeout=60)
    copy.set_up(PYTHON="")
    assert copy.hello() == copy.venv
    assert whole.hello() == whole.venv

    moved = replace(whole, folder=whole.folder.with_name("a blank, 100% o'clock"))
    copy.folder.rename(moved.folder)
    moved.set_up(PYTHON="")
    assert moved.hello() == moved.venv
    assert moved.set_up() == ""


@pytest.mark.parametrize("other", ["/nowhere/python3", "/bin/sh"])
def test_a_venv_whose_python_is_gone_or_another_is_made_anew(whole: Checkout, other: str) -> None:
    (whole.folder / ".venv/bin/python").unlink()
    (whole.folder / ".venv/bin/python").symlink_to(other)
    assert "making .venv" in whole.set_up(PYTHON="")
    assert whole.hello() == whole.venv


def test_a_failed_installation_leaves_the_venv_as_it_was(whole: Checkout) -> None:
    packages = whole.folder / "requirements.txt"
    right = packages.read_text()
    packages.write_text("hello==2.0 --hash=sha256:" + "0" * 64)
    result = whole.setup()
    packages.write_text(right)
    assert result.returncode == 1
    assert "requirements.txt" in result.stderr
    assert "What was in .venv before is unchanged" in result.stderr
    assert whole.hello() == whole.venv
    assert sorted(it.name for it in whole.folder.glob(".venv*")) == [".venv"]
    assert whole.set_up() == ""


# Half a minute, and as much as all others here download.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "packages"),
    [
        ({"TARGET": "aws"}, "requirements-aws.txt"),
        ({"TESTS": "browser"}, "requirements-browser.txt"),
    ],
    ids=["aws", "browser"],
)
def test_packages_that_were_asked_for_once_stay(
    bare: Checkout, asked: dict[str, str], packages: str
) -> None:
    extra = make_wheel(bare.wheels, "extra", {"extra.py": ""})
    (bare.folder / packages).write_text(extra)
    bare.set_up(**asked)
    first = bare.folder / "requirements.txt"
    first.write_text(first.read_text() + "# changed\n")
    assert packages in bare.set_up(TARGET="local")
    assert [*bare.folder.glob(".venv/lib/*/site-packages/extra.py")]
    assert bare.set_up(**asked) == ""


def test_pip_steps_in_where_uv_cannot_be_had(bare: Checkout) -> None:
    (bare.wheels / "uv-1.0-py3-none-any.whl").unlink()
    assert "uv cannot be had (see above); pip does it" in bare.set_up()
    assert installer(bare) == "pip"


def test_pip_steps_in_where_uv_fails(bare: Checkout) -> None:
    script = {"uv-1.0.data/scripts/uv": "#!/bin/sh\necho no network >&2\nexit 2\n"}
    packages = make_wheel(bare.wheels, "uv", script)
    (bare.folder / "requirements-uv.txt").write_text(packages)
    said = bare.set_up()
    assert "no network\nsetup: uv could not install requirements.txt (see above); pip does" in said
    assert installer(bare) == "pip"


def test_a_package_of_another_hash_is_refused(bare: Checkout) -> None:
    make_wheel(bare.wheels, "hello", PROGRAM | {"hello.py": "def main(): print('other')\n"})
    result = bare.setup()
    assert result.returncode == 1
    assert "hash" in result.stderr.lower()
    assert not (bare.folder / ".venv").exists()


def test_a_step_that_there_is_not_is_refused() -> None:
    result = subprocess.run(
        [ROOT / "tools/setup", "package"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert '"package" is no step' in result.stderr


@pytest.mark.parametrize("name", ["a:b", "$HOME"])
def test_a_path_that_cannot_work_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "tools"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "tools/setup", folder / "setup")
    done = subprocess.run(
        [folder / "setup"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"for something else, : or $: {tmp_path / name}. Move it elsewhere" in done.stderr
