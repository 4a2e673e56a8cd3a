"""One word, one meaning: no retired word in any tracked file, no two classes of one name, no term in the glossary that nothing uses."""

from __future__ import annotations

import re

import pytest

from tests.unit.words import (
    GLOSSARY,
    Retired,
    retired_words,
    same_names,
    terms,
    tracked_texts,
    uses,
)
from toolchain.checkout import ROOT

TEXTS = tracked_texts()
ALL = "\n".join(TEXTS.values()).lower()
READ = (ROOT / GLOSSARY).read_text()


def test_no_retired_word_is_used() -> None:
    assert uses(TEXTS, retired_words(READ)) == {}


def test_no_two_classes_of_the_product_have_one_name() -> None:
    assert same_names(TEXTS) == {}


@pytest.mark.parametrize("term", terms(READ))
def test_every_term_of_the_glossary_is_used(term: str) -> None:
    word = re.compile(rf"\b{re.escape(term.lower())}(s|es)?\b")
    assert word.search(ALL), f"nothing but {GLOSSARY} says {term!r}"


# --- the sabotages: what these tests must see ---

ROOM = Retired(words=("room", "rooms"), instead="repository prefix")
LITTLE = Retired(words=("is too little",), instead="must be at least N")


@pytest.mark.parametrize(
    "text",
    [
        "the source's room",
        "two rooms",
        "def rooms_of(",
        "class Room:",
        "ROOM = 1",
        "StorageRoom",
        "a/room.py",
    ],
)
def test_sabotage_a_retired_word_is_seen_in_text_and_in_names(text: str) -> None:
    assert ROOM.found_in(text)
    assert list(uses({"a.py": text}, [ROOM])) == ["a.py"]


@pytest.mark.parametrize("text", ["mushroom", "broom", "Roomy", "bedrooms", "groom_of"])
def test_a_word_that_only_contains_it_is_another_word(text: str) -> None:
    assert not ROOM.found_in(text)


def test_sabotage_a_retired_phrase_is_seen_and_the_message_says_what_to_say() -> None:
    assert uses({"a.md": "3 days is too little"}, [LITTLE]) == {
        "a.md": ["['is too little'] (1): say must be at least N"]
    }


def test_sabotage_a_second_class_of_one_name_is_seen() -> None:
    texts = {
        "ops/a.py": "class Plan:\n",
        "sandbox/b.py": "class Plan(Base):\n",
        "tests/c.py": "class Other:\n",
    }
    assert same_names(texts) == {"Plan": ["ops/a.py", "sandbox/b.py"]}


def test_sabotage_the_glossarys_table_of_retired_words_is_read() -> None:
    found = retired_words(READ)
    assert {"room", "thief", "restore drill"} <= {word for one in found for word in one.words}
    assert all(one.instead for one in found)


def test_an_interface_keeps_its_name() -> None:
    door = Retired(words=("door", "doors"), instead="endpoint")
    assert not door.found_in("intermediate.ec2.door, as in `door: ssm`")
    assert door.found_in("the source's door")
