"""Hosts as the operator reaches them: root by the admin's SSH key, host key pinned, one connection for all commands."""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ops.recover.errors import RecoverError, shown

SECONDS = 120
IDLE = 120  # so long a connection stays without a command, also one whose program was killed


class HostError(RecoverError):
    """A host was not reached, or did not do what was asked of it."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where and how one host is dialled. ``key_file`` None: the ssh agent has the key."""

    name: str
    address: str
    port: int
    user: str
    host_key: str
    key_file: Path | None

    @property
    def where(self) -> str:
        """As errors name it."""
        return f"{self.user}@{self.address} port {self.port}"


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that ended; ``code`` 124 when its time was up."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass(kw_only=True)
class Host:
    """Root on one host. Commands are arguments, never secrets; secrets go on stdin."""

    door: Door
    folder: Path
    _words: list[str] = field(init=False)

    def __post_init__(self) -> None:
        door, alias = self.door, f"lastcopy-{self.door.name}"
        known = self.folder / f"known-{door.name}"
        known.write_text(f"{alias} {' '.join(door.host_key.split()[:2])}\n")
        options = [
            "BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=/dev/null",
            f"HostKeyAlias={alias}", "HostKeyAlgorithms=ssh-ed25519", "UpdateHostKeys=no", "ConnectTimeout=15",
            "ServerAliveInterval=15", "LogLevel=ERROR", "ControlMaster=auto", f"ControlPath={self.folder}/%C",
            f"ControlPersist={IDLE}",
            *(["IdentitiesOnly=yes", "IdentityAgent=none", f"IdentityFile={door.key_file}"] if door.key_file else []),
        ]  # fmt: skip
        self._words = ["ssh", "-F", "none", "-p", str(door.port)]
        self._words += [word for option in options for word in ("-o", option)]
        self._words.append(f"{door.user}@{door.address}")

    @property
    def name(self) -> str:
        return self.door.name

    def words(self, *command: str) -> list[str]:
        """The argument vector that runs ``command`` as root there; for callers that need their own pipes."""
        sudo = [] if self.door.user == "root" else ["sudo", "-n"]
        return [*self._words, "--", shlex.join([*sudo, *command])]

    def run(
        self, *command: str, stdin: str | bytes = b"", seconds: float = SECONDS, check: bool = True
    ) -> Done:
        """One command to its end."""
        sent = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            done = subprocess.run(
                self.words(*command), input=sent, capture_output=True, timeout=seconds, check=False
            )
            found = Done(code=done.returncode, out=_text(done.stdout), err=_text(done.stderr))
        except subprocess.TimeoutExpired as late:
            found = Done(code=124, out=_text(late.stdout or b""), err=_text(late.stderr or b""))
        if found.code == 255 and "HOST IDENTIFICATION HAS CHANGED" in found.err and check:
            raise HostError(
                f"{self.name} shows another host key than the one that is known: another machine answers at its address, or it was set up anew",
                where=self.door.where,
                fix="read the key on its own console (cat /etc/ssh/ssh_host_ed25519_key.pub); give that one where you know why it is new",
            )
        if found.code == 255 and not found.out and "sudo" not in found.err and check:
            raise HostError(
                f"{self.name} was not reached: {shown(found.err.strip()) or 'the connection was closed'}",
                where=self.door.where,
                fix="see to it that this machine reaches it as `pulumi up` does",
            )
        if check and found.code != 0:
            raise HostError(
                f"on {self.name}: {shown(shlex.join(command), 160)} ended with {found.code}: {shown(found.said.strip(), 600)}"
            )
        return found

    def shell(
        self, script: str, *, stdin: str | bytes = b"", seconds: float = SECONDS, check: bool = True
    ) -> Done:
        """A piece of shell."""
        return self.run("sh", "-c", script, stdin=stdin, seconds=seconds, check=check)

    def has(self, path: str) -> bool:
        return self.run("test", "-e", path, check=False).code == 0

    def forward(self, there: str, here: Path) -> None:
        """Connections to the socket ``there`` on the host come out at ``here``, until the connection is closed."""
        self.run("true")  # the connection that carries it
        asked = [*self._words, "-O", "forward", "-R", f"{there}:{here}"]
        done = subprocess.run(asked, capture_output=True, check=False, timeout=60)
        if done.returncode != 0 or not self.has(there):
            raise HostError(
                f"the sshd of {self.name} forwards no socket: {shown(_text(done.stderr).strip(), 300)}",
                where=self.door.where,
                fix="allow it there for the time of the restore: `AllowStreamLocalForwarding yes` (sshd's default) in /etc/ssh/sshd_config; "
                "or restore to a directory here and copy it",
            )

    @contextmanager
    def kept_open(self, seconds: float = IDLE / 3) -> Iterator[None]:
        """Within, the connection stays however long no command comes: for who cannot dial again."""
        done = threading.Event()

        def now_and_then() -> None:
            while not done.wait(seconds):
                self.run("true", check=False)

        thread = threading.Thread(target=now_and_then, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def close(self) -> None:
        subprocess.run([*self._words, "-O", "exit"], capture_output=True, check=False, timeout=20)


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


@contextmanager
def hosts(doors: Sequence[Door], folder: Path) -> Iterator[dict[str, Host]]:
    """Every host by name; their connections end with the block."""
    opened: dict[str, Host] = {}
    try:
        for door in doors:
            opened[door.name] = Host(door=door, folder=folder)
        yield opened
    finally:
        for host in opened.values():
            host.close()
