"""Impostor: a man in the middle. A real sshd with host keys of its own, put where a client believes the true host to be.

It runs on the source's host, once per dial and on a pipe (`sshd -i`): no port is opened and nothing is left running. A client that takes it
for the true host goes on to authenticate, which its log shows; what it gets then is nothing, for the drill's keys open nothing here.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ops.hosts.connection import Host, ssh_environment

# Another key of the pinned kind; only kinds that are not pinned; and the pinned kind with a certificate that names everybody.
KINDS = ("another ed25519 key", "an RSA or ECDSA key", "a certificate of the attacker's CA")
_CONF = ("plain.conf", "kinds.conf", "signed.conf")
_MAKE = r"""
set -eu; umask 077; cd "$1"; mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -C '' -f plain; ssh-keygen -q -t ecdsa -N '' -C '' -f ecdsa; ssh-keygen -q -t rsa -b 3072 -N '' -C '' -f rsa
ssh-keygen -q -t ed25519 -N '' -C '' -f ca; cp plain signed; cp plain.pub signed.pub
ssh-keygen -q -s ca -I impostor -h -V always:forever signed.pub
ssh-keygen -q -t ed25519 -N '' -C '' -f client
common='UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel DEBUG1\nAuthorizedKeysFile none\n'
printf "HostKey $1/plain\n$common" >plain.conf
printf "HostKey $1/ecdsa\nHostKey $1/rsa\n$common" >kinds.conf
printf "HostKey $1/signed\nHostCertificate $1/signed-cert.pub\n$common" >signed.conf
cut -d ' ' -f 1,2 plain.pub
"""


@dataclass(kw_only=True)
class Impostor:
    """``folder`` is on ``host``; ``public_key`` what a client that pins the impostor would pin."""

    host: Host
    folder: str
    public_key: str = ""

    def make(self) -> Impostor:
        self.public_key = self.host.run("sh", "-c", _MAKE, "sh", self.folder).out.strip()
        return self

    def words(self, kind: str, log: str) -> list[str]:
        """On the host: one connection's sshd, on stdin and stdout."""
        conf = _CONF[KINDS.index(kind)]
        return ["/usr/sbin/sshd", "-i", "-f", f"{self.folder}/{conf}", "-E", f"{self.folder}/{log}.log"]

    def log(self, log: str) -> str:
        """What one dial's sshd wrote. Its client ends it, so of a refused dial the last lines may be missing; of a log-in none is."""
        return self.host.run("cat", f"{self.folder}/{log}.log", check=False).out

    def here(self, kind: str, log: str) -> str:
        """An ssh option with which a client on the host itself reaches the impostor in the true host's place."""
        return f"ProxyCommand={shlex.join(self.words(kind, log))}"

    def there(self, kind: str, log: str) -> str:
        """The same for a client on this machine: the impostor's side goes through the drill's own connection."""
        words = shlex.join(self.host.words(*self.words(kind, log)))
        return f"ProxyCommand={words.replace('%', '%%')}"


def trusted(log: str) -> bool:
    """Whether a client went on past the key exchange: it began to authenticate."""
    return "userauth-request" in log


def dialled(log: str) -> bool:
    """Whether anybody came at all; without it a refusal proves nothing."""
    return "Connection from" in log


@contextmanager
def listening(words: Sequence[str]) -> Iterator[int]:
    """A port on this machine's loopback; whoever dials it is served by a process of ``words``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        served: list[subprocess.Popen[bytes]] = []

        def serve() -> None:
            with suppress(OSError):  # closed: the end
                while True:
                    client, _ = server.accept()
                    with client:
                        served.append(
                            subprocess.Popen(
                                list(words),
                                env=ssh_environment(),
                                stdin=client.fileno(),
                                stdout=client.fileno(),
                                stderr=subprocess.DEVNULL,
                            )
                        )

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield int(server.getsockname()[1])
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            for process in served:
                process.terminate()
                process.wait(10)
