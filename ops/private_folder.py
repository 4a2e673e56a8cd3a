"""Private folders for secrets and restored files on this machine. They are removed when the verb that made them ends, in whatever way.

The verb removes its folder itself. If the verb is killed, a guard removes it: a small process that outlives the verb and notices its end. If the
guard is killed as well, or the machine is switched off, the next verb that makes a folder in the same place removes it.
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

# A folder with this prefix is removed once no live process holds its lock, so nothing else may use the prefix.
MARK = "lastcopy-tmp-"
LONGEST_SOCKET = 103  # bytes of a socket's full path that every system accepts (unix(7): 107 on Linux)
# Standard input closes when the verb ends. Programs of a killed verb may still write for a moment, so the removal is repeated.
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
    """A new folder that only this user can read, below ``place`` or TMPDIR; removed at the end of the block.

    ``purpose``: a word for its name. Raises OSError if it cannot be made.
    """
    below = place or Path(tempfile.gettempdir())
    if any(part.startswith(MARK) for part in below.resolve().parts):  # already inside a guarded folder
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
    """A folder in which socket names of up to ``longest`` bytes fit: ``folder`` itself, or a private folder below /tmp (TMPDIR may be long, too).

    ``purpose``: a word for the name of that private folder. Raises OSError if it cannot be made.
    """
    if len(os.fsencode(folder)) + len("/") + longest <= LONGEST_SOCKET:
        yield folder
        return
    with private_folder(purpose, Path("/tmp")) as short:  # noqa: S108
        yield short


def remove_leftovers(place: Path) -> None:
    """Remove this user's private folders whose lock no process holds: the verbs that made them are dead."""
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
    """Remove a folder, whatever its modes and depth. If the removal fails, the folder is still there; no error is raised."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", folder], stderr=subprocess.DEVNULL, check=False)
    if folder.exists():  # it holds folders without permissions, and we are not root
        subprocess.run(["chmod", "-R", "u+rwX", "--", folder], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", "--", folder], check=False)


def _made(purpose: str, place: Path) -> tuple[Path, int]:
    """Make a folder and lock it; the lock ends with this process. If another verb's cleanup removes the folder in between, make a new one."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{MARK}{purpose}-", dir=place))
        lock = _locked(folder)
        if lock is None:
            continue
        if folder.exists():
            return folder, lock
        os.close(lock)


def _locked(folder: Path) -> int | None:
    """The folder's lock, or None if another process holds it or the folder is gone."""
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
