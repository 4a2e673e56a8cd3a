"""Output of a host or a storage reaches the operator's terminal through the prelude of every step: as text, and never as a terminal command (A2, R8)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.host.program_texts import script_text
from toolchain.checkout import ROOT

LIB = (ROOT / "components/host/lib.sh").read_text()
FUNCTIONS = "\n".join(
    re.search(rf"^{name}\(\) \{{.*?(?:\}}$|^\}}$)", LIB, flags=re.MULTILINE | re.DOTALL)[0]  # type: ignore[index]
    for name in ("printable", "json_string")
)


def run(line: str, given: bytes, functions: str = FUNCTIONS) -> str:
    script = f"export LC_ALL=C\n{functions}\n{line}"
    done = subprocess.run(["sh", "-eu", "-c", script], input=given, capture_output=True, check=True)
    return done.stdout.decode()


def is_harmless(text: str) -> bool:
    """Whether it has no character that controls a terminal, ends a line, or hides or reorders text. Python's isprintable() also refuses unassigned ones."""
    hiding = {0x061C, 0xFEFF, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070)}
    return not any(
        unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or ord(one) in hiding for one in text
    )


HOSTILE = {
    "an escape sequence": "\x1b[2J\x1b]0;owned\x07",
    "C1 controls: CSI, OSC, ST": "a\x9b2Jb\x9d0;owned\x9cc\x80\x9f",
    "halves that a removal could join": b"\xc2\xc2\x9b\x9b2J",
    "bytes that are no UTF-8": b"\x9b2J\xff\xfe",
    "a code point above the last one": b"\xf5\x80\x80\x80\xf4\x90\x80\x80\xfc\x84\x80\x80\x80\x80",
    "text that turns": "\u202eowned\u2066\u200b\u061c\ufeff",
    "delete and line separators": "\x7f\u2028\u2029",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_terminal_control_gets_into_a_fact_or_an_error(text: str | bytes) -> None:
    raw = text if isinstance(text, bytes) else text.encode()
    assert json.loads(run('json_string "$(cat)"', raw)).isprintable()
    assert run("printable", raw).isprintable()


def test_ordinary_text_is_unchanged() -> None:
    text = 'Grüße aus "Zürich" \\ 東京 é'
    assert json.loads(run('json_string "$(cat)"', text.encode())) == text
    assert run("printable", f"{text}\n\tnext".encode()) == f"{text}\n\tnext"


def test_without_iconv_an_error_is_printed_in_ascii(tmp_path: Path) -> None:
    for name in ("tr", "sed", "cat"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    said = run("printable", "Z\u00fcrich \x9b2J".encode(), f"PATH={tmp_path}\n{FUNCTIONS}")
    assert said == "Zrich 2J"


@given(st.binary(max_size=80).filter(lambda raw: b"\0" not in raw))
@example(b"\xd7\xb5")  # unassigned, and therefore not "printable"
def test_any_text_becomes_one_json_string(raw: bytes) -> None:
    assert is_harmless(json.loads(run('json_string "$(cat)"', raw)))


def test_sabotage_a_prelude_that_removes_only_ascii_controls_lets_c1_pass() -> None:
    weak = re.sub(r" -e '[^']*xc2[^']*'", "", FUNCTIONS)
    assert weak != FUNCTIONS
    assert not run("printable", "a\x9bb".encode(), weak).isprintable()


def test_problems_of_a_step_go_through_it() -> None:
    assert 'printable <"$WORK/problems" >&2' in script_text("sshd", {})
