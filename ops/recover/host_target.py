"""Restore to a host: restic runs there as root and reads the chosen versions through the admin's SSH connection.

The host gets restic, the repository's password for the duration of the restore, and a socket for reading the versions of one moment. It gets
no storage key and no way to write. When the connection ends for any reason, restic there ends and everything sent is removed.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toolchain
from ops.errors import LastcopyError, escape_text
from ops.hosts.connection import HostError, SshEndpoint, SshHost, open_hosts
from ops.recover.recovery import Recovery
from ops.recover.restore import TargetState
from ops.restic.repository import CONNECTIONS, Repository, ResticResult, follow_command

_HOST = re.compile(
    r"(?:([a-z_][a-z0-9_.-]{0,31}(?:@[a-z0-9][a-z0-9.-]{0,62})?)@)?([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9a-fA-F:.]{2,45}\])(?::(\d{1,5}))?"
)
_HOST_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/=]{60,}( [ -~]*)?")
_BRING_SECONDS = 900

# run: holds the password, in memory, and a folder in which the admin's sshd makes the socket. lib: restic and its cache; /run is often noexec.
_PREPARE = """\
set -eu
umask 077
run=$(mktemp -d /run/lastcopy-recover.XXXXXX)
lib=$(mktemp -d /var/lib/lastcopy-recover.XXXXXX)
chmod 711 "$run"
mkdir "$run/socket"
chown "$1" "$run/socket"
printf '%s\\n%s\\n%s\\n' "$run" "$lib" "$(uname -m)"
"""
# The password is the first line of standard input, which then stays open: when it closes, the caller has gone.
_RUN = """\
set -eu
umask 077
run=$1 lib=$2 tool=$3 restic=
shift 3
trap '[ -z "$restic" ] || kill "$restic" 2>/dev/null; rm -rf "$run" "$lib"' EXIT
trap 'exit 143' HUP INT TERM
IFS= read -r password
printf %s "$password" >"$run/password"
unset password
exec 3<&0
umask 022
env -i PATH=/usr/bin:/bin HOME="$lib" TMPDIR="$lib" LC_ALL=C.UTF-8 "$tool" "$@" </dev/null 3<&- &
restic=$!
(cat <&3 >/dev/null; kill -TERM "$$") >/dev/null 2>&1 &
watch=$!
code=0
wait "$restic" || code=$?
restic=
kill "$watch" 2>/dev/null || : # it ended by itself
exit "$code"
"""
_BRING = 'umask 077; cat >"$1" && chmod 700 "$1" && "$1" version'
# A host with another architecture cannot run our restic: it must have the same version installed.
_FIND = """\
for tool in /usr/local/lib/lastcopy/restic-*/restic /usr/local/bin/restic /usr/bin/restic; do
  if [ -x "$tool" ] && [ "$("$tool" version | cut -d ' ' -f 1,2)" = "restic $1" ]; then echo "$tool"; exit 0; fi
done
exit 1
"""
_LOOK = """\
if [ -L "$1" ] || { [ -e "$1" ] && [ ! -d "$1" ]; }; then echo other
elif [ -n "$(ls -A "$1" 2>/dev/null | head -c 1)" ]; then echo filled
else echo empty; fi
"""


@dataclass(frozen=True, kw_only=True)
class HostAddress:
    """A host's address as a person gives it."""

    user: str
    name: str
    port: int


def parse_host(text: str, where: str = "--host") -> HostAddress:
    """Parse ``admin@web1.example:22``. ``where``: the option's name, for the error. Raises LastcopyError."""
    form = _HOST.fullmatch(text)
    if form is None or not 0 < int(form[3] or 22) < 65536:
        raise LastcopyError(
            f"{text!a} is not a host",
            where=where,
            allowed="user@address or user@address:port; the default user is root",
        )
    return HostAddress(user=form[1] or "root", name=form[2].strip("[]"), port=int(form[3] or 22))


def make_endpoint(
    host: HostAddress,
    host_key: str | None,
    key_file: Path | None,
    *,
    jump: SshEndpoint | None = None,
    name: str = "host",
) -> SshEndpoint:
    """The endpoint of a host that a person named.

    ``host_key``: the public key that it must show before anything is sent. ``jump``: the jump host through which it is reached.
    ``name``: ``host`` or ``jump-host``, the prefix of the options. Raises LastcopyError if the key is missing or malformed.
    """
    if host_key is None or not _HOST_KEY.fullmatch(host_key):
        raise LastcopyError(
            "the host's public key is not known" if host_key is None else "that is not an Ed25519 host key",
            where=f"--{name}-key",
            allowed="one line: ssh-ed25519 AAAA…",
            fix="read it on the host's own console: cat /etc/ssh/ssh_host_ed25519_key.pub",
        )
    return SshEndpoint(
        name=name, address=host.name, port=host.port, user=host.user, host_key=host_key, key_file=key_file,
        jump=jump,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HostTarget:
    """A host as the target of a restore."""

    host: SshHost
    found: Recovery

    def state(self, target: Path) -> TargetState:
        said = self.host.run("sh", "-c", _LOOK, "sh", str(target)).out.strip()
        return "filled" if said == "filled" else "other" if said == "other" else "empty"

    def create(self, target: Path) -> None:
        made = self.host.run("mkdir", "-p", "-m", "700", str(target), check=False)
        if made.code != 0:
            raise LastcopyError(
                f"{escape_text(target)} cannot be made: {escape_text(made.said.strip())}", where="--target"
            )

    def free_bytes(self, target: Path) -> int:
        return int(self.host.run("df", "-B1", "--output=avail", str(target)).out.split()[-1])

    def remove(self, files: Sequence[Path]) -> None:
        names = b"".join(os.fsencode(file) + b"\0" for file in files)
        self.host.run("xargs", "-0", "-r", "rm", "-f", "--", stdin=names)

    def restore(
        self, repository: Repository, words: Sequence[str], report: Callable[[dict[str, Any]], None]
    ) -> ResticResult:
        if repository.served is None:
            raise AssertionError("only a past moment is served")
        with self._prepared() as (run, lib, tool):
            socket = f"{run}/socket/view"
            self.host.forward(socket, repository.served)
            restic = [
                "-r", f"rest:http+unix://{socket}:/", "-o", f"rest.connections={CONNECTIONS}", "--no-lock",
                "--password-file", f"{run}/password", "--cache-dir", f"{lib}/cache",
                *(["--key-hint", repository.key_hint] if repository.key_hint else []), *words, "--json",
            ]  # fmt: skip
            answer = follow_command(
                self.host.words("sh", "-c", _RUN, "sh", run, lib, tool, *restic),
                {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                repository.folder,
                report,
                stdin=f"{repository.access.password.get_secret_value()}\n",
            )
        if answer.code == 255:
            raise HostError(
                f"the connection was lost and the restore is incomplete:\n{answer.words}",
                where=f"--host {self.host.endpoint.address}",
                fix="run it again with --existing update: complete files are kept",
            )
        return answer

    @contextmanager
    def _prepared(self) -> Iterator[tuple[str, str, str]]:
        """Two temporary folders on the host, and restic. The folders are removed afterwards."""
        run, lib, machine = self.host.run("sh", "-c", _PREPARE, "sh", self.host.endpoint.user).out.split()
        try:
            yield run, lib, _tool(self.host, self.found, lib, machine)
        finally:
            self.host.run("rm", "-rf", run, lib, check=False, seconds=30)


@contextmanager
def open_host_target(there: SshEndpoint, found: Recovery, home: Executor) -> Iterator[HostTarget]:
    """Connect to the host. ``home``: a thread in this machine's own network, from which it is reached; the storage may be in another one."""
    with open_hosts([there], found.folder) as opened:
        host = opened["host"]
        home.submit(host.run, "true").result()  # everything that follows uses this connection
        # A check may take hours before the first file is restored, and the host may not be reachable again from this network.
        with host.keep_open():
            yield HostTarget(host=host, found=found)


def _tool(host: SshHost, found: Recovery, lib: str, machine: str) -> str:
    """restic on the host: ours, sent there, or on another architecture the host's own of the same version."""
    if machine == platform.machine():
        content, path = found.tools.restic.read_bytes(), f"{lib}/restic"
        brought = host.run("sh", "-c", _BRING, "sh", path, stdin=content, seconds=_BRING_SECONDS, check=False)
        if brought.code != 0:
            raise HostError(
                f"restic could not be installed: {escape_text(brought.said.strip(), 300)}",
                where=f"--host {host.endpoint.address}",
                fix="free disk space below /var/lib there, and check that it is not mounted noexec",
            )
        return path
    version = toolchain.ensure("restic")["restic"].version
    has = host.run("sh", "-c", _FIND, "sh", version, check=False)
    if has.code != 0:
        raise HostError(
            f"this machine is {platform.machine()} and the host is {escape_text(machine, 20)}: the restic of this machine does not run there",
            where=f"--host {host.endpoint.address}",
            fix=f"install restic {version} there as /usr/local/bin/restic, or restore to a directory here and copy it",
        )
    return has.out.strip()
