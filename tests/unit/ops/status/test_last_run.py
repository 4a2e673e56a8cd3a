"""A9 in `lastcopy status --hosts`: what a host reports about its last backup is shown, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.status.health import HealthLimits, as_data, judge
from ops.status.last_run import LastRun, parse_last_run
from tests.unit.ops.history.model import healthy


def told(**changes: Any) -> LastRun:
    whole = {
        "result": "success",
        "exit_code": 0,
        "message": "fine",
        "last_end": "2026-11-28T02:00:00Z",
        "findings": [],
    }
    return parse_last_run(json.dumps({**whole, **changes}))


@pytest.mark.parametrize(
    ("run", "alarm"),
    [
        (told(), ""),
        (told(result="partial", exit_code=3), ""),
        (told(result="outage", exit_code=74), ""),
        (
            told(result="unexpected", exit_code=72, findings=["/a is empty", "/b is a link"]),
            "LAST BACKUP NOT AS EXPECTED: /a is empty; /b is a link",
        ),
        (told(result="partial", exit_code=77, message="2 files"), "FILES UNREADABLE FOR DAYS: 2 files"),
        (told(result="refused", exit_code=67, message="no key"), "BACKUPS REFUSED: no key"),
        (told(clock_ahead_seconds=0), ""),
        (told(clock_ahead_seconds=3600), "CLOCK WRONG: 3600 s ahead of the relay's"),
        (
            told(result="unexpected", exit_code=72, findings=["/a is empty"], clock_ahead_seconds=-301),
            "LAST BACKUP NOT AS EXPECTED: /a is empty; CLOCK WRONG: 301 s behind the relay's",
        ),
    ],
)
def test_a9_only_what_needs_a_person_is_a_problem(run: LastRun, alarm: str) -> None:
    assert run.alarm == alarm
    store = healthy()
    seen = judge("web1", store.entries, store.history(), [], store.now, HealthLimits())
    heard = seen.with_last_run(run, HealthLimits())
    assert [problem.what for problem in heard.problems] == (
        [f"{alarm} (its host, 2026-11-28T02:00:00Z)"] if alarm else []
    )
    assert as_data(heard)["lastRun"]["result"] == run.result
    assert as_data(seen)["lastRun"] is None
    assert ("NOT AS EXPECTED" in str(heard.later(1, HealthLimits()).problems)) == ("NOT AS EXPECTED" in alarm)


def test_silence_is_judged_by_the_storage_whatever_the_host_reports() -> None:
    store = healthy()
    store.wait(hours=30)
    seen = judge("web1", store.entries, store.history(), [], store.now, HealthLimits()).with_last_run(
        told(), HealthLimits()
    )
    assert "SILENT" in seen.problems[0].what


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\x1b[2J", "[" * 60_000])
def test_an_invalid_record_is_reported_and_is_no_problem(text: str) -> None:
    run = parse_last_run(text)
    assert run.not_read
    assert run.alarm == ""


def test_a_hosts_output_cannot_move_the_cursor_or_flood_the_terminal() -> None:
    run = told(
        result="unexpected",
        exit_code="72",
        findings=["\x1b[2J\nevil" * 1000, 3] * 50,
        message={"a": 1},
        last_end=None,
        clock_ahead_seconds=10**1000,
    )
    assert run.alarm.isprintable()
    assert len(run.alarm) < 21 * 402
    assert run.code == 0
