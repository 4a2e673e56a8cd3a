"""Private folders: for secrets and restored files on this machine, gone when the verb that made them ends, however it ends.

The verb removes its folder itself. If it is killed, a guard does: a small process that outlives it and sees its end. If the guard is killed as
well, or the machine is switched off, the next verb that makes a folder at the same place does.
"""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What carries this name and belongs to nobody who lives is removed: so nothing else may be named so.
MARK = "lastcopy-tmp-"
LONGEST_SOCKET = 103  # bytes of a socket's whole name that every system takes (unix(7): 107 on Linux)
# Standard input ends with the verb. Programs of a killed verb may still write there for a moment: hence several tries.
_GUARD = """\
trap '' HUP INT TERM
cat >/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf --one-file-system -- "$FOLDER" && exit 0
  chmod -R u+rwX -- "$FOLDER"
  sleep 1
done
"""


@contextmanager
def private_folder(purpose: str, place: Path | None = None) -> Iterator[Path]:
    """A new folder of this user's alone below ``place``, else TMPDIR. ``purpose``: a word for its name. Error: OSError, where it cannot be made."""
    below = place or Path(tempfile.gettempdir())
    if any(part.startswith(MARK) for part in below.resolve().parts):  # guarded already
        with tempfile.TemporaryDirectory(prefix=f"{MARK}{purpose}-", dir=below) as name:
            yield Path(name)
        return
    remove_leftovers(below)
    folder, lock = _made(purpose, below)
    guard = subprocess.Popen(
        ["sh", "-c", _GUARD], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd="/", env={"PATH": "/usr/bin:/bin", "FOLDER": str(folder)}, start_new_session=True,
    )  # fmt: skip
    try:
        yield folder
    finally:
        remove_folder(folder)
        os.close(lock)
        guard.communicate()


@contextmanager
def socket_folder(folder: Path, purpose: str, longest: int) -> Iterator[Path]:
    """Where sockets with names of up to ``longest`` bytes fit: ``folder``, else a private folder below /tmp, because TMPDIR may be long by itself.

    ``purpose``: a word for the name of that folder. Error: OSError, where it cannot be made.
    """
    if len(os.fsencode(folder)) + len("/") + longest <= LONGEST_SOCKET:
        yield folder
        return
    with private_folder(purpose, Path("/tmp")) as short:  # noqa: S108
        yield short


def remove_leftovers(place: Path) -> None:
    """Remove the folders of dead verbs of this user's: nobody holds their locks."""
    for folder in place.glob(f"{MARK}*"):
        try:
            info = folder.lstat()
        except OSError:
            continue
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
            continue
        lock = _locked(folder)
        if lock is not None:
            remove_folder(folder)
            os.close(lock)


def remove_folder(folder: Path) -> None:
    """Remove a folder, whatever the modes in it and however deep. Not finished: said by the folder that is still there."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", folder], stderr=subprocess.DEVNULL, check=False)
    if folder.exists():  # folders without rights, and we are not root
        subprocess.run(["chmod", "-R", "u+rwX", "--", folder], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", "--", folder], check=False)


def _made(purpose: str, place: Path) -> tuple[Path, int]:
    """A folder and its lock, which ends with this process. Between the two another verb's sweep may take the folder: then a new one."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{MARK}{purpose}-", dir=place))
        lock = _locked(folder)
        if lock is None:
            continue
        if folder.exists():
            return folder, lock
        os.close(lock)


def _locked(folder: Path) -> int | None:
    """The folder's lock; None where another has it, or the folder is gone."""
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
