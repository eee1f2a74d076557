"""The status page's lines of the streaming job."""

from __future__ import annotations

from typing import Any

import pytest
from status import render_streaming

QUERY = {"batch_id": 4, "at": None, "rows_in": 0, "rows_written": 0, "input_rate": 0.0}
STREAMING: dict[str, Any] = {
    "run_id": "main",
    "silver_rows": 7,
    "dead_letters": 0,
    "duplicates": 0,
}


@pytest.mark.parametrize(("lag", "said"), [(None, "unknown"), (0, "0"), (12345, "12,345")])
def test_lag_is_unknown_until_the_query_has_told(lag: int | None, said: str) -> None:
    *_, last = render_streaming(STREAMING | {"query": QUERY | {"lag": lag}})
    assert last.endswith(f", lag {said}")
