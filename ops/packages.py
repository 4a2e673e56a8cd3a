"""`python -m ops test-packages`: what the tests need from Debian besides the local stack's own needs. Says what it installs and sets."""

from __future__ import annotations

import os
import shutil
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
WATCHES, ENOUGH = Path("/proc/sys/fs/inotify/max_user_instances"), 512
UNITS = Path("/etc/systemd/system")


def missing() -> list[str]:
    return sorted(
        {package for program, package in NEEDS.items() if shutil.which(program, path=WHERE) is None}
    )


def _room_to_watch() -> None:
    """Two workers boot more machines than the kernel's default lets one user's systemds watch; as root, until the next boot."""
    if os.geteuid() != 0 or int(WATCHES.read_text()) >= ENOUGH:
        return
    Console(stderr=True, highlight=False).print(
        f"tests: sysctl -w fs.inotify.max_user_instances={ENOUGH} (until the next boot)"
    )
    WATCHES.write_text(f"{ENOUGH}\n")


def install_for_tests() -> None:
    """Install the missing ones; the SSH server's program is wanted, its service is not, so that is masked before it could start."""
    _room_to_watch()
    packages = missing()
    if not packages:
        return
    from sandbox import apt  # here: recovery runs `ops` where there is no sandbox
    from sandbox.errors import SandboxError

    if "openssh-server" in packages and UNITS.is_dir() and os.geteuid() == 0:
        for unit in ("ssh.service", "ssh.socket"):
            if not (UNITS / unit).exists():
                (UNITS / unit).symlink_to("/dev/null")
    try:
        apt.install(packages, purpose="tests")
    except SandboxError as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/] {error}")
        raise typer.Exit(1) from None
