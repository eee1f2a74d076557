#!/usr/bin/env python3
"""Install a list of packages by uv, by the settings that pip has: an index, a proxy, certificates.

Usage: VENV/bin/python tools/uv_install.py LIST

uv does what pip does in a fraction of the time, but it reads neither pip.conf nor PIP_*. Settings
of its own (UV_*) win. One of pip's that has no equal here ends this with status 1: take pip then.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

#: How pip shows a setting, by `pip config list`. The later of these sections win.
SECTIONS = ("global", "install", ":env:")
LINE = re.compile(rf"({'|'.join(SECTIONS)})\.([\w-]+)=(.*)")

#: What makes no difference to what is installed, or is told to uv anyhow.
NEEDLESS = re.compile(
    "break-system-packages|cache-dir|config-file|(no-)?compile|disable-pip-version-check|log"
    "|no-cache-dir|no-color|no-input|no-warn-script-location|prefer-binary|progress-bar|quiet"
    "|require-virtualenv|retries|root-user-action|verbose"
)


class SettingError(Exception):
    """A setting of pip's cannot be told to uv."""


def main() -> int:
    """Run uv, or say why not; return its status, or 1."""
    python = Path(sys.executable)
    listed = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    try:
        environment = translated(read_settings(listed, os.environ))
    except SettingError as error:
        print(f"uv_install: {error}", file=sys.stderr)
        return 1
    command: list[str | Path] = [python.with_name("uv"), "pip", "install", "--quiet"]
    if environment.pop("no-index", ""):
        command.append("--no-index")
    inherited = dict(os.environ)
    # It forbids the option above.
    inherited.pop("UV_NO_VERIFY_HASHES", None)
    own = {name: value for name, value in inherited.items() if name.startswith("UV_")}
    return subprocess.run(
        [*command, "--python", python, "--require-hashes", "-r", sys.argv[1]],
        env={**inherited, **environment, **own},
    ).returncode


def read_settings(listed: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings in force for `pip install`.

    They are in what `pip config list` prints, and in two variables that pip's HTTP client reads.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.splitlines():
        if match := LINE.fullmatch(line):
            section, name, value = match.groups()
            found[section][name] = str(ast.literal_eval(value))
    result = {name: value for section in SECTIONS for name, value in found[section].items()}
    bundle = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    return {"cert": bundle, **result} if bundle else result


def translated(settings: Mapping[str, str]) -> dict[str, str]:
    """Return uv's environment variables, and `no-index`, for pip's settings.

    Raises SettingError for a setting that has no equal.
    """
    # As pip: all indexes are equals, and certificates are those of the system.
    result = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "true"}
    for name, value in settings.items():
        if value.strip() and not NEEDLESS.fullmatch(name):
            result |= _translated(name, value.strip())
    return result


def _translated(name: str, value: str) -> dict[str, str]:
    match name:
        case "index-url":
            return {"UV_DEFAULT_INDEX": value}
        case "extra-index-url":
            return {"UV_INDEX": " ".join(value.split())}
        case "no-index":
            return {"no-index": "yes" if value.lower() in ("1", "true", "yes", "on") else ""}
        case "find-links" if "," not in value:
            # pip passes over a folder that is not there; uv fails.
            there = [place for place in value.split() if ":" in place or Path(place).exists()]
            return {"UV_FIND_LINKS": ",".join(there)} if there else {}
        case "trusted-host":
            return {"UV_INSECURE_HOST": " ".join(value.split())}
        case "cert":
            kind = "DIR" if Path(value).is_dir() else "FILE"
            return {f"SSL_CERT_{kind}": value, "UV_SYSTEM_CERTS": "false"}
        case "client-cert":
            return {"SSL_CLIENT_CERT": value}
        case "proxy":
            return {"ALL_PROXY": value if "://" in value else f"http://{value}"}
        case "timeout" | "default-timeout":
            return {"UV_HTTP_TIMEOUT": str(round(float(value)))}
    raise SettingError(f"pip's setting {name} = {value!r} cannot be told to uv.")


if __name__ == "__main__":
    sys.exit(main())
