"""`python -m ops test-packages`: what the tests need from Debian besides the local stack's own needs. Says what it installs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import typer
from rich.console import Console

# program -> Debian packages
NEEDS = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "gpg": "gnupg",
    "curl": "curl",
    "rsync": "rsync",
    "podman": "podman crun netavark iptables",
}
WHERE = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
UNITS = Path("/etc/systemd/system")


def missing() -> list[str]:
    return sorted(
        {package for program, package in NEEDS.items() if shutil.which(program, path=WHERE) is None}
    )


def install_for_tests() -> None:
    """Install the missing ones; the SSH server's program is wanted, its service is not, so that is masked before it could start."""
    console = Console(stderr=True, highlight=False)
    packages = missing()
    if not packages:
        return
    line = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        console.print(f"[red]error:[/] the tests need the packages {', '.join(packages)}\n  fix: sudo {line}")
        raise typer.Exit(1)
    console.print(f"tests: {line}")
    if "openssh-server" in packages and UNITS.is_dir():
        for unit in ("ssh.service", "ssh.socket"):
            if not (UNITS / unit).exists():
                (UNITS / unit).symlink_to("/dev/null")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "-y", *line.split()[1:]]):
        if (
            subprocess.run(words, stdin=subprocess.DEVNULL, stdout=2, env=environment, check=False).returncode
            != 0
        ):
            console.print(f"[red]error:[/] `{' '.join(words)}` failed, see above\n  fix: sudo {line}")
            raise typer.Exit(1)
