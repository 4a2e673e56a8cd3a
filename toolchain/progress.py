"""Shows progress on standard error: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HEARTBEAT = 20.0  # seconds between plain lines of long work
_said: set[str] = set()


def note(text: str) -> None:
    """Show a line, once per process."""
    if text not in _said:
        _said.add(text)
        print(f"toolchain: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[Callable[[str], None]]:
    """Show the progress of long work with the elapsed seconds. Yields a function to call often with the newest detail."""
    start = time.monotonic()
    with (_live if sys.stderr.isatty() else _plain)(text, start) as update:
        yield update
    print(f"toolchain: {text}: done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def _live(text: str, start: float) -> Iterator[Callable[[str], None]]:
    try:
        from rich.console import Console
    except ImportError:  # before the project's own environment exists
        with _plain(text, start) as update:
            yield update
        return
    with Console(stderr=True).status(f"{text} …") as status:
        yield lambda detail: status.update(f"{text}: {detail}, {time.monotonic() - start:.0f} s")


@contextmanager
def _plain(text: str, start: float) -> Iterator[Callable[[str], None]]:
    print(f"toolchain: {text} …", file=sys.stderr, flush=True)
    last = start

    def update(detail: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= HEARTBEAT:
            last = now
            print(f"toolchain: {text}: {detail}, {now - start:.0f} s", file=sys.stderr, flush=True)

    yield update
