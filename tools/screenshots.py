"""Take pictures of an environment's page, on a desktop and on a phone, in light and in dark.

Usage: python tools/screenshots.py [--environment local] [--out data/screenshots]

It needs `TESTS=browser tools/setup`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hosts import PAGE_GROUP, ROOT, HostsError, load, page_port

#: View, and what is there when it is drawn.
VIEWS = {"movies": "#movie-table tbody tr", "pipeline": "#part-tables .state"}
WINDOWS: dict[str, tuple[int, Any]] = {"desktop": (1280, "light"), "phone": (390, "dark")}
#: Charts are drawn a moment after their data is there.
DRAWN_MS = 4000
HEADER = 60


@contextmanager
def forwarded(environment: str) -> Iterator[str]:
    """Bring the page here, and give its address.

    Raises:
        HostsError: There is none, or it does not come.
    """
    target = load(environment)
    hosts = target.groups[PAGE_GROUP]
    port = page_port(target, hosts[0]) if hosts else None
    if not port:
        raise HostsError(f"{environment} has no page. Is pipeline_monitoring true?")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        here = bound.getsockname()[1]
    command = target.ssh(hosts[0])
    ssh = subprocess.Popen(
        [*command[:-1], "-N", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}", command[-1]]
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and ssh.poll() is None:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", here)) == 0:
                    yield f"http://127.0.0.1:{here}"
                    return
            time.sleep(0.1)
        raise HostsError(f"ssh did not bring port {port} of {hosts[0]} here within 30 s")
    finally:
        ssh.terminate()
        ssh.wait()


def take(page: Any, url: str, view: str, width: int, path: Path) -> None:
    """Take one picture, of the whole page."""
    page.goto(f"{url}/?view={view}")
    page.wait_for_selector(VIEWS[view], timeout=60_000)
    # Streamlit scrolls within the window: one that is as high as the page shows all of it.
    main = "document.querySelector('[data-testid=\"stMain\"]').scrollHeight"
    page.wait_for_timeout(DRAWN_MS)
    page.set_viewport_size({"width": width, "height": page.evaluate(main) + HEADER})
    page.wait_for_timeout(DRAWN_MS)
    page.screenshot(path=path)
    print(path, flush=True)


def pictures(url: str, out: Path) -> None:
    """Take them all."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container gives no namespaces of its own to root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=arguments
        )
        for window, (width, scheme) in WINDOWS.items():
            for view in VIEWS:
                page = browser.new_page(
                    viewport={"width": width, "height": 900}, color_scheme=scheme
                )
                take(page, url, view, width, out / f"{view}-{window}.png")
                page.close()
        browser.close()


def main() -> int:
    """Take the pictures; exit code 1 if there is no page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--environment", default="local", help="its name (default: local)")
    parser.add_argument("--out", type=Path, default=ROOT / "data/screenshots", help="folder")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        with forwarded(arguments.environment) as url:
            pictures(url, arguments.out)
    except HostsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
