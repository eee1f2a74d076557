"""Bring a dump into the cache folder: whole and verified, or not at all."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from imdb_producer.cache import Cached, Partial
from imdb_producer.errors import SourceError
from imdb_producer.files import sync_folder
from imdb_producer.gunzip import CutShort, Damaged
from imdb_producer.http import Answer, Trouble, ask
from imdb_producer.lock import exclusive
from imdb_producer.proxies import NO_PROXIES, Proxies
from imdb_producer.redact import redacted
from imdb_producer.sources import Source, check_start, local_source

log = logging.getLogger(__name__)

#: Downloads of one file that may be cut off in all, whatever each of them brings.
MOST_ATTEMPTS = 200


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a source is tried: in seconds, but for `attempts`.

    So many attempts in a row may bring nothing new; between two of them is a delay, doubled from
    `first_delay` to `longest_delay`. `timeout` is for connecting, and for each wait for a byte.
    """

    attempts: int = 6
    first_delay: float = 1.0
    longest_delay: float = 30.0
    timeout: tuple[float, float] = (10.0, 60.0)


Beat = Callable[[str, int, int | None], None]


def no_beat(_what: str, _done: int, _total: int | None) -> None:
    """Tell nobody how far it is."""


def fetch(
    url: str,
    cache_dir: Path,
    name: str,
    *,
    allow_cached: bool = False,
    patience: Patience | None = None,
    beat: Beat = no_beat,
    proxies: Proxies = NO_PROXIES,
) -> Source:
    """Find a dump on this host, or bring it to `cache_dir/name`, which only a whole one replaces.

    Args:
        url: https:// or http://, which is downloaded, or file://, which is read where it lies;
            gzip or plain TSV.
        cache_dir: made if it is missing. What was cut off stays there and is gone on with.
        name: the dump's name.
        allow_cached: without network take the copy of the same URL that is in the cache.
        patience: how often to try again.
        beat: called often, with what is done, bytes so far, and bytes in all if they are known.
        proxies: by which it is downloaded.

    Raises:
        SourceError: not there, cut short, not gzip or TSV, or no room to write it.
        BusyError: another process downloads to the same place.
    """
    log.info("Downloading %s", redacted(url))
    if urlsplit(url).scheme == "file":
        return local_source(url)
    with exclusive(cache_dir / f".{name}.lock", f"downloads {name}"):
        download = _Download(url, cache_dir, name, patience or Patience(), beat, proxies)
        try:
            return download.run()
        except _NoAnswerError as error:
            if not allow_cached or download.cached is None:
                raise
            log.warning(
                "%s Going on with the copy of %s that is in the cache, as ALLOW_CACHED allows.",
                error,
                time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(download.cached.fetched)),
            )
            return download.cached.source(cache_dir / name)


class _NoAnswerError(SourceError):
    """The network or the server fails; the dump itself may be all right."""


class _Download:
    """The way of one dump into the cache."""

    def __init__(
        self,
        url: str,
        cache_dir: Path,
        name: str,
        patience: Patience,
        beat: Beat,
        proxies: Proxies,
    ) -> None:
        self._url = url
        self._shown = redacted(url)
        self._folder = cache_dir
        self._name = name
        self._patience = patience
        self._beat = beat
        self._proxies = proxies
        self.cached = Cached.read(cache_dir, name, url)

    def run(self) -> Source:
        """Try until it is there, or there is no point in trying."""
        failures = attempts = 0
        try:
            with Partial(self._folder, self._name, self._url) as partial:
                while True:
                    had = partial.size
                    try:
                        return self._attempt(partial)
                    except Trouble as trouble:
                        attempts += 1
                        failures = 1 if partial.size > had else failures + 1
                        if failures >= self._patience.attempts or attempts >= MOST_ATTEMPTS:
                            raise self._given_up(trouble, attempts) from None
                        self._wait(trouble, failures, partial.size)
        except OSError as error:
            # A full disk is not to stay full of what cannot be finished.
            self._drop_partial()
            raise SourceError(
                f"Cannot write to {self._folder}: {error.strerror or error}. "
                "Make it writable and give it room, or set CACHE_DIR to another folder."
            ) from error

    def _attempt(self, partial: Partial) -> Source:
        resumable = partial.validator if partial.size else ""
        with ask(
            self._url,
            timeout=self._patience.timeout,
            start=partial.size if resumable else 0,
            if_range=resumable,
            known=None if partial.size else self.cached,
            proxies=self._proxies,
        ) as answer:
            if answer.unchanged:
                assert self.cached is not None, "only a cached copy is asked about"
                log.info("Unchanged since it was downloaded: %s", self._shown)
                return self.cached.source(self._folder / self._name)
            if answer.beyond_end:
                # All that the server has is here, and yet it was not whole.
                partial.restart("", 0.0)
                raise Trouble(f"{self._shown} is damaged or cut short at the server")
            self._receive(answer, partial)
        return self._publish(partial)

    def _receive(self, answer: Answer, partial: Partial) -> None:
        try:
            continues = answer.continues(partial.size, partial.validator)
        except Trouble:
            partial.restart("", 0.0)
            raise
        if not continues:
            partial.restart(answer.validator, answer.modified)
        self._check_room(answer, partial)
        total = None if answer.length is None else partial.size + answer.length
        try:
            for chunk in answer.chunks():
                partial.add(chunk)
                self._beat(f"downloading {self._name}", partial.size, total)
                if partial.start_is_known:
                    self._check_start(partial)
            self._check_start(partial)
            partial.check_whole()
        except CutShort as error:
            raise Trouble(f"{self._shown} is damaged or cut short: {error}") from error
        except Damaged as error:
            partial.restart("", 0.0)
            raise Trouble(f"{self._shown} is damaged or cut short: {error}") from error
        if not partial.is_gzip and not answer.tells_its_end:
            partial.restart("", 0.0)
            raise SourceError(
                f"{self._shown} is plain text and the server does not say how long it is, so that "
                "a cut could not be noticed. Name a gzip file, or a copy by a file:// URL."
            )

    def _check_start(self, partial: Partial) -> None:
        try:
            check_start(partial.start, self._shown)
        except SourceError:
            partial.restart("", 0.0)
            raise

    def _check_room(self, answer: Answer, partial: Partial) -> None:
        free = os.statvfs(self._folder)
        room = free.f_bavail * free.f_frsize
        if answer.length is not None and answer.length > room:
            self._drop_partial()
            raise SourceError(
                f"Cannot write to {self._folder}: {self._shown} takes {answer.length:,} bytes "
                f"more, and {room:,} are free. Make room, or set CACHE_DIR to another folder."
            )

    def _publish(self, partial: Partial) -> Source:
        target = self._folder / self._name
        cached = partial.described()
        Cached.forget(self._folder, self._name)
        partial.move_to(target)
        cached.write(self._folder, self._name)
        sync_folder(self._folder)
        log.info("Downloaded %d bytes to %s", cached.size, target)
        return cached.source(target)

    def _wait(self, trouble: Trouble, failures: int, size: int) -> None:
        delay = min(
            self._patience.longest_delay, self._patience.first_delay * 2.0 ** (failures - 1)
        )
        # Not in step with others that were cut off at the same moment.
        delay = max(delay * random.uniform(0.75, 1.25), trouble.retry_after)
        log.warning("%s. Trying again in %.1f s, from byte %d on", trouble, delay, size)
        time.sleep(delay)

    def _given_up(self, trouble: Trouble, attempts: int) -> _NoAnswerError:
        return _NoAnswerError(
            f"Cannot download {self._shown}: {trouble}; tried {attempts} times. Check the address "
            "and the network, or name a copy on this host by a file:// URL."
        )

    def _drop_partial(self) -> None:
        with suppress(OSError):
            Partial.remove(self._folder, self._name)
