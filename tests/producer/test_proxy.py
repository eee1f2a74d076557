"""Downloads by a proxy: as the settings say, and never as the environment beside them says."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import sample_data

from imdb_producer import cli
from imdb_producer.check import check
from imdb_producer.errors import ConfigError, SourceError
from imdb_producer.http import Trouble, ask
from imdb_producer.proxies import Proxies
from imdb_producer.stop import Stop

from .bad_server import serving
from .fakes import configured
from .proxy import Proxy, proxying

PASSWORD = "tr%2Fail"


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxying() as proxy:
        yield proxy


@pytest.fixture
def dumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    sample_data.generate(tmp_path, titles=300, seed=7)
    # The handlers stay out of pytest's own process.
    monkeypatch.setattr(Stop, "install", lambda _: None)
    return {
        name: (tmp_path / file).read_bytes()
        for name, file in (
            ("basics", sample_data.BASICS_FILE),
            ("ratings", sample_data.RATINGS_FILE),
        )
    }


def test_both_dumps_are_downloaded_by_the_proxy_with_its_password(
    proxy: Proxy, dumps: dict[str, bytes], tmp_path: Path
) -> None:
    with serving(dumps["basics"]) as basics, serving(dumps["ratings"]) as ratings:
        settings = {
            "BASICS_URL": basics.url,
            "RATINGS_URL": ratings.url,
            "CACHE_DIR": str(tmp_path / "cache"),
            "HTTP_PROXY": proxy.url.replace("//", f"//user:{PASSWORD}@"),
        }
        assert cli.main(["prepare", str(tmp_path / "records")], settings) == 0
        assert sorted(proxy.asked) == sorted([f"GET {basics.url}", f"GET {ratings.url}"])
    given = "Basic " + base64.b64encode(b"user:tr/ail").decode()
    assert proxy.credentials == [given, given]


def test_check_asks_by_the_proxy_and_does_not_show_its_password(
    proxy: Proxy,
    dumps: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(dumps["basics"]) as site:
        config = configured(
            {
                "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
                "BASICS_URL": site.url,
                "RATINGS_URL": "https://ratings.invalid/dump",
                "CACHE_DIR": str(tmp_path / "cache"),
                "HTTP_PROXY": proxy.url.replace("//", "//user:secret@"),
                "HTTPS_PROXY": proxy.url.replace("//", "//user:secret@"),
            }
        )
        monkeypatch.setattr("imdb_producer.check._TIMEOUT", 0.5)
        assert not check(config)
    shown = capsys.readouterr().out
    masked = proxy.url.replace("//", "//***@")
    assert f"ok      titles: {site.url} (by the proxy {masked}), " in shown
    assert f"FAILED  ratings: https://ratings.invalid/dump (by the proxy {masked}): " in shown
    assert "secret" not in shown
    assert proxy.asked == [f"GET {site.url}", "CONNECT ratings.invalid:443"]


@pytest.mark.parametrize("no", ["127.0.0.1", "localhost,127.0.0.0/8", "*"])
def test_hosts_that_need_no_proxy_are_asked_directly(proxy: Proxy, no: str) -> None:
    with serving(b"dump") as site:
        proxies = Proxies(http=proxy.url, no=no)
        with ask(site.url, timeout=(5, 5), proxies=proxies) as answer:
            assert b"".join(answer.chunks()) == b"dump"
    assert proxy.asked == []


def test_a_proxy_of_the_environment_does_not_count(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(b"dump") as site, ask(site.url, timeout=(5, 5)) as answer:
        assert b"".join(answer.chunks()) == b"dump"
    assert proxy.asked == []


def test_a_proxy_that_is_away_is_named_without_its_password() -> None:
    proxies = Proxies(http="http://user:secret@127.0.0.1:1")
    with (
        pytest.raises(Trouble, match=r"\(by the proxy http://\*\*\*@127\.0\.0\.1:1\)") as caught,
        ask("http://example.invalid/dump", timeout=(5, 5), proxies=proxies),
    ):
        pytest.fail("somebody answered")
    assert "secret" not in str(caught.value)


def test_what_the_proxy_says_is_told_as_its_words(proxy: Proxy) -> None:
    with serving(b"") as site:
        site.otherwise.status = 404
        asking = ask(site.url, timeout=(5, 5), proxies=Proxies(http=proxy.url))
        with (
            pytest.raises(SourceError, match=r"by the proxy .*the server answers 404"),
            asking,
        ):
            pytest.fail("it was found")


def test_settings_win_over_those_of_a_shell_and_empty_is_none() -> None:
    shell = {"http_proxy": "proxy:3128", "https_proxy": "http://other:1", "no_proxy": "localhost"}
    config = configured(shell, command="prepare")
    assert config.proxies == Proxies("http://proxy:3128", "http://other:1", "localhost")
    settings = {"HTTP_PROXY": "https://set:2", "HTTPS_PROXY": "", "NO_PROXY": ""}
    assert configured(shell | settings, command="prepare").proxies == Proxies("https://set:2")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("socks5://user:secret@proxy:1080", "scheme 'socks5' is not supported"),
        ("http://user:secret@proxy:port", "no port stands behind the host"),
        ("http://user:secret@", "no host is named"),
        ("http://user:secret@proxy 3128", "holds no blanks"),
    ],
)
def test_a_wrong_proxy_is_named_without_its_password(value: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        configured({"HTTPS_PROXY": value}, command="prepare")
    assert "HTTPS_PROXY" in str(caught.value)
    assert "secret" not in str(caught.value)
