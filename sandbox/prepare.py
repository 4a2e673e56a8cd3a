"""Installs the Debian packages that the workstation lacks for driver nspawn."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sandbox import apt
from sandbox.errors import SandboxError, say
from sandbox.nspawn import NEEDS
from sandbox.run import CLEAN

PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "ssh-keygen": "openssh-client",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def missing_packages() -> list[str]:
    """The names of Debian packages that are not installed yet."""
    packages = {PACKAGES[need] for need in NEEDS if shutil.which(need, path=CLEAN["PATH"]) is None}
    if not KEYRING.exists():
        packages.add("debian-archive-keyring")
    return sorted(packages)


def prepare() -> dict[str, object]:
    """Install every program that driver nspawn needs."""
    packages = missing_packages()
    if not packages:
        return {"installed": []}
    if shutil.which("podman") and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        say(
            "this account cannot install what driver nspawn needs; podman is installed and will run the machines"
        )
        return {"installed": [], "driver": "podman"}
    apt.install(packages, purpose="driver nspawn")
    left = missing_packages()
    if left:
        raise SandboxError(
            f"still missing after the installation: {', '.join(left)}",
            fix=f"apt-get install {' '.join(left)}",
        )
    return {"installed": packages}
