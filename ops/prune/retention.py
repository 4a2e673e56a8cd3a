"""Which snapshots to keep, decided by when the storage got them and never by the time that they claim. Pure.

The rules are restic's own (`restic forget --keep-…`), so with honest times both decide alike; only the source of the time differs. As in
restic, snapshots of different paths do not count against each other: making snapshots of other paths can keep more snapshots, but never
fewer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ops.errors import LastcopyError

_SPAN = re.compile(r"([0-9]{1,5})([hd])")


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A snapshot and when the storage got it. ``paths``: the paths that it claims to contain, sorted."""

    id: str
    at: datetime
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How many snapshots to keep: the newest ``last``, and the newest of each of so many hours, days, ISO weeks, months and years (UTC).

    ``within``: also keep all that arrived within this time before the newest.
    """

    last: int = 3
    hourly: int = 0
    daily: int = 14
    weekly: int = 8
    monthly: int = 12
    yearly: int = 0
    within: timedelta = timedelta()

    def __post_init__(self) -> None:
        for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly"):
            if not 0 <= getattr(self, name) <= 100_000:
                raise LastcopyError(
                    f"{getattr(self, name)} is not a number of snapshots",
                    where=f"--keep-{name}",
                    allowed="0 to 100000",
                )
        if self.last < 1:
            raise LastcopyError(
                "the newest snapshot must be kept",
                where="--keep-last",
                allowed="1 or more",
                fix="--keep-last 1",
            )


def parse_span(text: str) -> timedelta:
    """Parse a length of time such as 48h or 14d, which restic reads as well. Raises LastcopyError."""
    found = _SPAN.fullmatch(text)
    if not found:
        raise LastcopyError(f"{text!a} is not a length of time", where="--keep-within", allowed="48h or 14d")
    number = int(found[1])
    return timedelta(hours=number) if found[2] == "h" else timedelta(days=number)


_Bucket = Callable[[datetime, int], tuple[int, ...]]
_BUCKETS: dict[str, _Bucket] = {
    "last": lambda _, number: (number,),
    "hourly": lambda at, _: (at.year, at.month, at.day, at.hour),
    "daily": lambda at, _: (at.year, at.month, at.day),
    "weekly": lambda at, _: tuple(at.isocalendar()[:2]),
    "monthly": lambda at, _: (at.year, at.month),
    "yearly": lambda at, _: (at.year,),
}


def apply_rules(snapshots: Iterable[Arrived], keep: Keep) -> dict[str, list[str]]:
    """The ids to keep, each with the names of the rules that keep it."""
    groups: dict[tuple[str, ...], list[Arrived]] = {}
    for one in snapshots:
        groups.setdefault(one.paths, []).append(one)
    return {name: why for group in groups.values() for name, why in _of_group(group, keep).items()}


def _of_group(group: Sequence[Arrived], keep: Keep) -> dict[str, list[str]]:
    newest_first = sorted(group, key=lambda one: (one.at, one.id), reverse=True)
    left = {name: getattr(keep, name) for name in _BUCKETS}
    seen: dict[str, tuple[int, ...]] = {}
    found: dict[str, list[str]] = {}
    for number, one in enumerate(newest_first):
        why = []
        # As restic does: if slots are left, the longest history is kept.
        oldest = number == len(newest_first) - 1
        for name, bucket in _BUCKETS.items():
            value = bucket(one.at.astimezone(UTC), number)
            if left[name] and (seen.get(name) != value or oldest):
                why.append(name if seen.get(name) != value else f"oldest {name}")
                seen[name] = value
                left[name] -= 1
        if keep.within and one.at > newest_first[0].at - keep.within:
            why.append("within")
        if why:
            found[one.id] = why
    return found
