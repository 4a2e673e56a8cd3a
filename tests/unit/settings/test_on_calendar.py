"""When systemd runs a schedule: the evaluator compared with `systemd-analyze calendar`, and the default that no zone's clock skips."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.settings.on_calendar import OnCalendar
from components.settings.silence import find_silence_limit, warn_of_lost_night
from components.settings.sources import DEFAULT_DELAY, DEFAULT_SCHEDULE
from tests.examples import few

OLD_DEFAULT = "*-*-* 02:00:00"
# One for each hour over which a clock is put forward; half an hour, a quarter past, two hours; a rule by the moon; none.
ZONES = (
    "Europe/Berlin", "America/New_York", "Europe/London", "Europe/Athens", "Africa/Cairo", "America/Santiago", "America/Nuuk",
    "Pacific/Easter", "Australia/Lord_Howe", "Pacific/Chatham", "Antarctica/Troll", "Africa/Casablanca", "Asia/Kolkata", "UTC",
)  # fmt: skip


def systemd(zone: str, since: datetime, runs: int, *events: str) -> list[list[datetime] | None]:
    """What this machine's systemd answers, in UTC, event by event; None: it does not take the event."""
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: apt-get install systemd"
    base = f"{since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    answers: list[list[datetime] | None] = []
    for event in events:
        done = subprocess.run(
            [program, "calendar", f"--iterations={runs}", f"--base-time={base}", "--", event],
            env={"TZ": zone, "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        # "Next elapse: Sun 2027-03-28 02:00:00 UTC" where the zone is UTC, else a line "(in UTC): …" below it.
        found = re.findall(r": \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC$", done.stdout, re.MULTILINE)
        moments = [datetime.fromisoformat(f"{one}+00:00") for one in found]
        answers.append(moments if done.returncode == 0 else None)
    return answers


def ours(event: str, zone: str, since: datetime, runs: int) -> list[datetime]:
    parsed = OnCalendar.parse(event)
    assert parsed is not None
    tz = ZoneInfo(parsed.zone or zone)
    days = since.date() - timedelta(days=1), since.date() + timedelta(days=60 * 366)
    found = []
    for at in parsed.runs(*days, tz):
        if at > since:
            found.append(at)
            if len(found) == runs:
                break
    return found


EVENTS = (
    OLD_DEFAULT, DEFAULT_SCHEDULE, "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "annually",
    "Mon..Fri 22:30", "Mon,Thu *-*-* 01:15", "*-*-1,15 03:00 Europe/Berlin", "*:0/30", "Sat", "02:00", "Sun 02:30", "*-02-29 3:05",
    "*-*-31 23:59:59", "*-1..3,7-1/9 00,12:30", "0/5:07", "Mon *-*-1..7 04:00", "2028/2-06-01 04:00", "daily UTC", "2..4:0,30:0/20",
)  # fmt: skip


def same(left: list[datetime], right: list[datetime], zone: str) -> bool:
    """Equal; where a clock is put back and a time comes twice, glibc may take either of the two."""
    tz = ZoneInfo(zone)

    def local(moment: datetime) -> datetime:
        return moment.astimezone(tz).replace(tzinfo=None)

    return len(left) == len(right) and all(
        a == b or (local(a) == local(b) and abs(a - b) <= timedelta(hours=3))
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Africa/Cairo", "Antarctica/Troll"])
def test_the_evaluator_computes_the_same_times_as_systemd(zone: str) -> None:
    since = datetime(2027, 3, 20, 12, tzinfo=UTC)
    for event, answer in zip(EVENTS, systemd(zone, since, 12, *EVENTS), strict=True):
        assert answer is not None, event
        assert same(ours(event, zone, since, 12), answer, OnCalendar.parse(event).zone or zone), event  # type: ignore[union-attr]


NUMBERS = st.one_of(st.integers(1, 12), st.integers(0, 33)).map(str)
ITEM = st.one_of(
    NUMBERS,
    st.tuples(NUMBERS, NUMBERS).map("..".join),
    st.tuples(NUMBERS, st.integers(0, 9).map(str)).map("/".join),
    st.tuples(NUMBERS, NUMBERS, st.integers(1, 9).map(str)).map(lambda it: f"{it[0]}..{it[1]}/{it[2]}"),
)
FIELD = st.one_of(st.just("*"), st.lists(ITEM, min_size=1, max_size=3).map(",".join))
DATE = st.tuples(st.just("*"), FIELD, FIELD).map("-".join)
TIME = st.lists(FIELD, min_size=2, max_size=3).map(":".join)
DAYS = st.sampled_from(
    ["Mon", "Tue,Sat", "Wed..Fri", "Fri..Mon", "Sunday", "Mon..Wed,Sun", "Thurs", "Mon..Tue..Wed"]
)
EVENT = st.one_of(
    st.tuples(DAYS, TIME).map(" ".join), st.tuples(DATE, TIME).map(" ".join), TIME, DATE,
    st.lists(st.one_of(DAYS, DATE, TIME), min_size=1, max_size=4).map(" ".join),
)  # fmt: skip


@few
@given(EVENT, st.sampled_from(["UTC", "Europe/Berlin"]))
def test_systemd_accepts_what_is_accepted_here_and_both_mean_the_same(event: str, zone: str) -> None:
    assume(OnCalendar.parse(event) is not None)
    since = datetime(2027, 10, 29, 12, tzinfo=UTC)
    (answer,) = systemd(zone, since, 5, event)
    assert answer is not None
    assert same(ours(event, zone, since, len(answer)), answer, zone)
    assert answer or not ours(event, zone, since, 1)


@pytest.mark.parametrize(
    "event",
    [
        "*:*/5",
        "Fri..Mon 04:00",
        "Mon..Wed..Fri 04:00",
        "Thurs",
        "Monsday",
        "*-*-23/9",
        "*-*-*/2 04:00",
        "24:00",
    ],
)
def test_what_systemd_refuses_is_refused_in_the_preview(event: str) -> None:
    assert systemd("UTC", datetime(2027, 1, 1, tzinfo=UTC), 1, event) == [None]
    assert OnCalendar.parse(event) is None


@pytest.mark.parametrize("zone", ZONES)
def test_by_default_no_night_is_without_a_backup(zone: str) -> None:
    """systemd's own answer over two years of nights, and the old default's lost night where the zone has one."""
    since = datetime(2026, 12, 31, 0, tzinfo=UTC)
    new, old = systemd(zone, since, 750, DEFAULT_SCHEDULE, OLD_DEFAULT)
    assert new
    assert old
    nights = [at.astimezone(ZoneInfo(zone)).date() for at in new]
    assert {b - a for a, b in pairwise(nights)} == {timedelta(days=1)}
    lost = max(b - a for a, b in pairwise(old)) > timedelta(hours=26)
    event = OnCalendar.parse(OLD_DEFAULT)
    assert event is not None
    assert (event.loses_runs(ZoneInfo(zone), date(2026, 12, 31)) is not None) is lost


def test_no_zone_of_the_world_skips_the_default() -> None:
    """Every zone from 2026 to 2040, in each ten days in which its clock changes."""
    event, old = OnCalendar.parse(DEFAULT_SCHEDULE), OnCalendar.parse(OLD_DEFAULT)
    assert event is not None
    assert old is not None
    zones = sorted(available_timezones())
    assert len(zones) > 400, "this machine's time zones are missing: apt-get install tzdata"
    ten = timedelta(days=10)
    starts = [datetime(2026, 1, 1) + number * ten for number in range(15 * 36 + 8)]
    lost = set()
    for zone in zones:
        tz = ZoneInfo(zone)
        offsets = [start.replace(tzinfo=tz).utcoffset() for start in starts]
        for start, (before, after) in zip(starts, pairwise(offsets), strict=False):
            if before != after:
                days = start.date(), (start + ten).date()
                assert sum(1 for _ in event.runs(*days, tz)) == 11, (zone, start)
                if sum(1 for _ in old.runs(*days, tz)) < 11:
                    lost.add(zone)
    assert len(lost) > 100, "the old default loses nights in most of Europe and North America"


def test_the_warning_about_a_lost_night_has_its_date_and_alternatives() -> None:
    today = date(2027, 1, 1)
    told = warn_of_lost_night("web1", OLD_DEFAULT, "Europe/Berlin", today)
    assert told is not None
    assert "NO BACKUP of web1 on 2027-03-28" in told
    assert "between 04:00 and 21:59" in told
    assert warn_of_lost_night("web1", "Sun 02:30 Europe/Berlin", "Europe/Berlin", today)
    for schedule, zone in (
        (OLD_DEFAULT, "UTC"), (OLD_DEFAULT, "Africa/Cairo"), (DEFAULT_SCHEDULE, "Europe/Berlin"), ("hourly", "Europe/Berlin"),
        (OLD_DEFAULT, "Europe/Nowhere"), (OLD_DEFAULT, "a zone\nof lies"), ("*:*:*", "Europe/Berlin"), ("daily", "Europe/Berlin"),
    ):  # fmt: skip
        assert warn_of_lost_night("web1", schedule, zone, today) is None, (schedule, zone)
    assert "2034" in (warn_of_lost_night("web1", OLD_DEFAULT, "Europe/Berlin", date(2033, 4, 1)) or "")


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        (DEFAULT_SCHEDULE, 28),
        ("*-*-* 04:00:00 UTC", 27),
        ("hourly", 5),
        ("weekly", 172),
        ("Mon..Fri 22:30 UTC", 75),
        ("monthly", 748),
        ("quarterly", 24 * 92 + 4),
        ("*-02-29 04:00 UTC", 24 * 1461 + 3),
        ("*-*-* 02:00:00 Europe/Berlin", 50),
        ("*-*-* 04:00:00 Europe/Berlin", 28),
    ],
)
def test_silence_is_the_longest_pause_plus_the_time_of_a_backup(schedule: str, hours: int) -> None:
    assert find_silence_limit(schedule, DEFAULT_DELAY) == hours


@pytest.mark.parametrize(
    "schedule", ["*-02-30 04:00", "2027-01-01 04:00", "2020..2021-02-29 04:00", "every night"]
)
def test_a_schedule_that_never_recurs_has_no_pause(schedule: str) -> None:
    assert find_silence_limit(schedule, DEFAULT_DELAY) is None


@few
@given(st.sampled_from(EVENTS), st.sampled_from(ZONES))
def test_the_longest_gap_is_the_longest_of_all_runs(event: str, zone: str) -> None:
    """The fast way over whole days compared with the slow way over every run of a year."""
    parsed = OnCalendar.parse(event)
    assert parsed is not None
    tz = ZoneInfo(parsed.zone or zone)
    runs = list(parsed.runs(date(2027, 1, 1), date(2034, 12, 31), tz))
    assert parsed.longest_gap(tz) == max(b - a for a, b in pairwise(runs))
