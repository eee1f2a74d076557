"""What keeps a part of the page from being shown."""

from __future__ import annotations


class SourceError(Exception):
    """A source does not answer; the text is a sentence for people, which says what to do."""
