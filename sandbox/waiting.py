"""Waiting on a condition instead of on time."""

from __future__ import annotations

import time
from collections.abc import Callable


def becomes_true(fact: Callable[[], object], seconds: float, pause: float = 0.05) -> bool:
    """Whether `fact` came true within the time; it is asked at least once, and once more when the time is over."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
