"""A drill's report: JSON for programs, one self-contained page for people. Pure but for `write`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from attack_drill.findings import Outcome, RowFinding, RowResult, RowVerdict
from attack_drill.options import Level
from attack_drill.threats import BOUNDARIES, THREATS
from ops.history.versions import iso


@dataclass(frozen=True, kw_only=True)
class DrillRun:
    """One drill that was run.

    Args:
        stack: The stack's name.
        source: The source whose root the attacker was.
        level: How far the drill was allowed to go.
        started: When it began.
        ended: When it ended.
        results: The rows that were played.
        asked: How many rows were requested; with fewer results the drill was interrupted.
    """

    stack: str
    source: str
    level: Level
    started: datetime
    ended: datetime
    results: tuple[RowResult, ...]
    asked: int

    @property
    def whole(self) -> bool:
        return len(self.results) == self.asked

    @property
    def fails(self) -> bool:
        return any(result.fails for result in self.results)

    def of(self, verdict: RowVerdict) -> list[RowResult]:
        return [result for result in self.results if result.verdict is verdict]


def as_data(run: DrillRun) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {
            "row": result.threat.id,
            "tries": result.threat.tries,
            "must": result.threat.must,
            "verdict": result.verdict.value.lower(),
            "seconds": round(result.seconds, 1),
            "findings": [
                {"tried": one.tried, "outcome": one.outcome.value, "seen": one.seen}
                for one in result.findings
            ],
        }
        for result in run.results
    ]
    return {
        "format": 1,
        "stack": run.stack,
        "source": run.source,
        "level": run.level.name.lower(),
        "started": iso(run.started),
        "ended": iso(run.ended),
        "whole": run.whole,
        "failed": run.fails,
        "proven": [result.threat.id for result in run.of(RowVerdict.PROVEN)],
        "rows": rows,
    }


def as_json(run: DrillRun) -> str:
    return json.dumps(as_data(run), indent=1, ensure_ascii=False) + "\n"


_STYLE = Path(__file__).with_name("page.css").read_text()
_CLASS = {
    RowVerdict.PROVEN: "proven",
    RowVerdict.IN_PART: "part",
    RowVerdict.NOT_PROVEN: "part",
    RowVerdict.BROKEN: "bad",
    RowVerdict.ERROR: "bad",
}
_OUTCOME = {
    Outcome.HELD: "proven",
    Outcome.CONTROL: "soft",
    Outcome.NOT_PLAYED: "part",
    Outcome.BROKEN: "bad",
    Outcome.ERROR: "bad",
}


def as_html(run: DrillRun) -> str:
    """One page without scripts, external files or requests. Everything that a host or the storage said is escaped."""
    edge = (
        "--bad"
        if run.fails or not run.whole
        else "--good"
        if len(run.of(RowVerdict.PROVEN)) == len(THREATS)
        else "--part"
    )
    groups = "".join(_group(key, name, run) for key, name in BOUNDARIES.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Attack drill: {escape(run.stack)}, {run.started:%Y-%m-%d}</title><style>{_STYLE}</style></head><body>
<h1>Attack drill of stack {escape(run.stack)}</h1>
<p class="soft">{run.started:%Y-%m-%d %H:%M} to {run.ended:%H:%M} UTC.
Each row of the threat model was attacked on the running stack with the credentials that its attacker would hold.
A verdict is based on what was in the storage and on the hosts afterwards, not on what a program answered.</p>
<div class="head" style="--edge:var({edge})"><p><b>{escape(_conclusion(run))}</b></p>{_conditions(run)}</div>
{groups}
<h2>How to read this</h2>
<p>Open a row to see each attempt and what was seen.
<span class="verdict proven">proven</span>: every attempt was made and held, and what must work did work over the same channel.
<span class="verdict part">in part</span>: what was tried held, but something was not tried; the row says what and why.
<span class="verdict part">not proven</span>: nothing was tried. <span class="verdict bad">BROKEN</span>: an attack succeeded.
<span class="verdict bad">ERROR</span>: the drill could not tell; treat it as broken until it can.</p>
<p class="soft">A drill shows what held on this day against these attempts. It proves nothing about attempts that are not in the list.</p>
</body></html>
"""


def _conclusion(run: DrillRun) -> str:
    words = []
    broken, errors = run.of(RowVerdict.BROKEN), run.of(RowVerdict.ERROR)
    if not run.whole:
        words.append(f"The drill was interrupted after {len(run.results)} of {run.asked} rows.")
    if broken:
        words.append(f"BROKEN: {', '.join(one.threat.id for one in broken)}.")
    if errors:
        words.append(f"ERROR: {', '.join(one.threat.id for one in errors)}.")
    if not broken and not errors:
        words.append("No attack succeeded.")
    words.append(
        f"{len(run.of(RowVerdict.PROVEN))} of the threat model's {len(THREATS)} rows are proven by this drill."
    )
    rest = [*run.of(RowVerdict.IN_PART), *run.of(RowVerdict.NOT_PROVEN)]
    if rest:
        words.append(f"Proven in part or not at all: {', '.join(one.threat.id for one in rest)}.")
    return " ".join(words)


def _conditions(run: DrillRun) -> str:
    counts = Counter(finding.outcome for result in run.results for finding in result.findings)
    level = {
        Level.SAFE: "safe on production: nothing was tried that could do harm if it succeeded",
        Level.SCRATCH: "in scratch repositories that the drill made itself",
        Level.TRIAL: "without limits, on a stack made for trials",
    }[run.level]
    rows = {
        "attacker": f"root on source {run.source}, root on the relay, and a man in the middle"
        if run.source
        else "",
        "level": level,
        "attempts": f"{counts[Outcome.HELD]} held, {counts[Outcome.BROKEN]} succeeded, {counts[Outcome.NOT_PLAYED]} not played, "
        f"{counts[Outcome.ERROR]} unknown; {counts[Outcome.CONTROL]} controls worked",
        "duration": f"{(run.ended - run.started).total_seconds():.0f} s",
    }
    return (
        "<dl>"
        + "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items() if text)
        + "</dl>"
    )


def _group(key: str, name: str, run: DrillRun) -> str:
    played = [result for result in run.results if result.threat.id[0] == key]
    if not played:
        return ""
    return f"<h2>{key}. {escape(name)}</h2>" + "".join(map(_row, played))


def _row(result: RowResult) -> str:
    shown_open = " open" if result.fails else ""
    style = _CLASS[result.verdict]
    lines = "".join(map(_finding, result.findings))
    return (
        f"<details{shown_open}><summary><b>{result.threat.id}</b><span class=what>{escape(result.threat.tries)}<br>"
        f'<span class=soft>must: {escape(result.threat.must)}</span></span><span class="soft">{result.count(Outcome.HELD)} held</span>'
        f'<span class="verdict {style}">{result.verdict.value}</span></summary>'
        f"<table><tr><th>tried<th>outcome<th>seen</tr>{lines}</table></details>"
    )


def _finding(one: RowFinding) -> str:
    return f'<tr><td>{escape(one.tried)}<td class="verdict {_OUTCOME[one.outcome]}">{one.outcome.value}<td><code>{escape(one.seen)}</code></tr>'
