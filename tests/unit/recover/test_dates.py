"""The history by the times of writing: what a forger's date says, and what the end of the lock says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ops.recover.dates import EARLY, LATE, late_markers, written
from ops.recover.history import Entry, History

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LOCK = timedelta(days=30)
MINUTE = timedelta(minutes=1)


def entry(version: str, at: datetime, order: int, *, name: str = "config", marker: bool = False) -> Entry:
    return Entry(name=name, id=version, at=at, order=order, marker=marker, size=1, etag=version)


def test_honest_dates_change_nothing_a_long_upload_included() -> None:
    history = History([entry("a", T0, 2), entry("b", T0 + LATE / 2, 1)])
    assert written(history, {"a": T0 + LOCK - EARLY / 2, "b": T0 + LOCK}, LOCK) is history
    assert late_markers(history, None) is history


def test_a_version_dated_back_takes_its_place_by_its_writing() -> None:
    """The storage lists the good one as the newer of the two, or the garbage right after it; either way it was an hour later."""
    for told, orders in ((T0 - MINUTE, (1, 2)), (T0 + timedelta(milliseconds=1), (2, 1))):
        history = History([entry("good", T0, orders[0]), entry("garbage", told, orders[1])])
        found = written(history, {"good": T0 + LOCK, "garbage": T0 + LOCK + 60 * MINUTE}, LOCK)
        assert found.misdated == 1
        assert [one.id for one in found.names["config"]] == ["good", "garbage"]
        assert found.view(T0 + MINUTE)["config"].id == "good"
        assert found.view(T0 + 61 * MINUTE)["config"].id == "garbage"


def test_a_date_in_the_future_is_brought_back() -> None:
    history = History([entry("good", T0, 2), entry("garbage", datetime(2099, 1, 1, tzinfo=UTC), 1)])
    found = written(history, {"good": T0 + LOCK, "garbage": T0 + LOCK + MINUTE}, LOCK)
    assert found.last == T0 + MINUTE


def test_what_has_no_lock_keeps_its_date() -> None:
    history = History([entry("a", T0, 1)])
    assert written(history, {}, LOCK) is history


def test_markers_come_last_where_dates_are_forged_but_for_those_before_a_signed_note() -> None:
    old = entry("old", T0 + 2 * MINUTE, 3, name="keys/pruned", marker=True)
    forged = entry("forged", T0 + MINUTE, 2, marker=True)
    garbage = entry("garbage", T0, 1, name="index/x")
    history = History([entry("good", T0, 5), entry("kept", T0, 4, name="keys/pruned"), old, forged, garbage])
    until = {"good": T0 + LOCK, "kept": T0 + LOCK, "garbage": T0 + LOCK + 60 * MINUTE}
    dated = written(history, until, LOCK)
    assert set(late_markers(dated, None).view(T0 + 59 * MINUTE)) == {"config", "keys/pruned"}
    noted = late_markers(dated, T0 + 2 * MINUTE).view(T0 + 59 * MINUTE)
    assert set(noted) == set(), "a marker before the note counts as the note's"
    later = late_markers(dated, T0 + MINUTE).view(T0 + 59 * MINUTE)
    assert set(later) == {"keys/pruned"}
