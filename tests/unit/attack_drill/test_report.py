"""What a drill concludes, and its report: nothing weak counts as proof, and nothing from a hostile host reaches the page or the terminal as markup."""

from __future__ import annotations

import json
import re
import stat
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from attack_drill import report
from attack_drill.findings import (
    RowFinding,
    RowResult,
    RowVerdict,
    control,
    failed,
    judged,
    not_played,
    reach_verdict,
)
from attack_drill.options import Level
from attack_drill.runner import choose_rows, play_row
from attack_drill.threats import THREATS
from ops.errors import LastcopyError
from toolchain.files import replace_file

GOOD, HELD = control("reads", True, "200"), judged("delete", True, "403")
BROKEN, DEAD = judged("delete", False, "gone"), control("reads", False, "no answer")
LEFT, ERROR = not_played("overwrite", "needs a scratch repository"), failed("the row", "OSError")


@pytest.mark.parametrize(
    ("findings", "wanted"),
    [
        ((GOOD, HELD), RowVerdict.PROVEN),
        ((GOOD, HELD, LEFT), RowVerdict.IN_PART),
        ((HELD,), RowVerdict.NOT_PROVEN),  # no control: perhaps nothing was reached
        ((GOOD,), RowVerdict.NOT_PROVEN),
        ((GOOD, LEFT), RowVerdict.NOT_PROVEN),
        ((), RowVerdict.NOT_PROVEN),
        ((GOOD, HELD, ERROR), RowVerdict.ERROR),
        ((DEAD, HELD), RowVerdict.ERROR),  # an attack on something that does not work proves nothing
        ((GOOD, HELD, BROKEN, ERROR, LEFT), RowVerdict.BROKEN),
    ],
)
def test_a_row_is_proven_only_by_attempts_that_held_and_a_working_control(
    findings: tuple[RowFinding, ...], wanted: RowVerdict
) -> None:
    assert reach_verdict(findings) is wanted


def result(row: int, *findings: RowFinding) -> RowResult:
    return RowResult(threat=THREATS[row], findings=findings, seconds=1.0)


def run(*results: RowResult, asked: int | None = None) -> report.DrillRun:
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    return report.DrillRun(
        stack="prod<b>",
        source="web1",
        level=Level.SCRATCH,
        started=now,
        ended=now + timedelta(seconds=90),
        results=results,
        asked=len(results) if asked is None else asked,
    )


class Page(HTMLParser):
    """Every tag and every word of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


HOSTILE = "<script>alert(1)</script>\x1b[2J' onload=x \"&amp; \u202e"


def test_hostile_text_stays_text_on_the_page() -> None:
    page = Page(report.as_html(run(result(0, GOOD, judged(HOSTILE, True, HOSTILE)))))
    assert "script" not in page.tags
    assert "b" in page.tags  # the page's own
    assert not {"onload", "src", "href"} & set(page.attributes), "one self-contained file"
    assert "\x1b" not in page.words + report.as_json(run(result(0, judged(HOSTILE, True, HOSTILE))))
    assert "\u202e" not in page.words
    assert "prod<b>" in page.words


def test_the_page_names_every_row_with_its_verdict_broken_ones_first() -> None:
    text = report.as_html(run(result(0, GOOD, HELD), result(3, GOOD, BROKEN), result(11, GOOD, HELD, LEFT)))
    page = Page(text)
    assert "BROKEN: S4." in page.words
    assert "1 of the threat model's 29 rows are proven" in page.words
    assert f"Proven in part or not at all: {THREATS[11].id}" in page.words
    assert re.search(r"<details open><summary><b>S4</b>", text), "what broke is open at once"
    assert not re.search(r"<details open><summary><b>S1</b>", text)


def test_an_interrupted_drill_never_looks_complete() -> None:
    cut = run(result(0, GOOD, HELD), asked=29)
    assert "interrupted after 1 of 29 rows" in Page(report.as_html(cut)).words
    assert json.loads(report.as_json(cut))["whole"] is False


def test_the_json_report_contains_every_finding() -> None:
    told = json.loads(report.as_json(run(result(0, GOOD, HELD), result(3, GOOD, BROKEN))))
    assert told["failed"] is True
    assert told["proven"] == ["S1"]
    assert [row["verdict"] for row in told["rows"]] == ["proven", "broken"]
    assert told["rows"][1]["findings"][1] == {"tried": "delete", "outcome": "broken", "seen": "gone"}


def test_a_report_is_private_to_its_owner_and_replaces_the_last_one_atomically(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    replace_file(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("words", "rows"),
    [(None, 29), ("S", 11), ("r,A", 18), ("s4", 1), ("S1, S11,A8", 3)],
)
def test_rows_are_chosen_by_letter_and_by_id(words: str | None, rows: int) -> None:
    assert len(choose_rows(words)) == rows


@pytest.mark.parametrize("words", ["S12", "X", "S1;S2", ","])
def test_an_unknown_row_is_refused(words: str) -> None:
    with pytest.raises(LastcopyError, match="no row"):
        choose_rows(words)


def test_an_error_in_a_row_is_that_rows_verdict_and_keeps_its_findings() -> None:
    def play(_: object) -> object:
        yield GOOD
        yield HELD
        raise OSError("the line was cut")

    played = play_row(None, THREATS[0], play, lambda _: None)  # type: ignore[arg-type]
    assert played.verdict is RowVerdict.ERROR
    assert [one.tried for one in played.findings[:2]] == ["reads", "delete"]
    assert "the line was cut" in played.findings[2].seen
