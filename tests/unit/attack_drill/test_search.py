"""What the search of row R6 looks for, and what the storage's answers to a stolen identity mean. Pure."""

from __future__ import annotations

import base64

import pytest

from attack_drill.findings import Outcome
from attack_drill.secret_search import LEAST, PART, memory_encodings, middle_part
from attack_drill.stolen_identity import StorageState, find_harm, judge_answer
from attack_drill.storage_admin import StoredVersion

PASSWORD = "pA7_" * 11


def test_only_a_part_of_a_password_is_brought_to_the_host() -> None:
    found = middle_part(PASSWORD)
    assert found is not None
    assert found in PASSWORD
    assert len(found) == PART
    assert middle_part("x" * (LEAST - 1)) is None


@pytest.mark.parametrize("before", range(7))
def test_a_part_is_found_in_the_base64_of_any_longer_text(before: int) -> None:
    word = "0a1B2c3D4e5F"
    whole = base64.b64encode(b"?" * before + word.encode() + b"and more")
    assert any(form in whole for form in memory_encodings(word))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("AccessDenied", Outcome.HELD),
        ("InvalidRequest", Outcome.HELD),
        ("NotImplemented", Outcome.HELD),
        ("Nothing", Outcome.HELD),
        ("done", Outcome.BROKEN),
        ("NoSuchKey", Outcome.BROKEN),  # allowed, and only the name was missing
        ("not sent: no route", Outcome.ERROR),
        ("SlowDown", Outcome.ERROR),
        ("InternalError", Outcome.ERROR),
    ],
)
def test_only_a_refusal_counts_as_one(code: str, outcome: Outcome) -> None:
    assert judge_answer("delete", code).outcome is outcome


def test_harm_sees_versions_locks_and_settings() -> None:
    one = StoredVersion(key="a", version="1", digest="x", latest=True)
    before = StorageState(stored=[one], locks={("a", "1"): "until then"}, settings={"policy": "ours"})
    assert find_harm(before, before) == []
    after = StorageState(stored=[], locks={("a", "1"): "until now"}, settings={"policy": "theirs"})
    assert find_harm(before, after) == ["gone: a", "lock changed: a", "setting changed: policy"]
