"""Many command lines of an attacker in one go, and what each got; where each left its mark on the relay, if it did."""

from __future__ import annotations

import base64
import os
import secrets
import select
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from attack_drill.errors import DrillError
from ops.hosts.connection import Host, ssh_environment

# The first bytes of an HTTP/2 server: a SETTINGS frame on stream 0. Of what stands on the relay, only rclone says this.
SETTINGS = b"\x04\x00\x00\x00\x00\x00"
SIDE_BY_SIDE = 2  # a source's own sessions are few, and its real backup may want one
_KEPT = 4000


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """``words`` run on the attacker's host, in a folder of their own, with nothing on stdin."""

    tried: str
    words: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """``code`` 124: its time was up."""

    code: int
    out: bytes
    err: bytes

    @property
    def said(self) -> bytes:
        return self.out + self.err

    @property
    def seen(self) -> str:
        words = self.err.decode(errors="replace").strip().splitlines()
        return f"exit {self.code}, {len(self.out)} bytes{': ' + words[-1] if words else ''}"


def batch(
    host: Host, attempts: Sequence[Attempt], *, seconds: int = 10, side_by_side: int = SIDE_BY_SIDE
) -> list[Ended]:
    """How each ended, in their order."""
    script = [
        "export LC_ALL=C",
        f'run() {{ timeout -k 2 {seconds} "${{@:2}}" </dev/null >$1.out 2>$1.err; echo $? >$1.code; }}',
    ]
    for number, attempt in enumerate(attempts):
        script += [
            f"while (( $(jobs -rp | wc -l) >= {side_by_side} )); do wait -n; done",
            f"run {number} {shlex.join(attempt.words)} &",
        ]
    # A word a line: a number, a code and two texts.
    script += [
        "wait",
        f"for (( n = 0; n < {len(attempts)}; n++ )); do",
        f'echo "$n $(cat $n.code) $(head -c {_KEPT} $n.out | base64 -w0)_ $(tail -c {_KEPT} $n.err | base64 -w0)_"; done',
    ]
    with work_folder(host) as folder:
        patience = 30 + seconds * (len(attempts) // side_by_side + 1)
        done = host.run(
            "bash",
            "-c",
            f"cd {folder} && source /dev/stdin",
            stdin="\n".join(script) + "\n",
            seconds=patience,
        )
    lines = [line.split(" ") for line in done.out.splitlines()]
    if len(lines) != len(attempts):
        raise DrillError(f"of {len(attempts)} attempts on {host.name} {len(lines)} were told")
    return [Ended(code=int(code), out=_bytes(out), err=_bytes(err)) for _, code, out, err in lines]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.removesuffix("_"))


@contextmanager
def work_folder(host: Host) -> Iterator[str]:
    """A folder in memory, root's alone; named so that the next drill removes what a killed one left."""
    folder = f"/run/lastcopy-drill-{secrets.token_hex(3)}"
    host.run("mkdir", "-m", "700", folder)
    try:
        yield folder
    finally:
        host.run("rm", "-rf", folder, check=False)


@dataclass(frozen=True)
class Marks:
    """Names of files on the relay that a command leaves when it is run there."""

    relay: Host
    stem: str

    def name(self, number: int) -> str:
        return f"/tmp/{self.stem}.{number}"  # noqa: S108  # on the relay, where every account may write; the name cannot be guessed

    def left(self) -> set[int]:
        found = self.relay.shell(f"ls -d /tmp/{self.stem}.* 2>/dev/null", check=False).out.split()
        return {int(name.rsplit(".", 1)[1]) for name in found}


@contextmanager
def marks(relay: Host) -> Iterator[Marks]:
    stem = f"lastcopy-drill-{secrets.token_hex(3)}"
    try:
        yield Marks(relay, stem)
    finally:
        relay.shell(f"rm -rf /tmp/{stem}.*", check=False)


def only_rclone(ended: Ended) -> bool:
    """What came back is HTTP/2 or nothing, and no command's words."""
    return (not ended.out or SETTINGS in ended.out[:16]) and not any(
        word in ended.said for word in (b"uid=", b"root:", b"/dev/pts")
    )


@dataclass
class Held:
    """A connection that stays open. ``first``: what came by itself; ``err``: all of stderr, once it is closed."""

    first: bytes
    err: bytes = b""


@contextmanager
def held_open(host: Host, *words: str, seconds: float = 30) -> Iterator[Held]:
    """A command on a host whose stdin stays open within; begun when it said something, or after ``seconds``."""
    process = subprocess.Popen(
        host.words(*words), env=ssh_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip
    if not process.stdin or not process.stdout or not process.stderr:
        raise AssertionError("three pipes were asked for")
    held = Held(b"")
    try:
        if select.select([process.stdout], [], [], seconds)[0]:
            held.first = os.read(process.stdout.fileno(), 4096)
        yield held
    finally:
        try:
            held.err = process.communicate(timeout=15)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            held.err = process.communicate()[1]


def cursor(host: Host) -> str:
    """Where the host's journal ends now."""
    said = host.run("journalctl", "-n", "0", "--show-cursor", "--no-pager").out
    return said.partition("cursor: ")[2].strip()


def journal(host: Host, since: str, *words: str) -> list[str]:
    """The journal's lines since a cursor."""
    return host.run("journalctl", "--no-pager", "-o", "cat", "--after-cursor", since, *words).out.splitlines()


def each(attempts: Iterable[tuple[str, Sequence[str]]]) -> list[Attempt]:
    return [Attempt(tried=tried, words=words) for tried, words in attempts]
