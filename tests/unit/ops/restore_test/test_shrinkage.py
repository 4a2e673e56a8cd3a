"""A9 as the trusted place sees it: the newest snapshot contains much less than one a week older."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.settings.selection import Expect
from ops.restore_test.shrinkage import PERCENT, SnapshotContents, choose_reference, find_losses, read_contents

NOW = datetime(2026, 11, 28, 2, tzinfo=UTC)
MIB = 1 << 20


def snapshot(
    days: int, files: int = 1000, size: int = 100 * MIB, paths: tuple[str, ...] = ("/srv", "/etc")
) -> SnapshotContents:
    summary = {"total_files_processed": files, "total_bytes_processed": size}
    return read_contents({"paths": list(paths), "summary": summary}, NOW - timedelta(days=days))


def judged(newest: SnapshotContents, *others: SnapshotContents, percent: int = PERCENT) -> list[str]:
    before = choose_reference(newest, [newest, *others])
    return find_losses(newest, before, percent) if before else []


@pytest.mark.parametrize(
    ("newest", "says"),
    [
        (snapshot(0), []),
        (snapshot(0, files=501), []),
        (snapshot(0, files=500), ["it contains 500 files, 1000 before"]),
        (snapshot(0, size=50 * MIB), [f"it contains {50 * MIB} bytes, {100 * MIB} before"]),
        (snapshot(0, files=1, paths=("/etc",)), ["it does not contain /srv"]),
        (snapshot(0, paths=("/srv", "/etc", "/home")), []),
    ],
)
def test_a9_a_loss_of_half_or_of_a_path_is_reported(newest: SnapshotContents, says: list[str]) -> None:
    assert judged(newest, *(snapshot(day) for day in range(1, 20))) == says


def test_a_weekly_restore_test_reports_a_drop_whichever_day_it_came() -> None:
    for drop in range(7):  # days before the test
        history = [snapshot(day, files=10 if day <= drop else 1000) for day in range(30)]
        assert judged(*history), drop
        later = [snapshot(day, files=10 if day <= drop + 7 else 1000) for day in range(30)]
        assert not judged(*later), drop


def test_small_losses_a_first_snapshot_and_missing_numbers_are_not_reported() -> None:
    assert judged(snapshot(0, files=1, size=1), snapshot(1, files=20, size=9 * MIB)) == []
    assert judged(snapshot(0)) == []
    assert judged(read_contents({"paths": ["/srv", "/etc"]}, NOW), snapshot(1)) == []
    assert judged(snapshot(0, files=1), snapshot(1), percent=0) == []
    assert judged(snapshot(0, files=400), snapshot(1), percent=70) == []


def test_the_source_and_the_trusted_place_judge_alike() -> None:
    assert Expect().shrink_percent == PERCENT


@pytest.mark.parametrize(
    "one", [{}, {"summary": 3, "paths": None}, {"summary": {"total_files_processed": "x"}}]
)
def test_a_snapshot_of_any_form_is_read(one: dict[str, Any]) -> None:
    assert read_contents(one, NOW) == SnapshotContents(at=NOW, paths=frozenset(), files=None, size=None)
