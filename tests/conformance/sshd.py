"""A real OpenSSH server for a test, on a loopback port, with new keys."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.networks import free_port
from tests.waiting import wait_until

# Key exchanges of a hardened server. The official plugin's SSH library has the first but not the second.
CURVE = "curve25519-sha256"
SNTRUP = "sntrup761x25519-sha512@openssh.com"

CONFIGURATION = """\
ListenAddress 127.0.0.1
ListenAddress ::1
PidFile none
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
AcceptEnv LASTCOPY_TEST PULUMI_COMMAND_STDOUT
HostKeyAlgorithms ssh-ed25519
KexAlgorithms {kex}
Ciphers aes256-gcm@openssh.com
LogLevel VERBOSE
"""


def make_key(path: Path, passphrase: str = "") -> str:
    """Make a private key at `path`; returns its public half as an authorized-key line."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-C", "test", "-N", passphrase, "-f", path], check=True
    )
    return path.with_suffix(".pub").read_text().strip()


class Sshd:
    """One server; `authorized` are the public keys that may log in as the user who runs the tests."""

    def __init__(self, folder: Path, authorized: list[str], kex: str = CURVE) -> None:
        folder.mkdir()
        self.folder, self.port, self.user = folder, free_port(), getpass.getuser()
        self.host_key = make_key(folder / "host")
        (folder / "authorized_keys").write_text("".join(f"{line}\n" for line in authorized))
        (folder / "conf").write_text(CONFIGURATION.format(folder=folder, kex=kex))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise RuntimeError("sshd is missing; install the package openssh-server")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "-D", "-e", "-f", self.folder / "conf", "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, 10, lambda: f"sshd did not start: {self.log()}", 0.02)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"sshd ended: {self.log()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def logins(self) -> int:
        return self.log().count("Accepted publickey")
