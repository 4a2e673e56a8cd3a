"""What the search of row R6 looks for, and what a thief's answers mean. Pure."""

from __future__ import annotations

import base64

import pytest

from attack_drill.model import Outcome
from attack_drill.search import LEAST, PART, forms, part
from attack_drill.storage import Stored
from attack_drill.thief import State, answered, harm

PASSWORD = "pA7_" * 11


def test_of_a_password_only_a_part_is_brought_to_the_host() -> None:
    found = part(PASSWORD)
    assert found is not None
    assert found in PASSWORD
    assert len(found) == PART
    assert part("x" * (LEAST - 1)) is None


@pytest.mark.parametrize("before", range(7))
def test_a_part_is_found_in_whatever_base64_of_something_longer(before: int) -> None:
    word = "0a1B2c3D4e5F"
    whole = base64.b64encode(b"?" * before + word.encode() + b"and more")
    assert any(form in whole for form in forms(word))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("AccessDenied", Outcome.HELD),
        ("InvalidRequest", Outcome.HELD),
        ("NotImplemented", Outcome.HELD),
        ("Nothing", Outcome.HELD),
        ("done", Outcome.BROKEN),
        ("NoSuchKey", Outcome.BROKEN),  # let in, and only the name was missing
        ("not sent: no route", Outcome.ERROR),
        ("SlowDown", Outcome.ERROR),
        ("InternalError", Outcome.ERROR),
    ],
)
def test_only_a_refusal_is_one(code: str, outcome: Outcome) -> None:
    assert answered("delete", code).outcome is outcome


def test_harm_sees_versions_locks_and_settings() -> None:
    one = Stored(key="a", version="1", digest="x", latest=True)
    before = State(stored=[one], locks={("a", "1"): "until then"}, settings={"policy": "ours"})
    assert harm(before, before) == []
    after = State(stored=[], locks={("a", "1"): "until now"}, settings={"policy": "theirs"})
    assert harm(before, after) == ["gone: a", "lock changed: a", "setting changed: policy"]
