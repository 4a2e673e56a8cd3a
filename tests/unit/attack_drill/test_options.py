"""What an attack drill refuses before it touches anything, and which stacks it may harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from attack_drill.drill import is_trial
from attack_drill.findings import RowResult, Threat
from attack_drill.rows import PLAYS
from attack_drill.storage_admin import MARKER, StoredVersion, find_losses
from attack_drill.threats import THREATS
from ops.__main__ import app


@pytest.mark.parametrize(
    ("config", "trial"),
    [
        ({"storage": {"sandbox": {}}}, True),
        ({"storage": {"aws": {"bucket": "b", "purpose": "test"}}}, True),
        ({"storage": {"aws": {"bucket": "b", "purpose": "production"}}}, False),
        ({"storage": {"aws": {"bucket": "b"}}}, False),
        ({"storage": {"s3": {"bucket": "b"}}}, False),
        ({"storage": {"rclone": {}}}, False),
        ({}, False),
    ],
)
def test_only_storage_made_for_trials_may_be_harmed(config: dict[str, object], trial: bool) -> None:
    assert is_trial(config) is trial


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scratch"], "--storage-key"),
        (["--throwaway"], "--storage-key"),  # its old name
        (["--trial-stack"], "--storage-key"),
        (["--storage-key", "k", "--sandbox", "."], "one of them"),
        (["--html", "/no/such/folder/x.html"], "there is no folder"),
        (["--json-file", "/no/such/folder/x.json"], "there is no folder"),
        (["--json", "/no/such/folder/x.json"], "where:   --json-file"),  # its old form
        (["--rows", "S99"], "no row S99"),
    ],
)
def test_invalid_options_are_refused_before_any_connection(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["drill", "--stack", "nowhere", *words])
    assert done.exit_code == 1
    assert said in done.output


@pytest.fixture
def nothing_is_attacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drill that finds one row held, without a stack."""

    @contextmanager
    def open_drill(*_: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(source="web1")

    def play_rows(
        _: object, threats: Sequence[Threat], *, on_end: Callable[[RowResult], None], **__: object
    ) -> None:
        on_end(RowResult(threat=threats[0], seconds=0.1, findings=()))

    monkeypatch.setattr("attack_drill.drill.open_drill", open_drill)
    monkeypatch.setattr("attack_drill.runner.play_rows", play_rows)
    monkeypatch.setattr("ops.stack.choose_stack", lambda *_, **__: SimpleNamespace(name="prod"))


@pytest.mark.usefixtures("nothing_is_attacked")
def test_findings_go_to_standard_output_or_to_a_file(tmp_path: Path) -> None:
    words = ["attack-drill", "--stack", "prod", "--rows", "S1"]
    printed = CliRunner().invoke(app, [*words, "--json"])
    told = json.loads(printed.stdout)
    assert (told["stack"], [one["row"] for one in told["rows"]]) == ("prod", ["S1"])
    for number, option in enumerate(("--json-file", "--json")):  # the second: as earlier versions had it
        file = tmp_path / f"{number}.json"
        done = CliRunner().invoke(app, [*words, option, str(file)])
        assert done.exit_code == printed.exit_code, done.output
        assert json.loads(file.read_text())["rows"] == told["rows"]
        assert f"written: {file}" in done.stdout, "messages are on standard output as without it"


@pytest.mark.usefixtures("nothing_is_attacked")
@pytest.mark.parametrize("words", [["x.json"], ["--json-file", "y.json", "--json", "x.json"]])
def test_an_excess_argument_is_a_usage_error(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["attack-drill", "--stack", "prod", "--rows", "S1", *words])
    assert (done.exit_code, "no argument is taken" in done.output, [*tmp_path.iterdir()]) == (2, True, [])


def stored(key: str, version: str, digest: str = "d", *, latest: bool = True) -> StoredVersion:
    return StoredVersion(key=key, version=version, digest=digest, latest=latest)


def test_every_harm_to_existing_objects_is_seen_and_additions_are_not_harm() -> None:
    before = [stored("a", "1"), stored("b", "1"), stored("c", "1"), stored("d", "1")]
    after = [
        stored("a", "1", "other"),
        stored("c", "1", latest=False),
        stored("c", "2", MARKER),
        stored("d", "1", latest=False),
        stored("d", "2"),
        stored("new", "1"),
    ]
    assert find_losses(before, after) == [
        "changed: a",
        "covered by a newer version: d",
        "gone: b",
        "hidden: c",
    ]
    assert find_losses(before, [*before, stored("new", "1")]) == []


def test_every_row_of_the_threat_model_has_a_play() -> None:
    assert list(PLAYS) == [threat.id for threat in THREATS]
    assert len(THREATS) == 29
