"""Runs commands of the docs exactly as written: in one bash, one command after the other, in a clean home.

A test supplies what a person does between two commands (an editor, a secret at a prompt, real names for the examples); nothing else is changed.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# Each command arrives as a number on standard input: its text, its own standard input and its output are files of that number.
_LOOP = """\
set -eu
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/passwd" /etc/passwd
cd "$2"
folder=$1
shift 2
set +eu
exec 3<&0 4>&1
while IFS= read -r number <&3; do
  . "$folder/$number.sh" <"$folder/$number.in" >"$folder/$number.out" 2>"$folder/$number.err" 3<&- 4>&-
  echo "$?" >&4
done
"""


def blocks(file: Path, heading: str) -> list[str]:
    """The shell blocks of one chapter, from its heading to the next heading of the same level."""
    level = heading.split(" ", 1)[0]
    _, found, rest = f"\n{file.read_text()}".partition(f"\n{heading}\n")
    assert found, f"{file}: no heading {heading!r}"
    chapter = re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```$", chapter, flags=re.DOTALL | re.MULTILINE)


def commands(block: str) -> Iterator[str]:
    """The commands of a block as bash splits them: continued lines, functions and here-documents stay whole."""
    gathered = ""
    for line in block.splitlines(keepends=True):
        gathered += line
        checked = subprocess.run(["bash", "-n"], input=gathered, capture_output=True, text=True, check=False)
        if checked.returncode == 0 and not checked.stderr and not gathered.endswith("\\\n"):
            if gathered.strip() and not gathered.strip().startswith("#"):
                yield gathered
            gathered = ""
    assert not gathered.strip(), f"not a whole command: {gathered}"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended."""

    command: str
    code: int
    out: str
    err: str

    def ok(self) -> Ended:
        """Returns itself, and fails if the command failed."""
        assert self.code == 0, f"$ {self.command}{self.out}{self.err}"
        return self


@dataclass(kw_only=True)
class DocShell:
    """A bash in ``checkout``. ``home`` is its user's home for every program, and the names in ``hosts`` (name -> address) resolve."""

    folder: Path
    checkout: Path
    home: Path
    hosts: Mapping[str, str]
    environment: Mapping[str, str]
    _ran: int = field(default=0, init=False)
    _bash: subprocess.Popen[str] = field(init=False)

    def resolve(self, hosts: Mapping[str, str]) -> None:
        """Make further names resolve."""
        self.hosts = {**self.hosts, **hosts}
        names = "".join(f"{address} {name}\n" for name, address in self.hosts.items())
        (self.folder / "hosts").write_text(
            f"127.0.0.1 localhost\n{names}"
        )  # the file itself, because it is mounted

    def start(self) -> None:
        self.resolve({})
        me = str(os.getuid())
        rows = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
        moved = [[*row[:5], str(self.home), *row[6:]] if row[2] == me else row for row in rows]
        (self.folder / "passwd").write_text("".join(":".join(row) + "\n" for row in moved))
        self._bash = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", "--noprofile", "--norc", "-c", _LOOP, "bash",
             str(self.folder), str(self.checkout)],
            env={"HOME": str(self.home), "LC_ALL": "C.UTF-8", "TERM": "dumb", **self.environment},
            # Without a terminal: prompts for a code or a yes are answered on standard input.
            start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, command: str, *, stdin: str = "", seconds: float = 300) -> Ended:
        """Run one command to its end, in the shell itself, so that exported variables stay."""
        self._ran += 1
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        place = self.folder / str(self._ran)
        place.with_suffix(".sh").write_text(command)
        place.with_suffix(".in").write_text(stdin)
        self._bash.stdin.write(f"{self._ran}\n")
        self._bash.stdin.flush()
        said = [place.with_suffix(end) for end in (".out", ".err")]
        ready, _, _ = select.select([self._bash.stdout], [], [], seconds)
        out, err = (file.read_text(errors="replace") if file.exists() else "" for file in said)
        assert ready, f"no end after {seconds} s: {command}\n{out}{err}"
        answer = self._bash.stdout.readline().strip()
        out, err = (file.read_text(errors="replace") if file.exists() else "" for file in said)
        assert answer.isdecimal(), f"the shell ended in: {command}\n{out}{err}"
        return Ended(command=command, code=int(answer), out=out, err=err)

    def close(self) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait(30)


@contextmanager
def doc_shell(shell: DocShell) -> Iterator[DocShell]:
    """Start the shell, and end it with the block. `lastcopy` is that of the shell's checkout, wherever the packages were installed from."""
    shell.start()
    shell.run('lastcopy() { .venv/bin/python -m ops "$@"; }').ok()
    try:
        yield shell
    finally:
        shell.close()
