"""What of a source's paths is stored, at what rate, and what is expected of the result."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from components.settings.form import Form, Looks
from components.settings.model import Model, run_until_unknown
from components.settings.problems import Finding, Fix, quote_harmless, refuse
from components.settings.values import BackupPath

# The files that the restore test compares (ops/restore_test/canary.py) must not be left out by name or size.
CANARY_NAMES = (
    "README.txt",
    "letter.txt",
    "ledger.csv",
    "report.pdf",
    "photo.jpg",
    "archive",
    "database.sql",
)
_LEAST_SIZE = 1 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DAY = 24 * 60
KIBPS = Annotated[StrictInt, Field(ge=16, le=1 << 30)]


def _size(value: str) -> str:
    allowed = "a whole number with K, M, G or T (powers of 1024), 1M or more, such as 4G"
    found = re.fullmatch(r"([1-9][0-9]{0,8})([KMGT])", value, re.ASCII)
    if found is None:
        raise refuse(f"{quote_harmless(value)} is not a size", allowed=allowed)
    if int(found[1]) * _UNITS[found[2]] < _LEAST_SIZE:
        raise refuse(f"{quote_harmless(value)} would leave out ordinary files", allowed=allowed)
    return value


def _tag_file(value: str) -> str:
    """restic's FILENAME[:HEADER]."""
    allowed = (
        "the name of a file, without slashes; behind a colon, if need be, the text that it must begin with"
    )
    name = value.partition(":")[0]
    if not value.isprintable() or not name or "/" in name or name in (".", "..") or value != value.strip():
        raise refuse(f"{quote_harmless(value)} does not name a file", allowed=allowed)
    if name in CANARY_NAMES:
        raise refuse(
            f"{quote_harmless(value)} is one of the canary's files, which the restore test needs",
            allowed=allowed,
        )
    return value


TagFile = Annotated[StrictStr, AfterValidator(_tag_file)]
Size = Annotated[StrictStr, AfterValidator(_size), Looks(r"^[1-9][0-9]{0,8}[KMGT]$")]
TimeOfDay = Annotated[
    StrictStr,
    Form(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", 'a time of day as "HH:MM", in quotes, "00:00" to "23:59"'),
]


def to_minutes(time_of_day: str) -> int:
    """Minutes since midnight."""
    hours, _, minutes = time_of_day.partition(":")
    return int(hours) * 60 + int(minutes)


class RateHours(Model):
    """Limits for certain hours of the day, by the source's own clock."""

    EXAMPLE: ClassVar[object] = {"from": "08:00", "to": "18:00", "uploadKiBps": 2048}

    from_: TimeOfDay = Field(
        alias="from", description='Beginning: "HH:MM" by the source\'s clock.', examples=["08:00"]
    )
    to: TimeOfDay = Field(description='End: "HH:MM"; may be on the next day.', examples=["18:00"])
    upload_kibps: KIBPS | None = Field(
        None,
        alias="uploadKiBps",
        description="Upload in these hours in KiB/s, at least 16. Default: the same as in all other hours.",
    )
    download_kibps: KIBPS | None = Field(
        None,
        alias="downloadKiBps",
        description="Download in these hours in KiB/s, at least 16. Default: the same as in all other hours.",
    )

    def rules(self) -> Iterator[Iterator[Finding]]:
        yield self._require_two_times()
        yield self._require_a_limit()

    def _require_two_times(self) -> Iterator[Finding]:
        if self.from_ == self.to:
            yield Finding(("to",), "is when they begin", "another time than `from`", Fix(value="18:00"))

    def _require_a_limit(self) -> Iterator[Finding]:
        if not self.model_fields_set & {"upload_kibps", "download_kibps"}:
            fix = Fix(add={"uploadKiBps": 2048})
            yield Finding((), "limits nothing", "uploadKiBps, downloadKiBps or both", fix)

    def minutes(self) -> frozenset[int]:
        """The minutes of the day to which the limits apply."""
        begin, end = to_minutes(self.from_), to_minutes(self.to)
        return frozenset(at % _DAY for at in range(begin, end if begin < end else end + _DAY))


class Rate(Model):
    """How fast scheduled backups may use the network."""

    EXAMPLE: ClassVar[object] = {"hours": [RateHours.EXAMPLE]}

    upload_kibps: KIBPS | None = Field(
        None,
        alias="uploadKiBps",
        description="Upload of a scheduled backup in KiB/s, at least 16. Default: no limit.",
    )
    download_kibps: KIBPS | None = Field(
        None,
        alias="downloadKiBps",
        description="Download of a scheduled backup in KiB/s, at least 16. Default: no limit.",
    )
    hours: Annotated[tuple[RateHours, ...], Field(max_length=12)] = Field(
        (),
        description="Other limits at certain hours of the day. A backup that runs when they change is restarted with "
        "the new ones; uploaded data is not uploaded again.",
        examples=[[RateHours.EXAMPLE]],
    )

    def rules(self) -> Iterator[Iterator[Finding]]:
        yield self._refuse_overlaps()

    def _refuse_overlaps(self) -> Iterator[Finding]:
        taken: dict[int, int] = {}
        for index, hours in enumerate(self.hours):
            yield from run_until_unknown(_overlap(index, hours, taken))


def _overlap(index: int, hours: RateHours, taken: dict[int, int]) -> Iterator[Finding]:
    """The overlap with earlier entries. ``taken``: the entry to which each minute of the day belongs."""
    if hours.from_ == hours.to:
        return  # reported by their own rule
    others = {taken.setdefault(minute, index) for minute in sorted(hours.minutes())} - {index}
    if others:
        what = f"overlaps with hours[{min(others)}]"
        yield Finding(("hours", index), what, "each hour of the day at most once", Fix(remove=True))


class Expect(Model):
    """When a backup that made a snapshot still needs a person's attention."""

    shrink_percent: Annotated[StrictInt, Field(ge=0, le=100)] = Field(
        50,
        description="A run ends as unexpected if it stored this much less than the previous snapshot, in files or "
        "bytes in total, or in files of a path: 1 to 100 percent; 0: never. Differences below 20 files "
        "and 10 MiB are ignored.",
    )
    partial_days: Annotated[StrictInt, Field(ge=0, le=366)] = Field(
        7,
        description="Days for which backups may end with unreadable files before the unit fails: 0 to 366.",
    )
    may_be_empty: tuple[BackupPath, ...] = Field(
        (),
        description="Paths, or mount points below them, that may contain no files. Any other is reported if nothing of it is stored.",
        examples=[["/srv/spool"]],
    )
