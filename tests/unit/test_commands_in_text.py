"""Every `lastcopy …` in an error, a script, a workflow or the Makefile is a valid command. For the docs: test_docs.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit import commands_in_text
from tests.unit.commands_in_text import (
    mistakes_in_lines,
    mistakes_in_program,
    mistakes_in_words_of_a_script,
)
from toolchain.checkout import ROOT

PACKAGES = ("ops", "components", "sandbox", "toolchain", "attack_drill", "policy", "bench", "docs")
PROGRAMS = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
SCRIPTS = [
    file
    for file in sorted((ROOT / "components").rglob("*"))
    if file.is_file() and file.suffix not in (".py", ".pyc", ".json", ".toml")
]
LINES = [
    ROOT / "Makefile",
    ROOT / ".pre-commit-config.yaml",
    ROOT / ".ci/run",
    *sorted((ROOT / ".github").rglob("*.yml")),
    *sorted((ROOT / "docs/ci").glob("*.[sy]*")),
]


def looked_at(files: list[Path], look: Callable[[str], Iterator[str]]) -> list[str]:
    return [f"{file.relative_to(ROOT)}: {one}" for file in files for one in look(file.read_text())]


def test_programs_name_commands_that_exist() -> None:
    assert len(PROGRAMS) > 250
    assert looked_at(PROGRAMS, mistakes_in_program) == []


def test_scripts_for_hosts_name_commands_that_exist() -> None:
    assert any("`lastcopy" in file.read_text() for file in SCRIPTS)
    assert looked_at(SCRIPTS, mistakes_in_words_of_a_script) == []


def test_makefile_and_workflows_run_commands_that_exist() -> None:
    assert [f"{file.relative_to(ROOT)}: {one}" for file in LINES for one in mistakes_in_lines(file)] == []


def test_every_mention_in_the_makefile_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(commands_in_text, "mistakes_of", lambda words, _: seen.append(words) or [])
    assert list(mistakes_in_lines(ROOT / "Makefile")) == []
    text = (ROOT / "Makefile").read_text()
    assert len(seen) == len(re.findall(r"@\$\(LASTCOPY\)|-m (?:ops|sandbox|toolchain)", text)) > 8


@pytest.mark.parametrize(
    "planted",
    [
        'raise E("x", fix="lastcopy recover lok")',
        'raise E("x", fix=f"first `{a}`, then lastcopy recover look --sauce {name}; then again")',
        'raise E("x", fix="python -m sandbox explode --dir x")',
        'raise E("see `lastcopy stats`")',
        'say(f"lastcopy cut-off --source {name} --everything")',
        'say("`lastcopy prune explode --source web1`")',
    ],
)
def test_sabotage_a_wrong_command_in_a_program_is_seen(planted: str) -> None:
    assert list(mistakes_in_program(planted))


@pytest.mark.parametrize(
    "line",
    [
        "lastcopy aws-state --bucket b",
        "  run: .venv/bin/lastcopy check --no-units",
        "\t@$(LASTCOPY) lokal up",
        "entry: .venv/bin/python -m ops check --quick",
        "@$(PY) -m toolchain insure",
    ],
)
def test_sabotage_a_wrong_command_in_a_makefile_or_workflow_is_seen(line: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(line)
    assert list(mistakes_in_lines(tmp_path / "file"))


def test_sabotage_a_wrong_command_in_a_scripts_messages_is_seen() -> None:
    assert list(mistakes_in_words_of_a_script('refuse "x" "see \\`lastcopy tools hosts\\`"'))


@pytest.mark.parametrize(
    "text",
    [
        '"a lastcopy stack"',
        'E("x", fix="lastcopy recover look, then `recover rebuild`: it finds the moment")',
        'E("x", fix=f"{cut}; the next prune removes them")',
        'say("what is restored: `lastcopy recover restore --source NAME … --path`")',
        'say("`lastcopy tools host restic --architecture \\"$(dpkg --print-architecture)\\"`")',
    ],
)
def test_valid_commands_and_other_text_are_not_reported(text: str) -> None:
    assert list(mistakes_in_program(text)) == []
