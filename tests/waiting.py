"""Wait for what comes by itself; too long is a failure."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.waiting import becomes_true


def wait_until(
    true: Callable[[], object],
    seconds: float = 40,
    otherwise: str | Callable[[], str] = "it did not happen in time",
    pause: float = 0.5,
) -> None:
    """Returns when it is true; fails with `otherwise` when it is not in time."""
    assert becomes_true(true, seconds, pause), otherwise() if callable(otherwise) else otherwise
