"""run-backup prints one line of readable text, whatever the path or the output of other programs in it."""

from __future__ import annotations

import json
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.host.program_texts import COMPONENTS
from ops.status.last_run import parse_last_run
from tests.examples import few

SCRIPT = (COMPONENTS / "source" / "schedule" / "run-backup").read_text()
PLAIN = SCRIPT[SCRIPT.index("\nplain() {") : SCRIPT.index("\n}", SCRIPT.index("\nplain() {")) + 3]
TEXT = next(line for line in SCRIPT.splitlines() if line.startswith("text() {"))


def text(said: bytes, plain: str = PLAIN) -> bytes:
    """What the script writes into status.json for it."""
    done = subprocess.run(
        ["sh", "-eu", "-c", f'{plain}\n{TEXT}\ntext "$(cat)"'],
        input=said,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout


READABLE = {
    "umlauts": "/srv/Büro does not exist. Restore or create it",
    "other scripts": "/srv/写真/Фото/صور/תמונות",
    "emoji": "/srv/📷",
    "quotes": '/srv/a "b" \\c/Grüße',
}


@pytest.mark.parametrize("said", READABLE.values(), ids=READABLE)
def test_a_path_is_readable_in_the_record_and_in_status(said: str) -> None:
    written = text(said.encode())
    assert json.loads(written) == said
    run = parse_last_run(
        json.dumps({"message": json.loads(written), "findings": [said], "result": "unexpected"})
    )
    assert said.replace("\\", "\\\\") in run.alarm


def test_sabotage_without_care_for_utf_8_such_a_path_is_unreadable() -> None:
    """As it was until November 2026."""
    old = "plain() { tr -cd '[:print:]' | cut -c 1-300; }"
    assert json.loads(text("/srv/Büro".encode(), old)) == "/srv/Bro"


HOSTILE = {
    b"a\x1b[2Jb\x07": "a[2Jb",
    b"two\nlines\r\tand a tab": "twolinesand a tab",
    "c1: \x9b2J\x85".encode(): "c1: 2J",
    "\u202egnp.exe \u2066x\u2069 \u200fy\u061c \ufeffz\u200b": "gnp.exe x y z",
    b"not UTF-8: \xff\xc3 \xed\xa0\x80 B\xfcro": "not UTF-8:   Bro",
    "ü".encode() * 400: "ü" * 300,
    b"x" * 299 + "üü".encode(): "x" * 299 + "ü",
    "📷".encode() * 400: "📷" * 300,
}


@pytest.mark.parametrize("said", HOSTILE, ids=map(str, range(len(HOSTILE))))
def test_text_that_could_harm_a_terminal_or_the_json_is_dropped(said: bytes | str) -> None:
    raw = said.encode() if isinstance(said, str) else said
    assert json.loads(text(raw)) == HOSTILE[said]


@few
@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda one: one.encode(errors="surrogatepass")))
def test_the_record_is_always_json_in_one_printable_line(said: bytes) -> None:
    kept = json.loads(text(said.replace(b"\0", b"")))
    assert len(kept) <= 300
    assert not {unicodedata.category(one) for one in kept} & {"Cc", "Cs", "Zl", "Zp"}
