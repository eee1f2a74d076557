"""Waiting with a bound: for hosts that boot, services that start, rows that arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

State = TypeVar("State")


class TimeLimitError(AssertionError):
    """What was waited for did not come; the text says what was seen last."""


def wait_for(
    what: str,
    look: Callable[[], State],
    good: Callable[[State], bool],
    seconds: float,
    every: float = 1.0,
) -> State:
    """Look again and again until what is seen is good, and return it.

    Args:
        what: what is waited for, for the message.
        look: returns the present state; an exception counts as a state that is not good.
        good: tells whether a state is what is waited for.
        seconds: the most to wait.
        every: seconds between two looks.

    Raises:
        TimeLimitError: It did not come in time.
    """
    end = time.monotonic() + seconds
    while True:
        seen: object
        try:
            state = look()
            if good(state):
                return state
            seen = state
        except Exception as error:  # a host that is down, a file that is not there yet
            seen = f"{type(error).__name__}: {error}"
        if time.monotonic() >= end:
            raise TimeLimitError(f"{what}: not within {seconds:g} s. Last seen: {seen}")
        time.sleep(every)
