"""Whose locks stand: a young one may be of a backup that runs; an old one is nobody's. By the storage's time alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ops.errors import LastcopyError
from ops.history.versions import LOCKS, Entry, History, area, iso
from ops.restic.repository import Repository
from ops.storage.client import WORKERS, Storage

YOUNG = timedelta(minutes=30)  # a running restic writes its lock anew every 5 minutes
MOST_ASKED = 20  # so many are opened to see whose they are; a flood is nobody's honest work


@dataclass(frozen=True, kw_only=True)
class Locks:
    """``young``: must be waited for. ``old``: may go; also those that a dead run on this very machine left."""

    young: tuple[Entry, ...]
    old: tuple[Entry, ...]


def sort_locks(history: History, now: datetime, dead: Callable[[Entry], bool]) -> Locks:
    """``dead``: whether a young lock's holder is known to be dead; asked only while there are few."""
    standing = [entry for name, entry in history.live().items() if name.startswith(LOCKS)]
    # restic passes over a name that is no hash, so no backup holds one: such as the storage step's, which was killed.
    young = [entry for entry in standing if area(entry.name) == "locks" and now - entry.at < YOUNG]
    left = [entry for entry in young if not dead(entry)] if len(young) <= MOST_ASKED else young
    keys = {entry.name for entry in left}
    return Locks(young=tuple(left), old=tuple(entry for entry in standing if entry.name not in keys))


def is_left_by_dead_process(repository: Repository, entry: Entry) -> bool:
    """Whether the lock names this machine and a process that is gone: a prune that was killed here. A forged one costs only itself."""
    if area(entry.name) != "locks":
        return False
    answer = repository.ask("cat", "lock", entry.name.removeprefix(LOCKS))
    try:
        said = json.loads(answer.out) if answer.ok else {}
    except ValueError:
        return False
    pid = said.get("pid") if isinstance(said, dict) else None
    if not isinstance(pid, int) or pid < 2 or said.get("hostname") != socket.gethostname():
        return False
    return not _runs(pid)


def _runs(pid: int) -> bool:
    """A killed process that nobody has collected yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def find_refusal(young: Sequence[Entry], now: datetime) -> LastcopyError | None:
    """Why these forbid a prune, None when there are none."""
    if not young:
        return None
    newest = max(entry.at for entry in young)
    age = max(0, (now - newest).total_seconds()) / 60
    return LastcopyError(
        f"{len(young)} locks are younger than {YOUNG.seconds // 60} minutes, the newest {age:.0f} min ({iso(newest)}): a backup may run",
        where="locks/",
        fix="wait until it is done; or, where they do not end, cut the source off (docs/runbook.md) and wait 30 minutes",
    )


def remove_locks(storage: Storage, old: Sequence[Entry]) -> None:
    """By delete markers, many at a time: thousands must not cost more than minutes."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = [pool.submit(storage.hide, entry.name) for entry in old]
        try:
            for future in waiting:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
