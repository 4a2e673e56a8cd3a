"""A storage with versions in memory: it keeps what the attacker and the recovery do, as the real one would."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ops.history.versions import Entry, History
from ops.recover.plan import Step, StepKind

START = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)


def named(place: str, number: int) -> str:
    """A name as restic makes it."""
    digest = hashlib.sha256(f"{place}{number}".encode()).hexdigest()
    return f"data/{digest[:2]}/{digest}" if place == "data" else f"{place}/{digest}"


class Store:
    """Versions are never removed; there is no method for it."""

    def __init__(self) -> None:
        self.now = START
        self.entries: list[Entry] = []  # oldest first
        self.made = 0

    def wait(self, **time: float) -> datetime:
        self.now += timedelta(**time)
        return self.now

    def _add(self, name: str, *, marker: bool = False, size: int = 0, etag: str = "") -> None:
        self.made += 1
        self.now += timedelta(milliseconds=1)
        self.entries.append(
            Entry(name=name, id=f"v{self.made}", at=self.now, marker=marker, size=size, etag=etag)
        )

    def put(self, name: str, content: str = "") -> None:
        body = (content or name).encode()
        self._add(name, size=len(body), etag=hashlib.md5(body, usedforsecurity=False).hexdigest())

    def hide(self, name: str) -> None:
        self._add(name, marker=True)

    def history(self) -> History:
        newest = {entry.name: entry.id for entry in self.entries}
        return History(
            replace(entry, order=order, latest=newest[entry.name] == entry.id)
            for order, entry in enumerate(reversed(self.entries))
        )

    def versions(self) -> set[str]:
        return {entry.id for entry in self.entries if not entry.marker}

    def shows(self, at: datetime | None = None) -> dict[str, str]:
        """Visible objects by name, with the digest of their content; restic's locks are left out."""
        history = self.history()
        seen = history.live() if at is None else history.view(at)
        return {name: entry.etag for name, entry in seen.items() if not name.startswith("locks/")}

    def back_up(self, number: int) -> None:
        """Add what one backup adds, including the lock that it takes and removes."""
        lock = named("locks", number)
        self.put(lock)
        for pack in range(3):
            self.put(named("data", number * 10 + pack))
        self.put(named("index", number))
        self.put(named("snapshots", number))
        self.hide(lock)

    def init(self) -> None:
        self.put(named("keys", 0))
        self.put("config")

    def apply(self, steps: Iterable[Step]) -> None:
        for step in steps:
            match step.kind:
                case StepKind.COPY:
                    assert step.good is not None
                    self._add(step.name, size=step.good.size, etag=step.good.etag)
                case StepKind.HIDE:
                    self.hide(step.name)
                case StepKind.UNHIDE:
                    gone = {marker.id for marker in step.markers}
                    assert gone.isdisjoint(self.versions())
                    self.entries = [entry for entry in self.entries if entry.id not in gone]


def healthy(backups: int = 5) -> Store:
    """A repository with one backup a day."""
    store = Store()
    store.init()
    for number in range(backups):
        store.back_up(number)
        store.wait(hours=24)
    return store
