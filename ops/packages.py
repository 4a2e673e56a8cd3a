"""The Debian packages that the tests need in addition to those of the local stack. Prints what it installs and sets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

# program -> Debian packages
NEEDS = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "gpg": "gnupg",
    "curl": "curl",
    "rsync": "rsync",
    "podman": "podman crun netavark iptables",
    # Ceph's own S3 gateway and the daemons it needs (tests/ceph.py)
    "ceph": "ceph-common",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "radosgw": "radosgw",
}
# The tests use only the programs of these packages: their services are masked before they can start.
SERVICES = {
    "openssh-server": ("ssh.service", "ssh.socket"),
    "ceph-common": ("ceph.target", "ceph-crash.service", "rbdmap.service"),
    "ceph-mon": ("ceph-mon.service", "ceph-mon.target"),
    "ceph-osd": ("ceph-osd.target",),
    "radosgw": ("ceph-radosgw.target", "radosgw.service"),
}
WHERE = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
WATCHES, ENOUGH = Path("/proc/sys/fs/inotify/max_user_instances"), 512
UNITS = Path("/etc/systemd/system")


def find_missing() -> list[str]:
    return sorted(
        {package for program, package in NEEDS.items() if shutil.which(program, path=WHERE) is None}
    )


def raise_watch_limit() -> None:
    """Raise the kernel's inotify limit, as root and until the next boot: its default is too low for two workers' machines."""
    if os.geteuid() != 0 or int(WATCHES.read_text()) >= ENOUGH:
        return
    Console(stderr=True, highlight=False).print(
        f"tests: sysctl -w fs.inotify.max_user_instances={ENOUGH} (until the next boot)"
    )
    WATCHES.write_text(f"{ENOUGH}\n")


def mask_services(packages: Sequence[str]) -> None:
    """Mask the services of these packages so that installation does not start them. A unit that the machine's owner set up is kept."""
    if not UNITS.is_dir() or os.geteuid() != 0:
        return
    for package in packages:
        for unit in SERVICES.get(package, ()):
            if not os.path.lexists(UNITS / unit):
                (UNITS / unit).symlink_to("/dev/null")


def install_for_tests() -> list[str]:
    """Install missing packages with their services masked: the tests start each server themselves, on their own ports and folders.

    Returns the packages that were installed.
    """
    raise_watch_limit()
    packages = find_missing()
    if not packages:
        return []
    from sandbox import apt  # imported late: recovery runs `ops` where there is no sandbox

    mask_services(packages)
    apt.install(packages, purpose="tests")
    return packages
