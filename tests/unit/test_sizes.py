"""Every file has one subject and can be read in one go; a function fits a screen. For Python, and for programs and scripts on hosts."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from toolchain.checkout import ROOT

LONGEST_FUNCTION = 60  # lines
LONGEST_FILE = 400  # lines
_SHELL = re.compile(r"#!/bin/(sh|bash)|# shellcheck ")
_SHELL_FUNCTION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\(\) [{(](?!.*[})]$)")


def source_files() -> list[Path]:
    """All Python and shell of the repository, tests and docs included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [ROOT / name for name in sorted(listed.stdout.split("\0")) if name]
    return [file for file in files if file.is_file() and (file.suffix in (".py", ".sh") or _is_shell(file))]


def _is_shell(file: Path) -> bool:
    with file.open("rb") as opened:
        return not file.suffix and _SHELL.match(opened.readline().decode(errors="replace")) is not None


def too_long(text: str, *, is_shell: bool = False) -> Iterator[str]:
    """What of this source text is longer than it may be."""
    lines = text.splitlines()
    if len(lines) > LONGEST_FILE:
        yield f"the file: {len(lines)} lines, at most {LONGEST_FILE}: split it by subject"
    if len(lines) <= LONGEST_FUNCTION:
        return
    for name, length in _shell_functions(lines) if is_shell else _functions(text):
        if length > LONGEST_FUNCTION:
            yield f"{name}: {length} lines, at most {LONGEST_FUNCTION}: give its steps names"


def _functions(text: str) -> Iterator[tuple[str, int]]:
    """Each function and its lines. The parameters of a command are the table of its options: they are not counted."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION and "Annotated[" in ast.unparse(node.args):
                lines = node.end_lineno - node.body[0].lineno + 1
            yield node.name, lines


def _shell_functions(lines: list[str]) -> Iterator[tuple[str, int]]:
    """Each function that begins at the margin, and its lines, to the brace at the margin."""
    name, first = "", 0
    for number, line in enumerate(lines):
        if begun := _SHELL_FUNCTION.match(line):
            name, first = begun[1], number
        elif name and line[:1] in ("}", ")"):
            yield name, number - first + 1
            name = ""


def test_every_file_can_be_read_in_one_go() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {one}"
        for file in source_files()
        for one in too_long(file.read_text(), is_shell=file.suffix != ".py")
    ]
    assert found == []


def test_every_kind_of_source_is_looked_at() -> None:
    names = {str(file.relative_to(ROOT)) for file in source_files()}
    assert {
        "__main__.py",
        "components/settings/values.py",
        "components/host/lib.sh",
        "components/source/schedule/run-backup",
        "tests/conftest.py",
        "docs/generate.py",
    } <= names


def test_sabotage_a_long_function_and_a_long_file_are_seen() -> None:
    body = "    pass\n" * LONGEST_FUNCTION
    assert [found.partition(":")[0] for found in too_long(f"def long():\n{body}")] == ["long"]
    assert [found.partition(":")[0] for found in too_long("x = 1\n" * (LONGEST_FILE + 1))] == ["the file"]
    options = f"def verb(\n    one: Annotated[int, 1],\n):\n{body}"
    assert list(too_long(options)) == []
    assert [found.partition(":")[0] for found in too_long(f"{options}    pass\n")] == ["verb"]
    script = "long() {\n" + "  :\n" * LONGEST_FUNCTION + "}\n"
    assert [found.partition(":")[0] for found in too_long(script, is_shell=True)] == ["long"]
