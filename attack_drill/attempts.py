"""Runs many of an attacker's command lines in one batch, and finds which of them left a mark on the relay."""

from __future__ import annotations

import base64
import os
import secrets
import select
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from attack_drill.errors import DrillError
from attack_drill.scratch_folder import scratch_folder
from ops.hosts.connection import SshHost, ssh_environment

# How an HTTP/2 server begins: a SETTINGS frame on stream 0. On the relay only rclone sends this.
SETTINGS = b"\x04\x00\x00\x00\x00\x00"
SIDE_BY_SIDE = 2  # a source has few sessions, and its real backup may need one
_KEPT = 4000  # bytes of each output


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A command that is run on the attacker's host, in a scratch folder, with nothing on stdin."""

    tried: str
    words: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class AttemptResult:
    """How an attempt ended; exit code 124 means that its time ran out."""

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


def run_attempts(
    host: SshHost, attempts: Sequence[Attempt], *, seconds: int = 10, side_by_side: int = SIDE_BY_SIDE
) -> list[AttemptResult]:
    """Run attempts on a host.

    Args:
        host: The host to run them on.
        attempts: The commands.
        seconds: The time limit of each attempt.
        side_by_side: How many run in parallel.

    Returns:
        How each ended, in the order of the attempts.
    """
    script = [
        "export LC_ALL=C",
        f'run() {{ timeout -k 2 {seconds} "${{@:2}}" </dev/null >$1.out 2>$1.err; echo $? >$1.code; }}',
    ]
    for number, attempt in enumerate(attempts):
        script += [
            f"while (( $(jobs -rp | wc -l) >= {side_by_side} )); do wait -n; done",
            f"run {number} {shlex.join(attempt.words)} &",
        ]
    # One line each: number, exit code, and both outputs in base64.
    script += [
        "wait",
        f"for (( n = 0; n < {len(attempts)}; n++ )); do",
        f'echo "$n $(cat $n.code) $(head -c {_KEPT} $n.out | base64 -w0)_ $(tail -c {_KEPT} $n.err | base64 -w0)_"; done',
    ]
    with scratch_folder(host) as folder:
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
        raise DrillError(f"{host.name} reported {len(lines)} of {len(attempts)} attempts")
    return [AttemptResult(code=int(code), out=_bytes(out), err=_bytes(err)) for _, code, out, err in lines]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.removesuffix("_"))


@dataclass(frozen=True)
class Marks:
    """Names of files that an attempt creates on the relay if its command is run there."""

    relay: SshHost
    stem: str

    def name(self, number: int) -> str:
        return f"/tmp/{self.stem}.{number}"  # noqa: S108  # on the relay, where every account may write; the name cannot be guessed

    def left(self) -> set[int]:
        """The numbers of the names that exist now."""
        found = self.relay.shell(f"ls -d /tmp/{self.stem}.* 2>/dev/null", check=False).out.split()
        return {int(name.rsplit(".", 1)[1]) for name in found}


@contextmanager
def track_marks(relay: SshHost) -> Iterator[Marks]:
    """Names for attempts to create files with, which are removed afterwards."""
    stem = f"lastcopy-drill-{secrets.token_hex(3)}"
    try:
        yield Marks(relay, stem)
    finally:
        relay.shell(f"rm -rf /tmp/{stem}.*", check=False)


def shows_only_rclone(ended: AttemptResult) -> bool:
    """Whether the output is that of rclone's HTTP/2 server, or none at all, and not that of another command."""
    return (not ended.out or SETTINGS in ended.out[:16]) and not any(
        word in ended.said for word in (b"uid=", b"root:", b"/dev/pts")
    )


@dataclass
class OpenConnection:
    """A connection that stays open.

    Args:
        first: What the other side sent first.
        err: All of stderr, once the connection is closed.
    """

    first: bytes
    err: bytes = b""


@contextmanager
def hold_open(host: SshHost, *words: str, seconds: float = 30) -> Iterator[OpenConnection]:
    """Run a command on a host and keep its stdin open. Yields when it has sent something, or after ``seconds``."""
    process = subprocess.Popen(
        host.words(*words), env=ssh_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip
    if not process.stdin or not process.stdout or not process.stderr:
        raise AssertionError("a pipe is missing")
    held = OpenConnection(b"")
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


def journal_cursor(host: SshHost) -> str:
    """The end of the host's journal now."""
    said = host.run("journalctl", "-n", "0", "--show-cursor", "--no-pager").out
    return said.partition("cursor: ")[2].strip()


def read_journal(host: SshHost, since: str, *words: str) -> list[str]:
    """The journal's lines after a cursor."""
    return host.run("journalctl", "--no-pager", "-o", "cat", "--after-cursor", since, *words).out.splitlines()
