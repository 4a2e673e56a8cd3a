"""Shared graphs (tests/unit/recording.py): recorded once, and a test that changes one is found."""

from __future__ import annotations

import pytest

from tests.unit import recording
from tests.unit.recording import Graph, changed_since_recorded, shared


def test_a_shared_graph_is_recorded_once_and_its_change_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_SHARED", [])
    recorded: list[str] = []

    @shared
    def graph_of(name: str) -> Graph:
        recorded.append(name)
        return Graph(exports={"name": name})

    one = graph_of("one")
    assert graph_of("one") is one
    assert graph_of("two") is not one
    assert recorded == ["one", "two"]
    assert changed_since_recorded() == []
    one.exports["name"] = "another"
    assert changed_since_recorded() == [one]
