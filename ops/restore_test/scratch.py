"""Scratch: one private folder for all that a drill restores, and looks into it that trust nothing there."""

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
    """A new folder below ``parent`` (else TMPDIR, else the system's place for large temporary files), gone however the drill ends."""
    place = parent or Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - a private folder is made in it
    with ExitStack() as opened:
        try:
            folder = opened.enter_context(private_folder("drill", place))
        except OSError as error:
            raise LastcopyError(
                f"no folder can be made in {escape_text(place)}: {error.strerror}",
                where="--scratch",
                allowed="a directory that you may write to, with enough free space for what is restored",
            ) from None
        yield folder


def find_plain_file(root: Path, path: str) -> os.stat_result | None:
    """What stands at a snapshot's path below ``root``, if it is a regular file and no link leads there: links in a snapshot are an attacker's."""
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
    """Regular files below, and their bytes."""
    files = size = 0
    for folder, _, names in os.walk(root):
        for name in names:
            info = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - millions of them
            if stat.S_ISREG(info.st_mode):
                files, size = files + 1, size + info.st_size
    return files, size
