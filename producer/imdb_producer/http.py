"""Ask a server for a file, or for the rest of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate, parsedate_to_datetime

import requests
import urllib3

from imdb_producer import __version__
from imdb_producer.cache import Cached
from imdb_producer.errors import SourceError
from imdb_producer.proxies import NO_PROXIES, Proxies
from imdb_producer.redact import redacted

_CHUNK = 64 * 1024
_LONGEST_RETRY_AFTER = 60.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
#: Answers that may be better the next time.
_PASSING = {408, 425, 429}


class Trouble(Exception):  # noqa: N818 - it may be over the next time
    """It did not work this time; `retry_after` is in seconds, 0 if the server asked for nothing."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Answer:
    """What a server said, and its body, as it is sent: no coding is undone."""

    def __init__(self, url: str, response: requests.Response) -> None:
        self._url = url
        self._response = response
        headers = response.headers
        self.unchanged = response.status_code == 304
        self.beyond_end = response.status_code == 416
        self.modified = _time_of(headers.get("Last-Modified", ""))
        etag = headers.get("ETag", "")
        #: What names this version of the file such that a part of it can be asked for.
        self.validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")
        self.length = self._length()
        chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        #: Whether a cut would be noticed.
        self.tells_its_end = self.length is not None or chunked

    def _length(self) -> int | None:
        text = self._response.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() else None

    def continues(self, size: int, validator: str) -> bool:
        """Say whether the body goes on after `size` bytes of that version.

        Raises:
            Trouble: it is a part, but another one.
        """
        if self._response.status_code != 206:
            return False
        match = _CONTENT_RANGE.fullmatch(self._response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != size:
            raise Trouble(f"{redacted(self._url)}: the server sent another part than asked for")
        if self.validator and validator and self.validator != validator:
            raise Trouble(f"{redacted(self._url)} has changed meanwhile")
        return True

    def chunks(self) -> Iterator[bytes]:
        """Give the body as it comes.

        Raises:
            Trouble: it is cut off, or nothing comes any more.
        """
        raw = self._response.raw
        try:
            while chunk := raw.read1(_CHUNK, decode_content=False):
                yield chunk
        except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
            raise Trouble(f"{redacted(self._url)}: {redacted(str(error))}") from None


@contextmanager
def ask(
    url: str,
    *,
    timeout: tuple[float, float],
    start: int = 0,
    if_range: str = "",
    known: Cached | None = None,
    proxies: Proxies = NO_PROXIES,
) -> Iterator[Answer]:
    """Ask for a file.

    Args:
        url: http:// or https://.
        timeout: seconds to connect, and for each wait for a byte.
        start: the byte to begin with, if the version is still the one that `if_range` names.
        known: the copy that need not be sent if it is still the same.
        proxies: by which it is asked for.

    Raises:
        Trouble: no answer, or one that may be better the next time.
        SourceError: an answer that will not be.
    """
    headers = {
        "User-Agent": f"imdb-producer/{__version__}",
        # The file is gzip already: a second layer would be undone on the way.
        "Accept-Encoding": "identity",
    }
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": if_range}
    elif known is not None and known.etag:
        headers["If-None-Match"] = known.etag
    elif known is not None and known.modified:
        headers["If-Modified-Since"] = formatdate(known.modified, usegmt=True)
    try:
        response = requests.get(
            url,
            headers=headers,
            stream=True,
            timeout=timeout,
            proxies=proxies.for_requests(url),  # type: ignore[arg-type]  # None is allowed there
        )
    except (requests.ConnectionError, requests.Timeout) as error:
        shown = f"{redacted(url)}{proxies.named(url)}"
        raise Trouble(f"{shown}: {redacted(str(error))}") from None
    except requests.RequestException as error:
        raise SourceError(
            f"Cannot download {redacted(url)}{proxies.named(url)}: {redacted(str(error))}. "
            "Check the address."
        ) from None
    with response:
        shown = f"{redacted(url)}{proxies.named(url)}"
        _check_status(shown, response, partly=bool(start), known=known)
        yield Answer(url, response)


def _check_status(
    shown: str, response: requests.Response, *, partly: bool, known: Cached | None
) -> None:
    status = response.status_code
    if status == 200 or (partly and status in {206, 416}) or (known and status == 304):
        return
    said = f"{shown}: the server answers {status} {response.reason}"
    if status >= 500 or status in _PASSING:
        raise Trouble(said, _retry_after(response.headers.get("Retry-After", "")))
    raise SourceError(
        f"Cannot download {said}. Check the address, and whether it asks for a password or login."
    )


def _retry_after(text: str) -> float:
    if text.isdecimal():
        return min(float(text), _LONGEST_RETRY_AFTER)
    when = _time_of(text)
    return min(max(when - time.time(), 0.0), _LONGEST_RETRY_AFTER) if when else 0.0


def _time_of(text: str) -> float:
    """Give the Unix time of an HTTP date; 0 if it is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return 0.0
