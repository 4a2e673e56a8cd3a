"""Rows S8, S9, S10 and A8, which the operator's own tools ensure: each holds on the running stack, and breaks when the tool is weakened."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from attack_drill.findings import RowVerdict
from attack_drill.rows import s8, s9, s10
from ops.prune import prune
from ops.prune.suspicion import PlausibleLimits
from ops.recover.recovery import Recovery
from ops.status import health as status
from tests.drill.conftest import Stage, told
from tests.drill.weakening import edited, without_parts


@pytest.mark.parametrize("row", ["S8", "S9", "S10", "A8"])
def test_the_row_holds(stage: Stage, row: str) -> None:
    result = stage.play(row)
    assert result.verdict is RowVerdict.PROVEN, told(result)


def test_s8_sabotage_a_prune_that_believes_what_snapshots_claim_breaks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = prune.decide

    def trusting(snapshots: Any, keep: Any, _: PlausibleLimits, *more: Any) -> Any:
        honest = [replace(one, host="x", claimed=one.arrived, readable=True) for one in snapshots]
        return decide(honest, keep, PlausibleLimits(most_a_day=10**6), *more)

    monkeypatch.setattr(prune, "decide", trusting)
    without_parts(monkeypatch, s8, "_burst")
    result = stage.play("S8")
    assert result.verdict is RowVerdict.BROKEN, told(result)


def test_s9_sabotage_a_prune_that_reads_no_pack_breaks(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Recovery.check
    monkeypatch.setattr(Recovery, "check", lambda self, at, **_: check(self, at))
    without_parts(monkeypatch, s9, "_keys", "_locks")
    result = stage.play("S9")
    assert result.verdict is RowVerdict.BROKEN, told(result)


def test_s9_sabotage_without_the_key_hint_recovery_breaks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = Recovery.open

    def unhinted(self: Recovery, at: datetime | None) -> Any:
        return replace(opens(self, at), key_hint=None)

    monkeypatch.setattr(Recovery, "open", unhinted)
    without_parts(monkeypatch, s9, "_poison", "_locks")
    result = stage.play("S9")
    assert result.verdict is not RowVerdict.PROVEN, told(result)


def test_s10_sabotage_with_more_sessions_than_promised_it_breaks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_parts(monkeypatch, s10, "_fills", "_growth", "_cut_off")
    with edited(stage, "relay", "/etc/lastcopy/relay/web1/serve.conf", "s/^sessions .*/sessions 30/"):
        result = stage.play("S10")
    assert result.verdict is RowVerdict.BROKEN, told(result)


def test_s10_sabotage_where_the_kernel_counts_but_lets_through_it_breaks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_parts(monkeypatch, s10, "_crowd", "_growth", "_cut_off")
    with edited(stage, "relay", s10.HOLD, 's/quota name "sent" reject.*/quota name "sent" accept/'):
        result = stage.play("S10")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    assert "40 MiB are stored" in told(result)


def test_s10_sabotage_a_cut_off_that_does_not_reach_the_relay_breaks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_parts(monkeypatch, s10, "_crowd", "_fills", "_growth")
    monkeypatch.setattr(s10, "set_cut_off", lambda *_, **__: None)
    result = stage.play("S10")
    assert result.verdict is RowVerdict.BROKEN, told(result)


def test_a8_sabotage_a_status_with_a_stopped_clock_breaks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status.SourceHealth, "silent_hours", property(lambda _: 0.0))
    result = stage.play("A8")
    assert result.verdict is RowVerdict.BROKEN, told(result)
