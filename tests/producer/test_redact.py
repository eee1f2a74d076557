"""What is shown of a URL."""

from __future__ import annotations

import pytest

from imdb_producer.redact import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/path.gz", "https://host/path.gz"),
        ("file:///srv/a%20b.tsv", "file:///srv/a%20b.tsv"),
        ("https://user@host/x", "https://***@host/x"),
        ("https://user:planted@host:8443/x", "https://***@host:8443/x"),
        ("https://user:pl@nt/ed@host/x", "https://***@host/x"),
        ("user:planted@host/x", "***@host/x"),
        ("https://host/x?signature=planted&e=1", "https://host/x?***"),
        (
            "404 Client Error: Not Found for url: https://user:planted@host/x?planted",
            "404 Client Error: Not Found for url: https://***@host/x?***",
        ),
        (
            "Max retries exceeded with url: /x?planted (Caused by Refused('x'))",
            "Max retries exceeded with url: /x?*** (Caused by Refused('x'))",
        ),
    ],
)
def test_user_password_and_query_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown
