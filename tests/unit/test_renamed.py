"""tests/renamed.tsv leads from the name that a test had before it was renamed or merged to the test, row or file that proves the same now."""

from __future__ import annotations

import ast

from toolchain.checkout import ROOT


def read_successors(text: str) -> dict[str, str]:
    """Old name -> new name, or the file that took the promise over."""
    return dict(line.split("\t") for line in text.splitlines())


def missing_successors(successors: dict[str, str], names: set[str]) -> list[str]:
    """Old names whose successor is neither a test nor a file, or that are still in use themselves."""
    return sorted(
        old
        for old, new in successors.items()
        if old in names or not (new in names or ("/" in new and (ROOT / new).is_file()))
    )


def _names_of_tests() -> set[str]:
    trees = (ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("*.py"))
    functions = (one for tree in trees for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))
    return {one.name for one in functions if one.name.startswith("test_")}


def test_every_renamed_test_has_its_successor() -> None:
    text = (ROOT / "tests" / "renamed.tsv").read_text()
    assert text.splitlines() == sorted(set(text.splitlines()))
    assert missing_successors(read_successors(text), _names_of_tests()) == []


def test_sabotage_a_successor_that_does_not_exist_is_noticed() -> None:
    successors = {
        "test_old": "test_new",
        "test_merged": "attack_drill/rows/a3.py",
        "test_lost": "tests/nowhere.py",
    }
    assert missing_successors(successors, {"test_new"}) == ["test_lost"]
    assert missing_successors(successors, {"test_old"}) == ["test_lost", "test_old"]
