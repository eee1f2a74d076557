"""What is to be sent now: all of a data set, the rest of it, what a new one changes, or nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from imdb_producer.backup import RestoredFile
from imdb_producer.delivered import Delivered
from imdb_producer.outbox import Outbox, outbox_path, write_outbox
from imdb_producer.progress import Progress, ProgressFile, ProgressStore
from imdb_producer.records import Message
from imdb_producer.refused import Refusal, RefusedFile, limit_text

log = logging.getLogger(__name__)

Prepare = Callable[[], Iterator[Message]]


class Resumption:
    """One topic's memory of what it was sent.

    In the order in which it is written, so that a crash at any point costs duplicates of the same
    event ids at most, and no record: the records to send, then how many of them are acknowledged,
    and when the next data set comes, what the topic has of each movie.
    """

    def __init__(self, folder: Path, store: ProgressStore | None = None) -> None:
        """Keep it in `folder`, which is made; the progress elsewhere if a `store` is given.

        Raises:
            StateError: it cannot be read or written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._store = store or ProgressFile(folder / "progress.json")
        self._delivered = Delivered(folder / "delivered.sqlite")
        self.refused = RefusedFile(folder / "refused.jsonl")
        self._restored = RestoredFile(folder)
        self._progress: Progress | None = None

    def begin(
        self, data_set: str, destination: str, resend: str, prepare: Prepare, limit: int = 0
    ) -> tuple[Outbox, Progress]:
        """Find out what to send, as which version, and how much of it is delivered already.

        Args:
            data_set: another name for every other content of the dumps or choice from them.
            destination: another name for every other topic, also for one made anew.
            resend: empty, or a request to send all again, which is met once.
            prepare: makes all messages of the data set; called only if they are needed.
            limit: the topic's largest message in bytes, 0 if it is not known. What was refused
                under a smaller one is sent again.

        Raises:
            StateError: what was kept cannot be read or written.
            TooManyRefusedError: the topic refuses more than can be kept aside.
        """
        outbox, progress = self._begin(data_set, destination, resend, prepare, limit)
        return replace(outbox, version=progress.version), progress

    def _begin(
        self, data_set: str, destination: str, resend: str, prepare: Prepare, limit: int
    ) -> tuple[Outbox, Progress]:
        last = self._moved(self._store.load(), destination)
        anew = _why_all_of_it(last, destination, resend)
        outgrown = self.refused.outgrown(limit)
        if last is None or anew:
            log.info("Sending all of the data set: %s", anew)
            self._forget()
        elif last.data_set != data_set:
            self._absorb(last)
            log.info("The dumps, or the choice from them, have changed: sending the difference")
        elif outgrown:
            self._absorb(last)
            log.info(
                "The topic takes larger records than before (max.message.bytes %s): sending %d "
                "that it refused",
                limit_text(limit),
                len(outgrown),
            )
        elif last.finished:
            self._absorb(last)
            self._progress = last
            return Outbox(outbox_path(self._folder, last.batch), last.total, last.batch), last
        else:
            self.refused.check_room()
            outbox = self._rest_of(last, prepare)
            if outbox.digest == last.batch and last.version:
                self._progress = last
                return outbox, last
            if outbox.digest != last.batch:
                log.warning("What was left to send cannot be told any more: sending it all")
                last = replace(last, batch=outbox.digest, position=0, since=self._delivered.version)
            return outbox, self._start(replace(last, version=_next_version(last)), outbox)
        refused: set[str] = set()
        since = self._delivered.version
        outbox = write_outbox(self._folder, self._new_in(prepare(), outgrown, refused))
        started = Progress(
            data_set,
            destination,
            outbox.digest,
            0,
            outbox.total,
            resend or _resend_of(last),
            _next_version(last),
            since,
        )
        progress = self._start(started, outbox)
        # Not before: what is in neither would never be sent.
        self.refused.keep_only(refused)
        return outbox, progress

    def _moved(self, last: Progress | None, destination: str) -> Progress | None:
        """Go on in another topic than before, where that was restored from a backup.

        What the topic of the backup had up to the position is in the tables that were restored.
        """
        before = self._restored.destination()
        if last is not None and before and last.destination == before != destination:
            log.info(
                "Going on at record %d of %d in the topic %s: the state was restored from a backup",
                last.position,
                last.total,
                destination,
            )
            last = replace(last, destination=destination)
            self._store.save(last)
        self._restored.remove()
        return last

    def advance(self, position: int) -> None:
        """Keep that the first `position` messages are acknowledged.

        Raises:
            StateError, StoreError, OvertakenError: it cannot be kept.
            TooManyRefusedError: it is kept, and the topic refuses more than can be kept aside.
        """
        assert self._progress is not None, "begin() comes first"
        self._progress = replace(self._progress, position=position)
        self._store.save(self._progress)
        self.refused.check_room()

    def set_aside(self, refusals: list[Refusal], limit: int) -> None:
        """Keep records that the broker refuses, before `advance` counts them.

        Raises:
            StateError: they cannot be kept.
        """
        assert self._progress is not None, "begin() comes first"
        for it in self.refused.add(refusals, self._progress.batch, limit):
            log.error(
                "The broker refuses record %s, %d bytes before compression, where the topic's "
                "max.message.bytes %s: %s. It is kept aside in %s; the others are sent.",
                it.key,
                it.bytes,
                limit_text(it.limit),
                it.reason,
                self.refused.path,
            )

    def finish(self) -> None:
        """Note all that was delivered of a finished data set, and give back the disk."""
        assert self._progress is not None, "begin() comes first"
        self._absorb(self._progress)

    def close(self) -> None:
        """Close what is open."""
        self._delivered.close()
        self._store.close()

    def _start(self, progress: Progress, outbox: Outbox) -> Progress:
        progress = replace(progress, total=outbox.total)
        self._store.save(progress)
        self._progress = progress
        self._remove_outboxes(keep=outbox.path)
        return progress

    def _rest_of(self, last: Progress, prepare: Prepare) -> Outbox:
        path = outbox_path(self._folder, last.batch)
        if path.exists():
            return Outbox(path, last.total, last.batch)
        if self._delivered.version != last.since:
            self._forget()
        # Those of them that were refused stay among them: it must be the same file.
        mine = self.refused.of(last.batch)
        return write_outbox(self._folder, self._new_in(prepare(), mine, set()))

    def _new_in(
        self, messages: Iterator[Message], again: set[str], refused: set[str]
    ) -> Iterator[Message]:
        """Give what the topic does not have.

        Those that it refused are added to `refused` instead, unless they are to be sent `again`.
        """
        for message in messages:
            if self.refused.holds(message) and message.event_id.decode() not in again:
                refused.add(message.event_id.decode())
            elif not self._delivered.holds(message):
                yield message

    def _absorb(self, progress: Progress) -> None:
        """Note the delivered part of an outbox. Doing it twice is doing it once.

        What this host has noted is of no use where another has sent since, and is forgotten then:
        the next data set is sent whole.
        """
        outbox = Outbox(outbox_path(self._folder, progress.batch), progress.total, progress.batch)
        if self._delivered.version == progress.version:
            pass  # it is noted already
        elif self._delivered.version == progress.since and outbox.path.exists():
            done = outbox.messages(stop=progress.position)
            self._delivered.note(
                (it for it in done if not self.refused.holds(it)),
                # A movie that changes back is sent again.
                outbox.messages(start=progress.position),
                progress.version,
            )
        else:
            self._forget()
        if progress.finished:
            self._remove_outboxes(keep=None)

    def _forget(self) -> None:
        """Take the topic for one of which nothing is known."""
        self._delivered.clear()
        self.refused.keep_only(set())

    def _remove_outboxes(self, keep: Path | None) -> None:
        for path in self._folder.glob("outbox*"):
            if path != keep:
                with suppress(FileNotFoundError):
                    path.unlink()


def _why_all_of_it(last: Progress | None, destination: str, resend: str) -> str:
    if last is None:
        return "nothing was sent before"
    if last.destination != destination:
        return f"the topic is another one than before ({destination})"
    if resend and last.resend != resend:
        return "RESEND asks for it"
    return ""


def _next_version(last: Progress | None) -> int:
    """Give a higher version than all before: now, in milliseconds since 1970.

    So it is, unless the clock was set back, also where nobody knows any more what was before.
    """
    return max(time.time_ns() // 1_000_000, last.version + 1 if last else 0)


def _resend_of(last: Progress | None) -> str:
    return last.resend if last else ""
