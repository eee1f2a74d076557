"""The page in a browser, over tables that grow and a real Prometheus."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imdb_dashboard.config import VARIABLE

from ..direct import DIRECT
from ..waiting import wait_for
from .metrics import ROOT, Server, Targets, served
from .written import NOW, Written, letter, movie

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="`TESTS=browser tools/setup` installs it"
)
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="`TESTS=browser tools/setup` installs it"
)
CHROMIUM = shutil.which("chromium")
#: As on a host, where there is Debian's: whoever runs the page there may run it.
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
RELEASES = ("imdb-dashboard", "imdb-dashboard-protobuf", "imdb-producer-duckdb")
#: The page's user, if these tests are root's: root may read everything.
NOBODY = 65534
#: For what shows after some refreshes, on a machine that is busy.
SECONDS = 90
#: Of linux/sched.h; Python 3.11 has no os.unshare.
CLONE_NEWNET = 0x40000000
MILLISECONDS = 1000 * SECONDS

pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="there is no chromium: `TESTS=browser tools/setup` installs it"
)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.fixture(scope="module")
def libraries() -> Iterator[str]:
    """PYTHONPATH of what a host gets: the locked archives, and nothing of this machine's .venv."""
    versions = json.loads(
        subprocess.run(
            [sys.executable, ROOT / "artifacts/artifacts.py", "fetch", *wanted()],
            check=True,
            stdout=subprocess.PIPE,
            timeout=600,
        ).stdout
    )
    folder = Path(tempfile.mkdtemp(prefix="page-"))
    folder.chmod(0o755)
    for name in RELEASES:
        (folder / name).mkdir()
        subprocess.run(
            ["tar", "-x", "--no-same-owner", "-f", versions[name]["archive"], "-C", folder / name],
            check=True,
        )
    ask = "import sys; print('cp%d%d' % sys.version_info[:2])"
    version = subprocess.run([PYTHON, "-c", ask], check=True, capture_output=True, text=True).stdout
    kind = f"{version.strip()}-{platform.machine()}"
    if not (folder / RELEASES[1] / "lib" / kind).exists():
        pytest.skip(f"the archives hold nothing for {kind}")
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", folder], check=True)
    yield ":".join(
        [f"{folder}/{RELEASES[0]}/lib", *(f"{folder}/{name}/lib/{kind}" for name in RELEASES[1:])]
    )
    shutil.rmtree(folder)


def wanted() -> list[str]:
    from release_artifacts.releases import default_versions

    return [f"{name}={default_versions()[name]}" for name in RELEASES]


@pytest.fixture(scope="module", autouse=True)
def network(libraries: str) -> Iterator[None]:
    """A loopback device for these tests alone, if they are root's.

    A browser drops its connections when the machine gets or loses a bridge, as other tests' hosts
    make them: a page that is being loaded then stays empty. What comes by the network is fetched
    before: the libraries and Prometheus.
    """
    if os.geteuid() != 0:
        yield
        return
    subprocess.run([ROOT / "tools/prometheus", "--version"], check=True, timeout=600)
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as before:
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            assert libc.setns(before.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture(scope="module")
def targets() -> Iterator[Targets]:
    with served() as targets:
        yield targets


@pytest.fixture(scope="module")
def prometheus(targets: Targets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prometheus")
    server = Server(targets.settings(folder), folder / "data", free_port())
    server.start()
    yield server
    server.stop()


@dataclass
class Shown:
    """A page that is served, and the tables that it reads."""

    url: str
    written: Written


@pytest.fixture
def shown(libraries: str, prometheus: Server) -> Iterator[Shown]:
    """A page of its own for each test."""
    folder = Path(tempfile.mkdtemp(prefix="tables-"))
    folder.chmod(0o755)
    written = Written(folder / "parquet")
    written.folder.mkdir()
    port = free_port()
    settings = folder / "settings.json"
    settings.write_text(
        json.dumps(
            {
                "tables": str(written.folder),
                "prometheus_url": prometheus.url,
                "port": port,
                "refresh_seconds": 1,
                "links": [["Spark's master", "https://localhost:8080"]],
                "units": ["kafka"],
            }
        )
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": libraries,
        "PYTHONDONTWRITEBYTECODE": "1",
        VARIABLE: str(settings),
    }
    process = subprocess.Popen(
        [PYTHON, "-S", "-P", "-m", "imdb_dashboard", "run"],
        env=environment,
        cwd="/",
        user=NOBODY if os.geteuid() == 0 else None,
        stdout=sys.stderr,
    )
    url = f"http://127.0.0.1:{port}"

    def is_served() -> bool:
        assert process.poll() is None, "the page has ended"
        try:
            with DIRECT.open(f"{url}/_stcore/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for("the page is served", is_served, bool, SECONDS)
        yield Shown(url, written)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # A container gives no namespaces of its own to root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@dataclass
class Viewer:
    """A browser's window; `said` is what went wrong there, and who else was asked."""

    page: Any
    url: str
    said: list[str]

    def look(self, view: str = "movies") -> None:
        self.page.goto(f"{self.url}/?view={view}")

    def sees(self, selector: str, text: str) -> None:
        """Wait until an element has a text."""
        found = self.page.locator(selector).first
        sync_api.expect(found).to_contain_text(text, timeout=MILLISECONDS)

    def sees_no(self, selector: str, text: str) -> None:
        found = self.page.locator(selector).first
        sync_api.expect(found).not_to_contain_text(text, timeout=MILLISECONDS)


@pytest.fixture
def viewer(browser: Any, shown: Shown, request: pytest.FixtureRequest) -> Iterator[Viewer]:
    """Looks at the page, and asserts at the end that nothing went wrong in the browser."""
    page = browser.new_page(**getattr(request, "param", {}))
    said: list[str] = []
    page.on("console", lambda it: said.append(it.text) if it.type == "error" else None)
    page.on("pageerror", lambda it: said.append(str(it)))
    own = (shown.url, shown.url.replace("http", "ws"), "data:", "blob:")
    page.on("request", lambda it: None if it.url.startswith(own) else said.append(it.url))
    yield Viewer(page, shown.url, said)
    page.close()
    # Not root's tests have no network of their own (see there).
    if os.geteuid() == 0 or not any("ERR_NETWORK_CHANGED" in it for it in said):
        assert said == []


def test_rows_are_counted_while_they_arrive(viewer: Viewer, shown: Shown) -> None:
    viewer.look()
    viewer.sees("body", "No row has come yet")
    for batch in range(3):
        shown.written.batch(*(movie(5 * batch + it) for it in range(5)))
        viewer.sees("#rows", f"{5 * batch + 5}")
    viewer.sees("#movie-count", "15")
    viewer.sees("#freshness", "s ago")
    viewer.sees("#movie-table", "Movie 14")
    # What there is to choose from comes with them.
    shown.written.genres(Western=15)
    bar = viewer.page.locator("[aria-label*='genre: Western']")
    sync_api.expect(bar).to_be_visible(timeout=MILLISECONDS)
    viewer.page.get_by_role("combobox", name="Genre").click()
    option = viewer.page.get_by_role("option", name="Western")
    sync_api.expect(option).to_be_visible(timeout=MILLISECONDS)


def test_filter_and_search(viewer: Viewer, shown: Shown) -> None:
    shown.written.batch(
        movie(1, primaryTitle="<b>Wolf</b> & Co", genres=["Action"], startYear=1990),
        movie(2, primaryTitle="Bear", genres=["Drama"], numVotes=90_000, startYear=2020),
    )
    shown.written.genres(Action=1, Drama=1)
    viewer.look()
    viewer.sees("#movie-table", "<b>Wolf</b> & Co")
    title = viewer.page.get_by_label("Title contains")
    title.fill("wolf")
    title.press("Enter")
    viewer.sees_no("#movie-table", "Bear")
    viewer.sees("#movie-table", "<b>Wolf</b> & Co")
    title.fill("")
    title.press("Enter")
    viewer.sees("#movie-table", "Bear")
    votes = viewer.page.get_by_label("Votes, at least")
    votes.fill("80000")
    votes.press("Enter")
    viewer.sees_no("#movie-table", "Wolf")
    votes.fill("0")
    votes.press("Enter")
    viewer.sees("#movie-table", "Wolf")
    viewer.page.get_by_role("combobox", name="Genre").click()
    viewer.page.get_by_role("option", name="Action").click()
    viewer.sees_no("#movie-table", "Bear")


def test_dead_letters_are_shown_as_text(viewer: Viewer, shown: Shown) -> None:
    shown.written.batch(movie(1))
    shown.written.letters(letter(7, "not JSON", b"<img src=x onerror=alert(1)>\xff"))
    viewer.look()
    viewer.sees("#letter-table", "<img src=x onerror=alert(1)>\ufffd")
    viewer.sees("#letter-table", "imdb-movies/0/7")
    viewer.sees("#letter-count", "1")


def test_a_broker_that_is_down_is_seen_and_goes_away_again(
    viewer: Viewer, shown: Shown, targets: Targets
) -> None:
    shown.written.batch(movie(1))
    viewer.look("pipeline")
    viewer.sees("#part-topic", "in order")
    viewer.sees("#part-topic", "2 of 2")
    viewer.sees("body", "Nothing fires.")
    viewer.sees("#part-producer", "sending")
    viewer.sees("#part-tables", "readable")
    targets.down.add("kafka-2")
    try:
        viewer.sees("#part-topic", "broker down")
        viewer.sees("#alert-table", "KafkaBrokerDown")
        viewer.sees("#group-table", "kafka-2")
    finally:
        targets.down.clear()
    viewer.sees("#part-topic", "in order")
    viewer.sees_no("body", "KafkaBrokerDown")


def test_a_prometheus_that_stops_is_told_of_and_found_again(
    viewer: Viewer, prometheus: Server
) -> None:
    viewer.look("pipeline")
    viewer.sees("#part-topic", "in order")
    prometheus.stop()
    try:
        viewer.sees("body", "Prometheus does not answer (Connection refused).")
        viewer.sees("#part-topic", "not known")
    finally:
        prometheus.start()
    viewer.sees("#part-topic", "in order")
    viewer.sees_no("body", "does not answer")


@pytest.mark.parametrize("fault", ["missing", "closed"])
def test_a_folder_that_cannot_be_read_is_told_of_and_found_again(
    viewer: Viewer, shown: Shown, fault: str
) -> None:
    folder = shown.written.folder
    shown.written.batch(movie(1))
    if fault == "missing":
        folder.rename(folder.with_name("away"))
    else:
        folder.chmod(0)
    try:
        viewer.look()
        says = "is not there." if fault == "missing" else "may not be read by the page's user."
        viewer.sees("body", says)
        viewer.sees_no("body", "Traceback")
    finally:
        if fault == "missing":
            folder.with_name("away").rename(folder)
        else:
            folder.chmod(0o755)
    viewer.sees("#rows", "1")


@pytest.mark.parametrize("view", ["movies", "pipeline"])
@pytest.mark.parametrize(
    "viewer",
    [
        {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"},
        {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    ],
    ids=["phone, dark", "desktop, light"],
    indirect=True,
)
def test_it_fits_the_window_and_shuts_nobody_out(viewer: Viewer, shown: Shown, view: str) -> None:
    long = "A title of many words that goes on and on " * 3
    shown.written.batch(*(movie(it, primaryTitle=f"{it} {long}") for it in range(30)))
    shown.written.letters(letter(1, "not JSON", b"x" * 300, at=NOW))
    viewer.look(view)
    viewer.sees("#part-topic" if view == "pipeline" else "#letter-table", "")
    main = '[data-testid="stMain"]'
    sizes = viewer.page.evaluate(
        f"(it => [it.scrollWidth, it.clientWidth])(document.querySelector('{main}'))"
    )
    assert sizes[0] <= sizes[1]
    ground = viewer.page.evaluate(
        "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    )
    is_dark = sum(int(it) for it in ground.strip("rgba()").split(",")[:3]) < 300
    assert is_dark == (viewer.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches"))
    assert barriers(viewer) == []


def barriers(viewer: Viewer) -> list[str]:
    """What axe says keeps people from using the page: rule, how bad, the first element and why."""
    found = axe.Axe().run(viewer.page).response
    assert len(found["passes"]) > 10, "axe has looked at next to nothing"
    return [
        f"{it['id']} ({it['impact']}): {node['html'][:200]}: {node['failureSummary']}"
        for it in found["violations"]
        for node in it["nodes"][:1]
    ]


def test_the_keyboard_does(viewer: Viewer) -> None:
    viewer.look()
    viewer.sees(".cards", "Rows so far")
    for _ in range(20):
        viewer.page.keyboard.press("Tab")
        if viewer.page.evaluate("document.activeElement.textContent.trim()") in VIEWS:
            break
    viewer.page.keyboard.press("ArrowRight")
    viewer.page.keyboard.press("Enter")
    viewer.sees(".flow", "Producer")


VIEWS = ("Movies", "Pipeline")
