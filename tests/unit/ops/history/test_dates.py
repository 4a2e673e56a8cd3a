"""The history by the true times of writing: a forged date against the end of the lock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ops.errors import LastcopyError
from ops.history.dates import (
    EARLY,
    LATE,
    Retention,
    correct_dates,
    date_markers_last,
    find_common_shift,
    parse_retention,
)
from ops.history.versions import Entry, History

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LOCK = timedelta(days=30)
DEFAULT = (Retention(days=30),)
MINUTE = timedelta(minutes=1)


def entry(version: str, at: datetime, order: int, *, name: str = "config", marker: bool = False) -> Entry:
    return Entry(name=name, id=version, at=at, order=order, marker=marker, size=1, etag=version)


def test_honest_dates_are_unchanged_even_of_a_long_upload() -> None:
    history = History([entry("a", T0, 2), entry("b", T0 + LATE / 2, 1)])
    assert correct_dates(history, {"a": T0 + LOCK - EARLY / 2, "b": T0 + LOCK}, DEFAULT) is history
    assert date_markers_last(history, None) is history


def test_a_backdated_version_is_moved_to_its_time_of_writing() -> None:
    """The storage lists the good version as the newer of the two, or the garbage right after it; in both cases it was written an hour later."""
    for told, orders in ((T0 - MINUTE, (1, 2)), (T0 + timedelta(milliseconds=1), (2, 1))):
        history = History([entry("good", T0, orders[0]), entry("garbage", told, orders[1])])
        found = correct_dates(history, {"good": T0 + LOCK, "garbage": T0 + LOCK + 60 * MINUTE}, DEFAULT)
        assert found.misdated == 1
        assert [one.id for one in found.names["config"]] == ["good", "garbage"]
        assert found.view(T0 + MINUTE)["config"].id == "good"
        assert found.view(T0 + 61 * MINUTE)["config"].id == "garbage"


def test_a_date_in_the_future_is_corrected() -> None:
    history = History([entry("good", T0, 2), entry("garbage", datetime(2099, 1, 1, tzinfo=UTC), 1)])
    found = correct_dates(history, {"good": T0 + LOCK, "garbage": T0 + LOCK + MINUTE}, DEFAULT)
    assert found.last == T0 + MINUTE


def test_a_version_without_a_lock_keeps_its_date() -> None:
    history = History([entry("a", T0, 1)])
    assert correct_dates(history, {}, DEFAULT) is history


def test_with_forged_dates_markers_come_last_except_those_before_a_signed_note() -> None:
    old = entry("old", T0 + 2 * MINUTE, 3, name="keys/pruned", marker=True)
    forged = entry("forged", T0 + MINUTE, 2, marker=True)
    garbage = entry("garbage", T0, 1, name="index/x")
    history = History([entry("good", T0, 5), entry("kept", T0, 4, name="keys/pruned"), old, forged, garbage])
    until = {"good": T0 + LOCK, "kept": T0 + LOCK, "garbage": T0 + LOCK + 60 * MINUTE}
    dated = correct_dates(history, until, DEFAULT)
    assert set(date_markers_last(dated, None).view(T0 + 59 * MINUTE)) == {"config", "keys/pruned"}
    noted = date_markers_last(dated, T0 + 2 * MINUTE).view(T0 + 59 * MINUTE)
    assert set(noted) == set(), "a marker before the note counts as the note's"
    later = date_markers_last(dated, T0 + MINUTE).view(T0 + 59 * MINUTE)
    assert set(later) == {"keys/pruned"}


def locked(days: int, changed: datetime, then: int, *at: datetime) -> tuple[History, dict[str, datetime]]:
    """Honest versions of a bucket whose default retention was ``days`` until ``changed``."""
    entries = [entry(f"v{n}", when, len(at) - n, name=f"keys/{n}") for n, when in enumerate(at)]
    ends = {one.id: one.at + timedelta(days=days if one.at < changed else then) for one in entries}
    return History(entries), ends


@pytest.mark.parametrize(("before", "after"), [(30, 60), (60, 30)])
def test_a_changed_default_retention_does_not_look_like_forgery(before: int, after: int) -> None:
    """If the change is known, every honest date is accepted. If not, all earlier dates are off by the same time, and the error says what to do."""
    changed = T0 + timedelta(days=100)
    times = [T0 + timedelta(days=n) for n in (0, 20, 80, 99, 101, 125, 140)]
    history, until = locked(before, changed, after, *times)
    known = (Retention(days=before, until=changed), Retention(days=after))
    assert correct_dates(history, until, known) is history
    assert find_common_shift(history, history) is None
    doubted = correct_dates(history, until, known[-1:])
    assert doubted.misdated == 4
    assert find_common_shift(history, doubted) == before - after


def test_after_a_change_a_forged_date_is_still_recognised() -> None:
    changed = T0 + timedelta(days=100)
    history, until = locked(30, changed, 60, T0, changed + timedelta(days=5))
    forged = entry("forged", T0 + MINUTE, 9, name="index/x")
    until["forged"] = changed + timedelta(days=66)
    both = History([*(one for found in history.names.values() for one in found), forged])
    found = correct_dates(both, until, (Retention(days=30, until=changed), Retention(days=60)))
    assert found.misdated == 1
    assert found.names["index/x"][0].at == changed + timedelta(days=6)
    assert find_common_shift(both, found) is None


def test_different_forgeries_do_not_look_like_a_changed_default() -> None:
    history = History([entry(f"v{n}", T0, n, name=f"keys/{n}") for n in range(9)])
    until = {f"v{n}": T0 + LOCK + timedelta(days=n, hours=n) for n in range(9)}
    assert find_common_shift(history, correct_dates(history, until, DEFAULT)) is None


@pytest.mark.parametrize("year", [2027, 2028])
def test_years_are_counted_as_the_storage_counts_them(year: int) -> None:
    """By the calendar (a leap year is longer), or as 365 days."""
    for at in (
        datetime(year, 1, 31, tzinfo=UTC),
        datetime(year, 2, 28, tzinfo=UTC),
        datetime(year, 12, 1, tzinfo=UTC),
    ):
        history = History([entry("a", at, 1)])
        for end in (at.replace(year=year + 2), at + timedelta(days=730)):
            assert correct_dates(history, {"a": end}, (Retention(years=2),)) is history
        far = {"a": at.replace(year=year + 2) + timedelta(days=3)}
        assert correct_dates(history, far, (Retention(years=2),)).misdated == 1
    list(
        Retention(years=1).possible_starts(datetime(2028, 2, 29, tzinfo=UTC))
    )  # a day that the previous year does not have


def test_an_earlier_default_is_read_or_refused_with_its_form() -> None:
    assert parse_retention("60@2026-10-01T00:00Z", T0) == Retention(
        days=60, until=datetime(2026, 10, 1, tzinfo=UTC)
    )
    for wrong in (
        "60",
        "0@2026-10-01T00:00:00Z",
        "60@",
        "60@soon",
        "x@2026-10-01T00:00:00Z",
        "60@2099-01-01T00:00:00Z",
    ):
        with pytest.raises(LastcopyError, match="--lock-was"):
            parse_retention(wrong, T0)
