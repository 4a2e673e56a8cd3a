"""Hosts that the operator reaches by SSH: as root, with the admin's key and a pinned host key, over one connection for all commands."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ops.errors import LastcopyError, escape_text
from ops.private_folder import socket_folder

SECONDS = 120
# All that ssh needs of the caller's environment, including how it may ask a person for input. The engine's variables (backend, passphrase,
# cloud credentials) reach neither ssh nor any program that its configuration starts.
_KEPT = frozenset((
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TERM", "TMPDIR", "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE",
    "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR",
))  # fmt: skip
# Bytes of a control socket's name: ssh's %C, and the suffix that it adds while making the socket.
_SOCKET = 40 + 17
IDLE = 120  # seconds that a connection stays open without a command, also after its program was killed


def ssh_environment() -> dict[str, str]:
    """The environment in which ssh runs."""
    return {name: value for name, value in os.environ.items() if name in _KEPT}


class HostError(LastcopyError):
    """A host could not be reached, or did not do what was requested."""


@dataclass(frozen=True, kw_only=True)
class SshEndpoint:
    """Where and how to reach one host.

    ``key_file`` None: the ssh agent holds the key. ``agent_keys``: the agent's public keys to offer; empty means all of them, of which
    sshd accepts six. ``jump``: the jump host through which it is reached.
    """

    name: str
    address: str
    port: int
    user: str
    host_key: str
    key_file: Path | None
    agent_keys: tuple[str, ...] = ()
    jump: SshEndpoint | None = None

    @property
    def where(self) -> str:
        """The address as error messages show it."""
        through = "" if self.jump is None else f", from jump host {self.jump.where}"
        return f"{self.user}@{self.address} port {self.port}{through}"


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """The result of a command that ended. ``code`` is 124 if it timed out."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass(kw_only=True)
class SshHost:
    """A host on which commands run as root. Commands are arguments and never contain secrets; secrets go on standard input."""

    endpoint: SshEndpoint
    folder: Path
    sockets: Path | None = None  # folder of the control socket, whose path must be short; None: ``folder``
    _words: list[str] = field(init=False)

    def __post_init__(self) -> None:
        endpoint = self.endpoint
        shared = [
            "ControlMaster=auto",
            f"ControlPath={self.sockets or self.folder}/%C",
            f"ControlPersist={IDLE}",
        ]
        if endpoint.jump is not None:
            shared.append(f"ProxyCommand={self._jump_command(endpoint.jump)}")
        self._words = [*_ssh(endpoint, self.folder, *shared), _target(endpoint)]

    def _jump_command(self, jump: SshEndpoint) -> str:
        """The inner connection: ssh to the jump host, whose own host key is pinned as well. Its messages go to a file, see `run`."""
        own = [*_ssh(jump, self.folder, "ControlPath=none"), "-E", str(self._jump_log)]
        return " ".join([shlex.join(own).replace("%", "%%"), "-W", "'[%h]:%p'", shlex.quote(_target(jump))])

    @property
    def _jump_log(self) -> Path:
        return self.folder / f"jump-{self.name}.log"

    def _jump_said(self) -> str:
        """Errors of the jump host's ssh, removed from the log for the next attempt. A kept connection has no other place for them."""
        if self.endpoint.jump is None or not self._jump_log.exists():
            return ""
        said = self._jump_log.read_text(errors="replace")
        self._jump_log.write_text("")
        return said

    @property
    def name(self) -> str:
        return self.endpoint.name

    def words(self, *command: str) -> list[str]:
        """The argument vector that runs ``command`` as root there, for callers with their own pipes. They must pass ``ssh_environment()``."""
        sudo = [] if self.endpoint.user == "root" else ["sudo", "-n"]
        return [*self._words, "--", shlex.join([*sudo, *command])]

    def run(
        self, *command: str, stdin: str | bytes = b"", seconds: float = SECONDS, check: bool = True
    ) -> CommandResult:
        """Run one command to its end.

        ``stdin``: what it reads. ``seconds``: its timeout. Raises HostError if it fails, unless ``check`` is False.
        """
        sent = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            done = subprocess.run(
                self.words(*command), env=ssh_environment(), input=sent, capture_output=True, timeout=seconds, check=False,
            )  # fmt: skip
            found = CommandResult(code=done.returncode, out=_text(done.stdout), err=_text(done.stderr))
        except subprocess.TimeoutExpired as late:
            found = CommandResult(code=124, out=_text(late.stdout or b""), err=_text(late.stderr or b""))
        if found.code == 255 and check:
            self._refuse_unreached(found)
        if check and found.code != 0:
            raise HostError(
                f"on {self.name}: {escape_text(shlex.join(command), 160)} ended with {found.code}: {escape_text(found.said.strip(), 600)}"
            )
        return found

    def _refuse_unreached(self, found: CommandResult) -> None:
        jump = self._jump_said()
        for name, said in ((self.name, found.err), (f"the jump host of {self.name}", jump)):
            if "HOST IDENTIFICATION HAS CHANGED" in said:
                raise HostError(
                    f"{name} shows another host key than the known one: another machine answers at its address, or it was reinstalled",
                    where=self.endpoint.where,
                    fix="read the key on its own console (cat /etc/ssh/ssh_host_ed25519_key.pub); use that one if you know why it is new",
                )
        if not found.out and "sudo" not in found.err:
            raise HostError(
                f"{self.name} was not reached: {escape_text((jump + found.err).strip()) or 'the connection was closed'}",
                where=self.endpoint.where,
                fix="check that this machine can reach it in the way that `pulumi up` does",
            )

    def shell(
        self, script: str, *, stdin: str | bytes = b"", seconds: float = SECONDS, check: bool = True
    ) -> CommandResult:
        """Run a piece of shell script; see `run`."""
        return self.run("sh", "-c", script, stdin=stdin, seconds=seconds, check=check)

    def has(self, path: str) -> bool:
        return self.run("test", "-e", path, check=False).code == 0

    def forward(self, there: str, here: Path) -> None:
        """Forward connections to the socket ``there`` on the host to ``here``, until the connection is closed. Raises HostError."""
        self.run("true")  # opens the connection that carries it
        asked = [*self._words, "-O", "forward", "-R", f"{there}:{here}"]
        done = subprocess.run(asked, env=ssh_environment(), capture_output=True, check=False, timeout=60)
        if done.returncode != 0 or not self.has(there):
            raise HostError(
                f"the sshd of {self.name} does not forward sockets: {escape_text(_text(done.stderr).strip(), 300)}",
                where=self.endpoint.where,
                fix="allow it there for the duration of the restore: `AllowStreamLocalForwarding yes` (sshd's default) in /etc/ssh/sshd_config; "
                "or restore to a directory here and copy it",
            )

    @contextmanager
    def keep_open(self, seconds: float = IDLE / 3) -> Iterator[None]:
        """Keep the connection open during the block, however long no command is run: the caller may be unable to connect again."""
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
        asked = [*self._words, "-O", "exit"]
        subprocess.run(asked, env=ssh_environment(), capture_output=True, check=False, timeout=20)


def _ssh(endpoint: SshEndpoint, folder: Path, *more: str) -> list[str]:
    """The ssh command: none of the user's own configuration, and exactly one accepted host key."""
    alias, known = f"lastcopy-{endpoint.name}", folder / f"known-{endpoint.name}"
    known.write_text(f"{alias} {' '.join(endpoint.host_key.split()[:2])}\n")
    options = [
        "BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=/dev/null",
        f"HostKeyAlias={alias}", "HostKeyAlgorithms=ssh-ed25519", "UpdateHostKeys=no", "ConnectTimeout=15",
        "ServerAliveInterval=15", "LogLevel=ERROR",
        *_identity(endpoint, folder), *more,
    ]  # fmt: skip
    return [
        "ssh",
        "-F",
        "none",
        "-p",
        str(endpoint.port),
        *(word for option in options for word in ("-o", option)),
    ]


def _identity(endpoint: SshEndpoint, folder: Path) -> list[str]:
    """Options for the keys to offer. For a key that the agent holds, ssh takes a file with the public half."""
    if endpoint.key_file is not None:
        return ["IdentitiesOnly=yes", "IdentityAgent=none", f"IdentityFile={endpoint.key_file}"]
    files = []
    for number, line in enumerate(endpoint.agent_keys):
        file = folder / f"agent-{endpoint.name}-{number}.pub"
        file.write_text(f"{line}\n")
        files.append(f"IdentityFile={file}")
    return ["IdentitiesOnly=yes", *files] if files else []


def _target(endpoint: SshEndpoint) -> str:
    return f"{endpoint.user}@{endpoint.address}"


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


@contextmanager
def open_hosts(endpoints: Sequence[SshEndpoint], folder: Path) -> Iterator[dict[str, SshHost]]:
    """Every host by name. The connections are closed at the end of the block. ``folder``: a private folder for known hosts and the like."""
    opened: dict[str, SshHost] = {}
    with ExitStack() as stack:
        sockets = stack.enter_context(socket_folder(folder, "ssh", _SOCKET))
        try:
            for endpoint in endpoints:
                opened[endpoint.name] = SshHost(endpoint=endpoint, folder=folder, sockets=sockets)
            yield opened
        finally:
            for host in opened.values():
                host.close()
