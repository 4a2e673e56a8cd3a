"""The storage's history of one repository: every version and delete marker of every name, with the storage's own times. Pure.

The times are the storage's LastModified, which no writer chooses. There is one known exception: some services date an object that was uploaded
in parts by the start of its upload. Such an object is newer in the list than its time says, and is reported as backdated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from ops.errors import LastcopyError

TICK = timedelta(microseconds=1)
LOCKS = "locks/"
AREAS = ("config", "keys", "snapshots", "index", "data", "locks")
# The names that restic writes are the SHA-256 of the content; nothing else can be restic's.
_RESTIC = re.compile(r"config|(?:keys|snapshots|index|locks)/[0-9a-f]{64}|data/([0-9a-f]{2})/\1[0-9a-f]{62}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One version or delete marker.

    ``order``: its position in the storage's list, where newer entries come first. ``latest``: the storage says that it is the current one.
    """

    name: str  # below the repository: data/ab/ab…
    id: str
    at: datetime
    marker: bool = False
    size: int = 0
    etag: str = ""
    order: int = 0
    latest: bool = False
    # The storage reported another time than that of writing; ``at`` is the time of writing.
    misdated: bool = False


def same_content(one: Entry, other: Entry) -> bool:
    """Whether the storage's digests are equal. Different digests may still mean the same content (multipart uploads, other encryption)."""
    return not one.marker and not other.marker and (one.size, one.etag) == (other.size, other.etag)


def area(name: str) -> str:
    """The part of a repository that a name belongs to; "other" for what restic never writes."""
    return name.split("/")[0] if _RESTIC.fullmatch(name) else "other"


class History:
    """Every name's entries, oldest first."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        found: dict[str, list[Entry]] = {}
        for entry in entries:
            found.setdefault(entry.name, []).append(entry)
        self.names: Mapping[str, tuple[Entry, ...]] = {name: _in_order(found[name]) for name in sorted(found)}

    def view(self, at: datetime) -> dict[str, Entry]:
        """The versions that were current at ``at`` (inclusive), by name, without restic's locks."""
        shown = {}
        for name, entries in self.names.items():
            then = [entry for entry in entries if entry.at <= at]
            if then and not then[-1].marker and not name.startswith(LOCKS):
                shown[name] = then[-1]
        return shown

    def live(self) -> dict[str, Entry]:
        """The current versions, including restic's locks."""
        return {name: entries[-1] for name, entries in self.names.items() if not entries[-1].marker}

    @cached_property
    def misdated(self) -> int:
        """How many versions the storage dates differently from when they were written."""
        return sum(entry.misdated for entries in self.names.values() for entry in entries)

    @cached_property
    def first(self) -> datetime | None:
        return min((entries[0].at for entries in self.names.values()), default=None)

    @cached_property
    def last(self) -> datetime | None:
        return max((entry.at for entries in self.names.values() for entry in entries), default=None)


def _in_order(entries: list[Entry]) -> tuple[Entry, ...]:
    """Sort the entries, oldest first: versions in the storage's order, markers between them by time (the storage lists the two separately)."""
    versions = sorted((e for e in entries if not e.marker), key=lambda e: -e.order)
    markers = sorted((e for e in entries if e.marker), key=lambda e: (e.at, -e.order))
    merged: list[Entry] = []
    for version in versions:
        while markers and markers[0].at < version.at:
            merged.append(markers.pop(0))
        merged.append(version)
    # Times may be whole seconds: only the storage knows which of two entries in the same second came last.
    return tuple(sorted([*merged, *markers], key=lambda entry: entry.latest))


def parse_moment(text: str, now: datetime, where: str = "--at") -> datetime:
    """Parse a time given by a person: ISO 8601, UTC if it names no zone, not in the future. Raises LastcopyError."""
    allowed = "ISO 8601 in UTC, such as 2026-11-23T13:54:02Z, not in the future"
    fix = "take a time from `lastcopy recover look`"
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(text)
    except ValueError:
        raise LastcopyError(f"{text!a} is not a time", where=where, allowed=allowed, fix=fix) from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if found > now:
        what = f"{iso(found)} is in the future; now is {iso(now.replace(microsecond=0))}"
        raise LastcopyError(what, where=where, allowed=allowed, fix=fix)
    return found


def iso(at: datetime) -> str:
    """The time in the form that rclone and people read: UTC, with a fraction only if there is one."""
    plain = at.astimezone(UTC)
    return (
        plain.strftime("%Y-%m-%dT%H:%M:%S") + (f".{plain.microsecond:06d}" if plain.microsecond else "") + "Z"
    )
