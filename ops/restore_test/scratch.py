"""Scratch: a private folder for everything that a test restores, and ways to look into it that trust nothing there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ops.errors import LastcopyError, escape_text
from ops.private_folder import private_folder


@contextmanager
def open_scratch(parent: Path | None) -> Iterator[Path]:
    """A new folder below ``parent``, TMPDIR or /var/tmp. It is removed at the end, however the test ends. Raises LastcopyError."""
    place = parent or Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - a private folder is made in it
    with ExitStack() as opened:
        try:
            folder = opened.enter_context(private_folder("drill", place))
        except OSError as error:
            raise LastcopyError(
                f"no folder can be made in {escape_text(place)}: {error.strerror}",
                where="--scratch",
                allowed="a directory that you may write to, with enough free space for the restored files",
            ) from None
        yield folder


def find_plain_file(root: Path, path: str) -> os.stat_result | None:
    """The file at a snapshot's path below ``root``, or None if it is not a regular file or a link leads to it: links in a snapshot are untrusted."""
    here = root
    parts = [part for part in path.split("/") if part]
    for number, part in enumerate(parts, 1):
        here = here / part
        try:
            info = here.lstat()
        except OSError:
            return None
        wanted = stat.S_ISREG if number == len(parts) else stat.S_ISDIR
        if part in (".", "..") or not wanted(info.st_mode):
            return None
    return info if parts else None


def count_files(root: Path) -> tuple[int, int]:
    """Number and total size in bytes of the regular files below ``root``."""
    files = size = 0
    for folder, _, names in os.walk(root):
        for name in names:
            info = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - millions of them
            if stat.S_ISREG(info.st_mode):
                files, size = files + 1, size + info.st_size
    return files, size
