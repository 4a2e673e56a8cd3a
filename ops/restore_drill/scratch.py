"""Scratch: one private folder for all that a drill restores; gone afterwards, and what a killed drill left goes at the next start."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.recover.errors import RecoverError, shown

PREFIX = "lastcopy-drill-"
_YOUNG_SECONDS = 60  # not yet locked, perhaps


@contextmanager
def scratch_below(parent: Path | None) -> Iterator[Path]:
    """A new folder below ``parent`` (else TMPDIR, else the system's place for large temporary files), emptied however the drill ends, but for a SIGKILL."""
    place = parent or Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - a private folder is made in it
    _sweep(place)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    except OSError as error:
        raise RecoverError(
            f"no folder can be made in {shown(place)}: {error.strerror}",
            where="--scratch",
            allowed="a directory that you may write to, with room for what is restored",
        ) from None
    lock = _locked(folder)
    try:
        yield folder
    finally:
        empty(folder)
        if lock is not None:
            os.close(lock)


def empty(folder: Path) -> None:
    """Remove what a snapshot put there, whatever its modes and however deep. Not finished: said by the folder that is still there."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", folder], stderr=subprocess.DEVNULL, check=False)
    if folder.exists():  # folders without rights, and we are not root
        subprocess.run(["chmod", "-R", "u+rwX", "--", folder], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", "--", folder], check=False)


def _sweep(place: Path) -> None:
    """What drills of ours left that were killed outright: nobody holds its lock."""
    for folder in place.glob(f"{PREFIX}*"):
        try:
            info = folder.lstat()
        except OSError:
            continue
        young = time.time() - info.st_ctime < _YOUNG_SECONDS
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or young:
            continue
        lock = _locked(folder)
        if lock is not None:
            empty(folder)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """The folder's lock, which ends with its process; None where another has it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def plain_file(root: Path, path: str) -> os.stat_result | None:
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


def totals(root: Path) -> tuple[int, int]:
    """Regular files below, and their bytes."""
    files = size = 0
    for folder, _, names in os.walk(root):
        for name in names:
            info = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - millions of them
            if stat.S_ISREG(info.st_mode):
                files, size = files + 1, size + info.st_size
    return files, size
