"""docs/test-times.md (tests/plugins/times.py): what did not run keeps its row, what no longer exists loses it."""

from __future__ import annotations

from pathlib import Path

from tests.plugins.times import HEADER, merged


def test_only_what_ran_gets_a_new_row(tmp_path: Path) -> None:
    for folder in ("tests/unit", "tests/relay"):
        (tmp_path / folder).mkdir(parents=True)
    first = {
        "`pytest tests`": "| 5 | 9; CPU 7 | here |",
        "tests/gone": "| 1 | 2.0 | here |",
        "tests/relay": "| 1 | 20.0 | here |",
        "tests/unit": "| 3 | 1.0 | here |",
    }
    again = merged(merged("", first, tmp_path), {"tests/unit": "| 4 | 2.0 | there |"}, tmp_path)
    rows = again.splitlines()
    assert rows[rows.index(HEADER[1]) + 1 :] == [
        "| `pytest tests` | 5 | 9; CPU 7 | here |",
        "| tests/relay | 1 | 20.0 | here |",
        "| tests/unit | 4 | 2.0 | there |",
    ]
