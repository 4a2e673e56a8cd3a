"""Files that are written completely or not at all, with their mode from the first byte on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_file(path: Path, text: str, *, mode: int = 0o600) -> None:
    """The text takes the place of what the file held."""
    with _written_beside(path, text.encode(), mode) as fresh:
        fresh.replace(path)


def create_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """A new file. FileExistsError if there is one, also one that appeared meanwhile."""
    with _written_beside(path, content, mode) as fresh:
        os.link(fresh, path)  # a rename would replace it


@contextmanager
def _written_beside(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
