"""The `play` generator of every row, by id. A row that has no module is reported as not played."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, not_played
from attack_drill.threats import THREATS

Play = Callable[[Drill], Iterator[RowFinding]]


def _no_play(_: Drill) -> Iterator[RowFinding]:
    yield not_played("the row", "no attack is written for it yet")


def _play(row: str) -> Play:
    name = f"attack_drill.rows.{row.lower()}"
    if importlib.util.find_spec(name) is None:
        return _no_play
    play: Play = importlib.import_module(name).play
    return play


PLAYS: dict[str, Play] = {threat.id: _play(threat.id) for threat in THREATS}
