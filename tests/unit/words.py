"""Finds retired words and classes that share a name. The words are those of the last table in docs/glossary.md."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain.checkout import ROOT

GLOSSARY = "docs/glossary.md"
# Folders whose classes must have names of their own. A test may call its class as it likes.
PRODUCT = ("attack_drill", "bench", "components", "docs", "ops", "policy", "sandbox", "toolchain")
_BINARY = {".png", ".gz", ".age", ".ico"}
# Its own words, and those of others: licenses, checksums of dependencies, names that are frozen, what is generated, and older names.
_NOT_READ = (
    "LICENSE",
    "CHANGELOG.md",
    "stacks/schema.json",
    GLOSSARY,
    "tests/unit/words.py",
    "tests/unit/test_words.py",
    "tests/unit/program/golden/",
    "tests/renamed.tsv",
)
# What keeps a retired word, by its exact form: settings, resource names and options, which are interfaces, and an idiom.
INTERFACES = (
    r"ec2\.door\b", r"\"door\"",
    r"\bdoor:? ss[hm]\b", r"\"door: telnet\"", r"\{E\}\.door\b",
    r"\bdoor == \"ss[hm]\"", r"\bdoor: Literal\[\"ssh\", \"ssm\"\]", r"\b(self|args|machine|made|relay)\.door\b", r"\bdoor=(?=$)",
    r"-doors\b", r"\"room\": args\.prefix", r"_POLICY_NAME = \"room\"",
    r"\bstands (in )?for\b", r"--throwaway\b", r"\brestore-drill\b", r"\brestoreDrill\b", r"lastcopy-restore-drill",
)  # fmt: skip


_WITHOUT_INTERFACES = re.compile("|".join(INTERFACES), re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Retired:
    """Words that are no longer used, and what to say instead."""

    words: tuple[str, ...]
    instead: str

    def found_in(self, text: str) -> list[str]:
        """The places where one of them is used, as a word or as a part of a name."""
        if not re.search(rf"(?i){'|'.join(self.words)}".replace(" ", "[ -]"), text):
            return []
        text = _WITHOUT_INTERFACES.sub("", text)
        return [match[0] for word in self.words for match in re.finditer(_pattern(word), text)]


def _pattern(word: str) -> str:
    if " " in word:
        return rf"(?i)\b{word}\b".replace(" ", "[ -]")
    upper, title = word.upper(), word.title()
    return rf"(?<![A-Za-z]){word}(?![A-Za-z])|{title}(?![a-z])|(?<![A-Za-z]){upper}(?![A-Za-z])"


def retired_words(glossary: str) -> list[Retired]:
    """The rows of the glossary's table of retired words."""
    _, _, table = glossary.partition("## Retired words")
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \|$", table, re.MULTILINE)
    return [Retired(words=tuple(re.findall(r"`([^`]+)`", words)), instead=instead) for words, instead in rows]


def terms(glossary: str) -> list[str]:
    """The terms that the glossary defines."""
    before, _, _ = glossary.partition("## Retired words")
    cells = re.findall(r"^\| (\*\*.+?) \|", before, re.MULTILINE)
    return [term for cell in cells for term in re.findall(r"\*\*([^*]+)\*\*", cell)]


def tracked_texts() -> dict[str, str]:
    """Every tracked text file by its path."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    return {
        name: (ROOT / name).read_text(errors="replace")
        for name in files
        if not name.startswith(_NOT_READ) and not name.endswith(".sum") and Path(name).suffix not in _BINARY
    }


def uses(texts: Mapping[str, str], retired: Iterable[Retired]) -> dict[str, list[str]]:
    """For each file that uses retired words: what it uses, how often, and what to say instead."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in retired:
        for name, text in texts.items():
            if hits := one.found_in(f"{name}\n{text}"):
                found[name].append(f"{sorted(set(hits))} ({len(hits)}): say {one.instead}")
    return dict(found)


def same_names(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Classes of the product that share a name, and where each is defined."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, text in texts.items():
        if name.split("/")[0] in PRODUCT and name.endswith(".py"):
            for one in re.findall(r"^class (\w+)", text, re.MULTILINE):
                places[one].append(name)
    return {one: where for one, where in sorted(places.items()) if len(where) > 1}
