"""Bring the Terraform providers that a target needs, and lock them: tools/providers TARGET.

Prints the CLI configuration file to put into TF_CLI_CONFIG_FILE, or nothing where Terraform's own
ways suffice. What it does it says on stderr; the second time it does nothing. A provider comes from
the first of:

1. a mirror folder directly under /opt, /usr/share/terraform or /usr/local/share/terraform,
2. our own in ~/.cache/imdb-pipeline/terraform,
3. the registry, if it answers,
4. for those that have one, their Go module, whose checksum stands in terraform/TARGET/provider.sum.

The operator's own CLI configuration, if there is one, is left alone and used.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ".terraform.lock.hcl"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imdb-pipeline/terraform"
PLACES = [Path("/opt"), Path("/usr/share/terraform"), Path("/usr/local/share/terraform")]

# What a provider's module needs, and where to get it from where the operator's Go is older.
GO_WANTED = (1, 23)
GO_TOOLCHAIN = "go1.23.12"

PROBE_SECONDS = 5
DOWNLOAD_SECONDS = 300
BUILD_SECONDS = 900


class ProvidersError(Exception):
    """A provider cannot be had; the text says what to do."""


@dataclass(frozen=True)
class Provider:
    """A provider as a root requires it: `source` is namespace/name, without the registry's host."""

    source: str
    version: str

    @property
    def name(self) -> str:
        """The last part of the source."""
        return self.source.rpartition("/")[2]


@dataclass(frozen=True)
class Package:
    """A provider in a mirror folder, for this machine's platform."""

    mirror: Path
    host: str
    path: Path


def say(text: str) -> None:
    """Tell the operator."""
    print(f"providers: {text}", file=sys.stderr)


def platform_name() -> str:
    """Return this machine's platform as Terraform calls it, such as linux_amd64."""
    machine = platform.machine().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    return f"{platform.system().lower()}_{machine}"


def required(root: Path) -> list[Provider]:
    """Return the providers that a root pins in its versions.tf."""
    text = (root / "versions.tf").read_text(encoding="utf-8")
    block = r'\{\s*source\s*=\s*"([^"]+)"\s*version\s*=\s*"=?\s*([^"]+)"\s*'
    return [Provider(source, version) for source, version in re.findall(block, text)]


def find_package(provider: Provider, mirrors: list[Path]) -> Package | None:
    """Return the provider from the first of the mirrors that has it, unpacked or as an archive."""
    for mirror in mirrors:
        # The folder above the namespace is named for the registry's host.
        for folder in sorted(mirror.glob(f"*.*/{provider.source}")):
            for path in (
                folder / provider.version / platform_name(),
                folder
                / f"terraform-provider-{provider.name}_{provider.version}_{platform_name()}.zip",
            ):
                if path.exists():
                    return Package(mirror, folder.parts[-3], path)
    return None


def machine_mirrors() -> list[Path]:
    """Return the folders of this machine that may be mirrors."""
    found = []
    for place in PLACES:
        with contextlib.suppress(OSError):
            found += [place, *sorted(path for path in place.iterdir() if path.is_dir())]
    return found


def package_hash(path: Path) -> str:
    """Return the hash by which Terraform's lock file knows an unpacked package (one level deep)."""
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    lines = [
        f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n"
        for name in sorted(files)
    ]
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


def write(path: Path, text: str) -> bool:
    """Write a file whole, if it holds something else; return whether it did."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") == text:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
    return True


@contextlib.contextmanager
def only_one(seconds: float) -> Iterator[None]:
    """Keep other runs of this program out; wait for one at most so many seconds."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ProvidersError(
                        f"another tools/providers has run for {seconds / 60:.0f} minutes; "
                        "end it and try again."
                    ) from None
                time.sleep(0.5)
        yield


def run(command: list[str], seconds: float, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command with a time limit and return what it printed.

    Raises:
        ProvidersError: It failed, did not end in time, or is not installed.
    """
    shown = " ".join(command)
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            command, capture_output=True, text=True, timeout=seconds, check=False, **options
        )
    except FileNotFoundError:
        raise ProvidersError(f"{command[0]} is not on PATH.") from None
    except subprocess.TimeoutExpired:
        raise ProvidersError(f"`{shown}` did not end within {seconds:g} s.") from None
    if done.returncode != 0:
        raise ProvidersError(f"`{shown}` failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    return done  # type: ignore[no-any-return]


# --- what Terraform does by itself ----------------------------------------------------------------


def operators_config(ours: Path) -> Path | None:
    """Return the operator's own CLI configuration, if there is one."""
    given = os.environ.get("TF_CLI_CONFIG_FILE")
    for path in [Path(given)] if given else [Path.home() / ".terraformrc"]:
        if path.is_file() and path.resolve() != ours.resolve():
            return path
    return None


def registry_host(provider: Provider) -> str:
    """Return the host that Terraform puts before a source; it is asked, over an empty root."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.tf").write_text(
            "terraform {\n  required_providers {\n"
            f'    p = {{ source = "{provider.source}" }}\n'
            "  }\n}\n"
        )
        quiet = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull}
        shown = run(["terraform", f"-chdir={folder}", "providers"], 60, env=quiet).stdout
    match = re.search(rf"\[([^/\]]+)/{re.escape(provider.source)}\]", shown)
    if not match:
        raise ProvidersError(
            f"`terraform providers` names no registry for {provider.source}:\n{shown}"
        )
    return match[1]


def answers(host: str) -> bool:
    """Tell whether a registry can be reached, within some seconds."""
    try:
        url = f"https://{host}/.well-known/terraform.json"
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as reply:
            return "providers.v1" in json.load(reply)
    except (OSError, ValueError):
        return False


def installed(root: Path, provider: Provider) -> bool:
    """Tell whether `terraform init` has brought the provider into a root already."""
    return bool(
        list(
            (root / ".terraform/providers").glob(
                f"*/{provider.source}/{provider.version}/{platform_name()}"
            )
        )
    )


# --- the Go module --------------------------------------------------------------------------------


def checksums(root: Path) -> dict[tuple[str, str], str]:
    """Return the checksums of provider.sum by module and version; the provider's is the first."""
    lines = (root / "provider.sum").read_text(encoding="utf-8").splitlines()
    return {(path, version): checksum for path, version, checksum in map(str.split, lines)}


def download(root: Path, path: str, version: str, environment: dict[str, str]) -> Path:
    """Have Go download a module; return its folder.

    Raises:
        ProvidersError: It is another than provider.sum names, or Go fails.
    """
    expected = checksums(root)[path, version]
    shown = run(
        ["go", "mod", "download", "-json", f"{path}@{version}"], DOWNLOAD_SECONDS, env=environment
    )
    module = json.loads(shown.stdout)
    if module["Sum"] != expected:
        raise ProvidersError(
            f"the Go module {path} {version} is not what terraform/{root.name}/provider.sum "
            f"names: expected {expected}, found {module['Sum']}. Nothing was built. "
            "Ask whoever runs the mirror that your Go takes modules from."
        )
    return Path(module["Dir"])


def compiler(root: Path, environment: dict[str, str]) -> str:
    """Return a Go of at least GO_WANTED: the operator's, else one that theirs downloads."""
    found = run(["go", "version"], 60, env=environment).stdout
    match = re.search(r"go(\d+)\.(\d+)", found)
    if match and (int(match[1]), int(match[2])) >= GO_WANTED:
        return "go"
    path = "golang.org/toolchain"
    version = f"v0.0.1-{GO_TOOLCHAIN}.{platform_name().replace('_', '-')}"
    if (path, version) not in checksums(root):
        raise ProvidersError(
            f"{found.strip()} is too old to build {root.name}'s provider. "
            f"Install Go {GO_WANTED[0]}.{GO_WANTED[1]} or newer."
        )
    say(f"{found.strip()} is too old for it: taking {GO_TOOLCHAIN} by it, as a module")
    folder = download(root, path, version, environment)
    # Old releases do not know that this module holds programs.
    for program in [*folder.glob("bin/*"), *folder.glob("pkg/tool/*/*")]:
        program.chmod(0o555)
    environment.pop("GOROOT", None)
    return str(folder / "bin/go")


def build(root: Path, provider: Provider, host: str, mirror: Path) -> None:
    """Build a provider from its Go module into a mirror.

    Raises:
        ProvidersError: There is no Go, the module is not what provider.sum names, or Go fails.
    """
    target = mirror / host / provider.source / provider.version / platform_name()
    if not shutil.which("go"):
        raise ProvidersError(
            f"provider {provider.source} {provider.version} is in no mirror folder here, the "
            "registry does not answer, and there is no `go` on PATH to build it from its module. "
            f"Install Go (Debian package golang-go), or put the provider into {target}."
        )
    say(f"building {provider.source} {provider.version} from its Go module, once (a minute or two)")
    start = time.monotonic()
    # The operator's Go settings say where modules come from; flags and workspaces have no say here.
    environment = {
        **os.environ,
        "GOWORK": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    path, version = next(iter(checksums(root)))
    folder = download(root, path, version, environment)
    go = compiler(root, environment)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".build.") as scratch:
        # Modules lie read-only, and Go would write beside them.
        source = shutil.copytree(folder, Path(scratch, "source"))
        for item in [source, *source.rglob("*")]:
            item.chmod(item.stat().st_mode | 0o200)
        package = Path(scratch, "package")
        package.mkdir(mode=0o755)
        binary = package / f"terraform-provider-{provider.name}_v{provider.version}"
        flags = f"-s -w -X main.version={provider.version}"
        run(
            [go, "build", "-trimpath", "-ldflags", flags, "-o", str(binary), "."],
            BUILD_SECONDS,
            cwd=source,
            env=environment,
        )
        package.replace(target)
    say(f"built in {time.monotonic() - start:.0f} s: {target}")


# --- main -----------------------------------------------------------------------------------------


def lock_text(root: Path, hosts: dict[str, str]) -> str | None:
    """Return what Terraform's lock file is to hold by the committed providers.lock, if any."""
    committed = root / "providers.lock"
    if not committed.exists():
        return None
    text = committed.read_text(encoding="utf-8")
    for source, host in hosts.items():
        text = text.replace(f'provider "{source}"', f'provider "{host}/{source}"')
    return text


def way(root: Path, provider: Provider, mirror: Path) -> tuple[str, Package | None]:
    """Tell how a provider is to be had: from a mirror, a former init, the registry, or by a build.

    Raises:
        ProvidersError: In none of these ways.
    """
    if package := find_package(provider, [*machine_mirrors(), mirror]):
        return "mirror", package
    if installed(root, provider) and (root / LOCK).exists():
        return "installed", None
    host = registry_host(provider)
    if answers(host):
        return "registry", None
    if (root / "provider.sum").exists():
        return "build", None
    raise ProvidersError(
        f"provider {provider.source} {provider.version} is in no mirror folder here, and the "
        f"registry does not answer within {PROBE_SECONDS} s. Put it into /opt/<folder>/{host}/"
        f"{provider.source}/{provider.version}/{platform_name()}, or run this where the registry "
        "can be reached."
    )


def bring(root: Path, ours: Path, mirror: Path) -> str:
    """Make a root's providers available; return the CLI configuration to use, or nothing.

    Raises:
        ProvidersError: A provider cannot be had.
    """
    providers = required(root)
    if not providers:
        return ""
    if own := operators_config(ours):
        wanted = {it.source: registry_host(it) for it in providers if not installed(root, it)}
        if wanted:
            say(f"leaving it to your own {own}")
            if text := lock_text(root, wanted):
                write(root / LOCK, text)
        return str(own) if os.environ.get("TF_CLI_CONFIG_FILE") else ""

    packages: dict[str, Package] = {}
    for provider in providers:
        how, package = way(root, provider, mirror)
        if how == "registry":
            say(f"{provider.source} {provider.version} comes from the registry, by terraform init")
            if text := lock_text(root, {provider.source: registry_host(provider)}):
                write(root / LOCK, text)
        elif how == "build":
            say(f"the registry does not answer within {PROBE_SECONDS} s")
            with only_one(BUILD_SECONDS + DOWNLOAD_SECONDS):
                package = find_package(provider, [mirror])
                if package is None:
                    build(root, provider, registry_host(provider), mirror)
                    package = find_package(provider, [mirror])
        if package:
            packages[provider.source] = package
    if not packages:
        return ""
    write_lock(root, providers, packages, mirror)
    if write(ours, config_text(packages)):
        origins = ", ".join(f"{source} from {it.mirror}" for source, it in packages.items())
        say(f"wrote {ours}: {origins}")
    return str(ours)


def config_text(packages: dict[str, Package]) -> str:
    """Return a CLI configuration that takes these from their mirrors and all else as usual."""
    lines = ["# Written by tools/providers.", "provider_installation {"]
    for source, package in packages.items():
        lines += [
            "  filesystem_mirror {",
            f"    path    = {json.dumps(str(package.mirror))}",
            f'    include = ["{package.host}/{source}"]',
            "  }",
        ]
    excluded = ", ".join(f'"{it.host}/{source}"' for source, it in packages.items())
    lines += ["  direct {", f"    exclude = [{excluded}]", "  }", "}", ""]
    return "\n".join(lines)


def write_lock(
    root: Path, providers: list[Provider], packages: dict[str, Package], mirror: Path
) -> None:
    """Lock what comes from a mirror: by the committed hashes, or what was built here by its own."""
    text = lock_text(root, {source: package.host for source, package in packages.items()})
    if text is None:
        if any(
            it.source not in packages or packages[it.source].mirror != mirror for it in providers
        ):
            return  # terraform init writes it
        blocks = []
        for provider in providers:
            package = packages[provider.source]
            blocks.append(
                f'provider "{package.host}/{provider.source}" {{\n'
                f'  version     = "{provider.version}"\n'
                f'  constraints = "{provider.version}"\n'
                f'  hashes = [\n    "{package_hash(package.path)}",\n  ]\n}}\n'
            )
        text = "\n".join(blocks)
    write(root / LOCK, text)


def main() -> int:
    """Bring the providers of the target that is named; print the configuration file to use."""
    parser = argparse.ArgumentParser(
        prog="tools/providers", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("target", help="a folder of terraform/: local, libvirt, aws")
    parser.add_argument("--how", action="store_true", help="only say how they are to be had")
    arguments = parser.parse_args()
    target = arguments.target
    root = ROOT / "terraform" / target
    if not (root / "versions.tf").is_file():
        parser.error(f"there is no terraform/{target}/versions.tf")
    try:
        if arguments.how:
            print("\n".join(way(root, it, CACHE / "mirror")[0] for it in required(root)))
            return 0
        config = bring(root, CACHE / f"{target}.tfrc", CACHE / "mirror")
    except ProvidersError as error:
        say(str(error))
        return 1
    if config:
        print(config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
