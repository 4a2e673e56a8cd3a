"""The programs that run on hosts: text made from the files below components/ and identified by its SHA-256. Needs no Pulumi.

A *script* is what a step runs: lib.sh, the preludes that the script names in a line ``# prelude: NAME NAME``, and the script itself. A *program
file* is what a script installs on the host; the script declares it in a line ``# program: VALUE FILE``, and reads it as the value of that name.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import shlex
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

from components.host.safe_text import require_name

COMPONENTS = Path(__file__).parents[1]
_PRELUDES = re.compile(r"^# prelude: ([a-z_ ]+)$", re.MULTILINE)
_PROGRAM_FILES = re.compile(r"^# program: ([A-Z][A-Z0-9_]*) ([a-z][a-z-]*)$", re.MULTILINE)
_IS_A_SCRIPT = re.compile(r"^step_apply\(\)", re.MULTILINE)
_VALUE_NAME = re.compile(r"[A-Z][A-Z0-9_]*\Z")
STORE = "/usr/local/lib/lastcopy/programs"
# Nothing of a script runs before this last line has arrived.
_START = 'main "$@" </dev/null'


@dataclass(frozen=True, kw_only=True)
class Program:
    """A text that runs on a host."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The program's name for reviewers."""
        return f"{self.name} sha256:{self.sha256[:8]}"


def script_path(script: str) -> Path:
    """The file ``<script>.sh`` below components/, in the folder of the component that sends it."""
    found = _scripts_below(COMPONENTS).get(script, ())
    if len(found) != 1:
        raise ValueError(f"components/**/{script}.sh: {len(found)} files, 1 needed")
    return found[0]


@cache
def _scripts_below(folder: Path) -> Mapping[str, Sequence[Path]]:
    """Paths of the scripts by name. Cached, because every step of every host asks several times. The texts themselves are not cached."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.sh")):
        found.setdefault(path.stem, []).append(path)
    return found


def script_program(script: str) -> Program:
    """The script with everything that it shares with others. It defines functions and starts nothing."""
    own = script_path(script).read_text()
    preludes = " ".join(_PRELUDES.findall(own)).split()
    texts = [script_path("lib").read_text(), f"STEP={script}"]
    texts += [script_path(prelude).read_text() for prelude in preludes]
    return Program(name=f"{script}.sh", text="\n".join([*texts, own]))


def program_files(script: str) -> dict[str, Program]:
    """The program files that a script installs, by the name of the value under which it reads them."""
    path = script_path(script)
    return {
        value: Program(name=file, text=path.with_name(file).read_text())
        for value, file in _PROGRAM_FILES.findall(path.read_text())
    }


def stored_program(script: str) -> Program:
    """The script as a host's store has it: with its program files, and with what reads a step's values. It starts nothing either."""
    files = [f"V_{value}={shlex.quote(file.text)}" for value, file in sorted(program_files(script).items())]
    usual = usual_lines(script)
    reader = [line for line in script_path("stored_step").read_text().splitlines() if line[:1] != "#"]
    own = [f"usual={shlex.quote(chr(10).join(usual))}", f"usual_count={max(1, len(usual))}", *reader]
    return Program(name=f"{script}.sh", text="\n".join([script_program(script).text, *files, *own, ""]))


def programs_of(areas: Iterable[str]) -> list[Program]:
    """Every script of these folders below components/, as a host's store has it."""
    return [
        stored_program(path.stem)
        for area in areas
        for path in sorted((COMPONENTS / area).rglob("*.sh"))
        if _IS_A_SCRIPT.search(path.read_text())
    ]


def usual_lines(script: str) -> list[str]:
    """Lines that values of this script's steps usually have: the file ``<script>.usual`` beside it, where there is one."""
    path = script_path(script).with_suffix(".usual")
    return path.read_text().splitlines() if path.exists() else []


def script_text(script: str, values: Mapping[str, str]) -> str:
    """The whole text of a step for a host that has no programs yet: the script, its values, and finally the line that starts it.

    Values are in base64, so that no value can end a quote or become a command. A given value replaces the program file of that name.
    """
    known = {name: file.text for name, file in program_files(script).items()} | dict(values)
    return "\n".join([script_program(script).text, *value_lines(known), _START, ""])


def stored_step_text(script: str, values: Mapping[str, str], *, host: str) -> str:
    """The text of a step for a host whose store has its program: the digest, its values, and last the line that starts it.

    The state keeps it twice, so it is short. The program is read once: what was checked is what runs. ``host``: the name of the host, for
    the error that asks for its programs to be sent again.
    """
    program, sender = stored_program(script), f"urn:**::{require_name(host, 'the host')}-programs"
    refusal = f"error: {program.name} on host $(uname -n) is missing or is not the program that was sent; nothing was run"
    lines = [
        "s(){",
        f"d={program.sha256};f={STORE}/$d",
        "p=$(cat $f;echo .)",
        '[ "$(stat -c%u $f) $(printf %s "${p%.}"|sha256sum)" = "0 $d  -" ]||{',
        f'echo "{refusal}',
        f"  fix: pulumi up --replace '{sender}'\">&2;exit 1;}}",
        'eval "${p%.}"',
        f"values {shlex.quote(abridge(value_text(values), usual_lines(script)))}",
        _START,
        "}",
        's "$@"',
    ]
    return "\n".join([*lines, ""])


def value_text(values: Mapping[str, str]) -> list[str]:
    """Values as lines: each after a line ``:NAME``. A line of a value that would mean something else has a ``+`` before it."""
    _require_value_names(values)
    lines = []
    for name, text in sorted(values.items()):
        if "\0" in text:
            raise ValueError(f"value {name} holds a NUL, which no shell can")
        lines += [f":{name}", *(f"+{line}" if line[:1] in (*":@+",) else line for line in text.split("\n"))]
    return lines


def abridge(lines: Sequence[str], usual: Sequence[str]) -> str:
    """The lines, each run of usual ones as one line ``@FIRST-LAST``; stored_step.sh turns it back."""
    short, at = list[str](), 0
    while at < len(lines):
        first, count = _longest_run(lines[at:], usual)
        literal, reference = lines[at : at + max(1, count)], f"@{first + 1}-{first + count}"
        short += [reference] if count and len(reference) < len("\n".join(literal)) else literal
        at += len(literal)
    return "\n".join(short)


def _longest_run(lines: Sequence[str], usual: Sequence[str]) -> tuple[int, int]:
    """Where among the usual lines the most of the first lines are, and how many."""
    counts = [
        sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(lines, usual[first:], strict=False)))
        for first in range(len(usual))
    ]
    most = max(counts, default=0)
    return (counts.index(most), most) if most else (0, 0)


def archive(programs: Iterable[Program]) -> bytes:
    """The programs as a compressed tar archive, each named after its digest. The same programs give the same bytes."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        for digest, text in sorted({one.sha256: one.text for one in programs}.items()):
            entry = tarfile.TarInfo(digest)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def digest_of(programs: Iterable[Program]) -> str:
    """One SHA-256 for a set of programs."""
    return hashlib.sha256("".join(sorted({one.sha256 for one in programs})).encode()).hexdigest()


def value_lines(values: Mapping[str, str]) -> list[str]:
    """The assignments that hand values to a script."""
    _require_value_names(values)
    return [f"V_{name}={base64.b64encode(text.encode()).decode()}" for name, text in sorted(values.items())]


def _require_value_names(values: Mapping[str, str]) -> None:
    if wrong := [name for name in values if not _VALUE_NAME.match(name)]:
        raise ValueError(f"value names must be A-Z, 0-9 and _: {wrong}")
