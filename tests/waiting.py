"""Wait for what comes by itself; too long is a failure."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    true: Callable[[], bool],
    seconds: float = 40,
    otherwise: str = "it did not happen in time",
    pause: float = 0.5,
) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(pause)
