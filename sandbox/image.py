"""The base images: one Debian tree per release and recipe, built once and shared read-only by all machines."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from sandbox.errors import SandboxError, say
from sandbox.run import CLEAN
from sandbox.store import hold

DEBIAN = 13
SUITES = {12: "bookworm", 13: "trixie"}  # Debian's releases that a machine may run
ADMIN, ADMIN_UID = "admin", 1000
PACKAGES = (
    "systemd,systemd-sysv,dbus,libpam-systemd,libnss-systemd,openssh-server,sudo,nftables,iproute2,iputils-ping,"
    "netcat-openbsd,curl,ca-certificates,util-linux,procps,less,netbase,tzdata,fuse3,libpam-google-authenticator"
)
# Runs once with the tree as $1, and makes it an image for any host.
CUSTOMISE = f"""\
#!/bin/sh
set -eu
chroot "$1" useradd --uid {ADMIN_UID} --create-home --shell /bin/bash --groups sudo --password '*' {ADMIN}
install -d -m 0700 -o {ADMIN_UID} -g {ADMIN_UID} "$1/home/{ADMIN}/.ssh"
chmod 0700 "$1/home/{ADMIN}"
printf '{ADMIN} ALL=(ALL) NOPASSWD:ALL\\n' >"$1/etc/sudoers.d/90-cloud-admin"
chmod 0440 "$1/etc/sudoers.d/90-cloud-admin"
rm -f "$1"/etc/ssh/ssh_host_* "$1/var/lib/dbus/machine-id"
: >"$1/etc/machine-id"
: >"$1/etc/resolv.conf"
"""


def cache_root() -> Path:
    """Where tools and images are kept between checkouts."""
    named = os.environ.get("LASTCOPY_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lastcopy"


def digest(debian: int = DEBIAN) -> str:
    """A digest of the recipe: another release, package list or customisation makes another image."""
    return hashlib.sha256("\n".join((SUITES[debian], PACKAGES, CUSTOMISE)).encode()).hexdigest()[:16]


def tree(recipe: str) -> Path:
    """The root folder of a recipe's base image, whether it exists or not."""
    return cache_root() / "images" / recipe / "rootfs"


def ensure_tree(debian: int = DEBIAN) -> Path:
    """The finished base image of a release. It is built if necessary, which needs Debian's package mirror."""
    recipe = digest(debian)
    finished = tree(recipe)
    if finished.is_dir():
        return finished
    images = finished.parent.parent
    with hold(images, make=True):
        if finished.is_dir():
            return finished
        for stale in images.glob(f"{recipe}.partial-*"):  # left by a run that was killed; we hold the lock
            shutil.rmtree(stale)
        with tempfile.TemporaryDirectory(prefix=f"{recipe}.partial-", dir=images) as work:
            _build(Path(work), debian)
            finished.parent.mkdir(exist_ok=True)
            (Path(work) / "rootfs").rename(finished)
    return finished


def _build(work: Path, debian: int) -> None:
    hook = work / "customise"
    hook.write_text(CUSTOMISE)
    hook.chmod(0o700)
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={PACKAGES}"]
    # Only for this build: mmdebstrap would leave the setting in the tree.
    argv += ['--aptopt=Acquire::Retries "5"', '--customize-hook=rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"']
    argv += [f"--customize-hook={hook}", SUITES[debian], str(work / "rootfs")]
    say(f"making the Debian {debian} base image ({digest(debian)}), once; under a minute with a near mirror")
    start, said = time.monotonic(), []
    keep = {name: os.environ[name] for name in os.environ if name.lower().endswith("_proxy")}
    try:
        build = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**CLEAN, **keep},
        )
    except FileNotFoundError:
        raise SandboxError("mmdebstrap is not installed", fix="lastcopy sandbox prepare") from None
    with build:
        for line in build.stdout or ():
            said.append(line.rstrip())
            if line.startswith("I: "):
                say(f"[{time.monotonic() - start:4.0f} s] {line[3:].rstrip()}")
    if build.returncode != 0:
        raise SandboxError(
            "making the base image failed:\n    " + "\n    ".join(said[-15:]),
            where=f"mmdebstrap {SUITES[debian]}",
            fix="check that apt-get update works here (mirror, proxy), then run the same command again",
        )
