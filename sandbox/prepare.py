"""Install what the workstation lacks for driver nspawn, from Debian's packages, and say what is done."""

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
    """Debian's names of the packages that are not there yet."""
    packages = {PACKAGES[need] for need in NEEDS if shutil.which(need, path=CLEAN["PATH"]) is None}
    if not KEYRING.exists():
        packages.add("debian-archive-keyring")
    return sorted(packages)


def prepare() -> dict[str, object]:
    """Every program that driver nspawn needs is installed."""
    packages = missing_packages()
    if not packages:
        return {"installed": []}
    other = next((engine for engine in ("podman", "docker") if shutil.which(engine)), None)
    if other and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        say(
            f"this account cannot install what driver nspawn needs; {other} is here and will run the machines"
        )
        return {"installed": [], "driver": other}
    apt.install(packages, purpose="driver nspawn")
    left = missing_packages()
    if left:
        raise SandboxError(
            f"still missing after the installation: {', '.join(left)}",
            fix=f"apt-get install {' '.join(left)}",
        )
    return {"installed": packages}
