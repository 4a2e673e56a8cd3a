"""Functions fit a screen and files have one subject: in the components and what makes the sandbox."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain.checkout import ROOT

LONGEST_FUNCTION = 60  # lines
LONGEST_FILE = 400  # lines
FILES = [
    ROOT / "__main__.py",
    *sorted((ROOT / "components").rglob("*.py")),
    *sorted((ROOT / "sandbox").rglob("*.py")),
]


def too_long(text: str) -> Iterator[str]:
    """What of this source text is longer than it may be."""
    if (lines := len(text.splitlines())) > LONGEST_FILE:
        yield f"the file: {lines} lines, at most {LONGEST_FILE}: split it by subject"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{node.name}: {lines} lines, at most {LONGEST_FUNCTION}: give its steps names"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_can_be_read_in_one_go(file: Path) -> None:
    assert list(too_long(file.read_text())) == []


def test_sabotage_a_long_function_and_a_long_file_are_seen() -> None:
    body = "    pass\n" * LONGEST_FUNCTION
    assert [found.partition(":")[0] for found in too_long(f"def long():\n{body}")] == ["long"]
    assert [found.partition(":")[0] for found in too_long("x = 1\n" * (LONGEST_FILE + 1))] == ["the file"]
