"""docs/test-times.md (tests/plugins/times.py): what did not run keeps its row, what no longer exists loses it."""

from __future__ import annotations

from pathlib import Path

from tests.plugins.times import merged


def test_only_the_groups_that_ran_get_a_new_row(tmp_path: Path) -> None:
    for folder in ("tests/unit", "tests/relay"):
        (tmp_path / folder).mkdir(parents=True)
    first = merged(
        "", {"tests/unit": (3, 1.04), "tests/relay": (1, 20), "tests/gone": (1, 2)}, "here", tmp_path
    )
    again = merged(first, {"tests/unit": (4, 2)}, "there", tmp_path)
    assert [line for line in again.splitlines() if line.startswith("| tests/")] == [
        "| tests/relay | 1 | 20.0 | here |",
        "| tests/unit | 4 | 2.0 | there |",
    ]
