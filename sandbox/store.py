"""The runtime folder: small JSON files that are replaced atomically, and locks on folders that are removed with them."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError, say
from toolchain.files import replace_file

LOCK_SECONDS = 1800  # the first base image is built under the lock


def write_json(path: Path, value: object) -> None:
    replace_file(path, json.dumps(value, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """The value, or None if there is no such file. A broken file is an error."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise SandboxError(
            f"unreadable state: {error}",
            where=str(path),
            fix="lastcopy sandbox destroy --dir …, then create it again",
        ) from None


@contextmanager
def hold(folder: Path, *, shared: bool = False, make: bool = False) -> Iterator[None]:
    """Hold the lock of `folder` (the folder itself is the lock, so that no lock file is left behind).

    Raises if the folder is missing (unless `make`) or was removed meanwhile.
    """
    start = time.monotonic()
    told = False
    while True:
        if make:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise SandboxError(
                "there is no such sandbox or machine",
                where=str(folder),
                fix="run network-up (or machine-up) first",
            ) from None
        try:
            while not _locked(handle, shared):
                if not told and time.monotonic() > start + 3:
                    say(f"waiting for another run that has locked {folder}")
                    told = True
                if time.monotonic() > start + LOCK_SECONDS:
                    raise SandboxError(
                        "another run has locked the sandbox", where=str(folder), fix="end that run, try again"
                    )
                time.sleep(0.05)
            if _same(handle, folder):
                yield
                return
        finally:
            os.close(handle)  # releases the lock


def _locked(handle: int, shared: bool) -> bool:
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(handle: int, folder: Path) -> bool:
    """Whether the locked folder is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False
