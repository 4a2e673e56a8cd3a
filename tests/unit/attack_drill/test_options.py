"""What a drill refuses before it touches anything, and which stacks it may harm."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from attack_drill.drill import is_trial
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
        (["--rows", "S99"], "no row S99"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_dialled(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["drill", "--stack", "nowhere", *words])
    assert done.exit_code == 1
    assert said in done.output


def stored(key: str, version: str, digest: str = "d", *, latest: bool = True) -> StoredVersion:
    return StoredVersion(key=key, version=version, digest=digest, latest=latest)


def test_every_harm_to_what_stood_is_seen_and_additions_are_none() -> None:
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
