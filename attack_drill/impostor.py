"""A man in the middle: a real sshd with host keys of its own, in the place of the host that a client connects to.

It runs on the source's host, once per connection and on a pipe (`sshd -i`), so no port is opened and nothing is left running. A client that
trusts it goes on to authenticate, which its log shows; it lets nobody in.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ops.hosts.connection import SshHost, ssh_environment

# Another key of the pinned type; only types that are not pinned; the pinned type with a certificate for every host name.
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
    """An sshd that nobody should trust.

    Args:
        host: Where it runs.
        folder: A folder there for its keys and logs.
        public_key: The host key that a client would pin to trust it.
    """

    host: SshHost
    folder: str
    public_key: str = ""

    def make(self) -> Impostor:
        self.public_key = self.host.run("sh", "-c", _MAKE, "sh", self.folder).out.strip()
        return self

    def words(self, kind: str, log: str) -> list[str]:
        """The command, on the host, that serves one connection on stdin and stdout."""
        conf = _CONF[KINDS.index(kind)]
        return ["/usr/sbin/sshd", "-i", "-f", f"{self.folder}/{conf}", "-E", f"{self.folder}/{log}.log"]

    def log(self, log: str) -> str:
        """The log of one connection. The client ends sshd, so the last lines of a refused connection may be missing."""
        return self.host.run("cat", f"{self.folder}/{log}.log", check=False).out

    def proxy_on_host(self, kind: str, log: str) -> str:
        """An ssh option that connects a client on the host itself to the impostor."""
        return f"ProxyCommand={shlex.join(self.words(kind, log))}"

    def proxy_from_here(self, kind: str, log: str) -> str:
        """An ssh option that connects a client on this machine to the impostor, over the drill's own connection."""
        words = shlex.join(self.host.words(*self.words(kind, log)))
        return f"ProxyCommand={words.replace('%', '%%')}"


def was_trusted(log: str) -> bool:
    """Whether a client began to authenticate, so had accepted the host key."""
    return "userauth-request" in log


def was_reached(log: str) -> bool:
    """Whether anybody connected at all; if not, a refusal proves nothing."""
    return "Connection from" in log


@contextmanager
def serve_on_loopback(words: Sequence[str]) -> Iterator[int]:
    """A port on this machine's loopback interface; each connection is served by a process of ``words``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        served: list[subprocess.Popen[bytes]] = []

        def serve() -> None:
            with suppress(OSError):  # the socket was closed
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
