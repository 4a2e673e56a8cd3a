"""Run the verb on a test bed as a person would, and list what is left afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ops.__main__ import app
from tests.recover.bed import Bed

# All snapshots of a test come within minutes: only --keep-last can tell them apart.
KEEP = ("--keep-last", "2", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0")


def words(bed: Bed) -> list[str]:
    return [*bed.kit_words(), "--source", bed.access.record.name]


def run(bed: Bed, *more: str, action: str = "run") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["prune", action, *words(bed), *KEEP, *more], env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def plan(bed: Bed, *more: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["prune", "plan", "--json", *words(bed), *KEEP, *more])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def live(bed: Bed) -> set[str]:
    return {name.removeprefix("snapshots/") for name in bed.names() if name.startswith("snapshots/")}


def visible_names(bed: Bed) -> set[str]:
    """The names of all visible objects except restic's locks."""
    return {name for name in bed.names() if not name.startswith("locks/")}


def refused(bed: Bed, *more: str, says: str) -> str:
    """Check that a run changes nothing and says why."""
    before = visible_names(bed), bed.versions()
    code, said = run(bed, *more)
    assert code == 1, said
    assert says in said, said
    assert (visible_names(bed), bed.versions()) == before
    return said


def restores(bed: Bed, snapshot: str, target: Path) -> str:
    with bed.restic(key_hint=bed.access.record.key_id) as repository:
        done = repository.ask("restore", snapshot, "--target", str(target))
        assert done.ok, done.words
    return bed.came_back(target)


def by_arrival(bed: Bed) -> list[str]:
    return [one["id"] for one in plan(bed)["snapshots"]]
