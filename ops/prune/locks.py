"""Sorts restic's locks: a young lock may belong to a running backup; an old one belongs to nobody. Judged by the storage's time only."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ops.errors import LastcopyError
from ops.history.versions import LOCKS, Entry, History, area, iso
from ops.restic.repository import Repository
from ops.storage.client import Storage, work_on_each

YOUNG = timedelta(minutes=30)  # a running restic renews its lock every 5 minutes
MOST_ASKED = 20  # how many locks are opened to find their owners; more than that are not from honest work


@dataclass(frozen=True, kw_only=True)
class Locks:
    """``young``: must be waited for. ``old``: may be removed; includes those that a dead process on this machine left."""

    young: tuple[Entry, ...]
    old: tuple[Entry, ...]


def sort_locks(history: History, now: datetime, dead: Callable[[Entry], bool]) -> Locks:
    """Sort the live locks. ``dead``: whether a young lock's holder is known to be dead; called only if there are few."""
    standing = [entry for name, entry in history.live().items() if name.startswith(LOCKS)]
    # restic ignores names that are not hashes, so no backup holds such a lock; the relay's storage test may leave one when it is killed.
    young = [entry for entry in standing if area(entry.name) == "locks" and now - entry.at < YOUNG]
    left = [entry for entry in young if not dead(entry)] if len(young) <= MOST_ASKED else young
    keys = {entry.name for entry in left}
    return Locks(young=tuple(left), old=tuple(entry for entry in standing if entry.name not in keys))


def is_left_by_dead_process(repository: Repository, entry: Entry) -> bool:
    """Whether the lock names this machine and a process that has ended: a prune that was killed here. Forging such a lock gains nothing."""
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
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def find_refusal(young: Sequence[Entry], now: datetime) -> LastcopyError | None:
    """The error that forbids a prune because of these locks, or None if there are none."""
    if not young:
        return None
    newest = max(entry.at for entry in young)
    age = max(0, (now - newest).total_seconds()) / 60
    return LastcopyError(
        f"{len(young)} locks are younger than {YOUNG.seconds // 60} minutes, the newest {age:.0f} min ({iso(newest)}): a backup may be running",
        where="locks/",
        fix="wait until it is done; if the locks do not go away, cut the source off (docs/runbook.md) and wait 30 minutes",
    )


def remove_locks(storage: Storage, old: Sequence[Entry]) -> None:
    """Hide these locks with delete markers, many at a time: thousands must not take more than minutes."""
    work_on_each(old, lambda entry: storage.hide(entry.name))
