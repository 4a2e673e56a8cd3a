"""Debian 13's own cloud-init reads the program's user data without complaint, and the machine that it makes can be reached (A1).

The image is that of the sandbox with Debian's packages cloud-init and unattended-upgrades; the user data comes from its NoCloud source.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.aws.user_data import UserDataPlan, user_data
from sandbox.image import cache_root, digest, ensure_tree
from sandbox.store import hold
from tests.sabotage import weaken
from tests.scripts.relay.newborn import BORN, Newborn
from tests.scripts.source.machine import Machine

RECIPE = "cloud-init unattended-upgrades"


def cloud_tree() -> Path:
    """Made once per base image; needs Debian's package mirror."""
    finished = cache_root() / "images" / f"{digest()}-{RECIPE.replace(' ', '-')}" / "rootfs"
    base = ensure_tree()
    with hold(cache_root() / "images", make=True):
        if not finished.is_dir():
            finished.parent.mkdir(exist_ok=True)
            work = finished.with_name("partial")
            shutil.rmtree(work, ignore_errors=True)
            subprocess.run(["cp", "-a", base, work], check=True)
            shutil.copy("/etc/resolv.conf", work / "etc/resolv.conf")
            get = "apt-get -q -o Acquire::Retries=5"
            install = f"{get} update && {get} -y --no-install-recommends install {RECIPE}"
            clean = "apt-get clean && rm -rf /var/lib/apt/lists/* && : >/etc/resolv.conf"
            words = ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-ec", f"{install} && {clean}"]
            subprocess.run(["chroot", work, *words], check=True, stdout=subprocess.DEVNULL)
            (work / "etc/cloud/cloud.cfg.d/99-test.cfg").write_text("datasource_list: [NoCloud]\n")
            work.rename(finished)
    return finished


@pytest.fixture(scope="module")
def seed() -> Iterator[Path]:
    """The user data for SSH and for SSM, and the admin key that they name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / "admin"], check=True
        )
        public = (folder / "admin.pub").read_text().strip()
        for access, region in (("ssh", None), ("ssm", "eu-central-1")):
            plan = UserDataPlan(
                first_key=BORN,
                admin_user="admin",
                admin_public_key=public,
                architecture="arm64",
                ssm_region=region,
            )
            (folder / access).write_text(user_data(plan))
        shutil.copy(folder / "ssh", folder / "user-data")
        (folder / "meta-data").write_text("instance-id: i-0123456789abcdef0\n")
        yield folder


@pytest.fixture(scope="module")
def newborn(seed: Path) -> Iterator[Newborn]:
    # cloud-init's whole first boot is part of the start.
    machine = Machine(cloud_tree(), f"--bind-ro={seed}:/var/lib/cloud/seed/nocloud", seconds=240)
    try:
        machine.ok("mkdir -p /root/pins")
        machine.write("/root/admin", (seed / "admin").read_text(), "600")
        yield Newborn(machine)
    finally:
        machine.stop()


@pytest.mark.parametrize("access", ["ssh", "ssm"])
def test_user_data_is_valid_by_cloud_inits_own_schema(newborn: Newborn, access: str) -> None:
    look = f"cloud-init schema --config-file /var/lib/cloud/seed/nocloud/{access}"
    said = newborn.machine.run(look)
    assert (said.code, "Valid schema" in said.out) == (0, True), said.out + said.err


def test_sabotage_the_schema_rejects_wrong_user_data(newborn: Newborn) -> None:
    wrong = weaken(
        newborn.machine.read("/var/lib/cloud/seed/nocloud/ssh"), "ssh_keys:", "ssh_genkeytypes: []\nssh_keys:"
    )
    newborn.machine.write("/root/wrong", wrong)
    assert newborn.machine.run("cloud-init schema --config-file /root/wrong").code != 0


def test_first_boot_makes_a_machine_that_has_the_given_host_key_and_no_other(newborn: Newborn) -> None:
    machine = newborn.machine
    offered = machine.ok("ssh-keyscan 127.0.0.1 2>/dev/null").split("\n")
    assert [line.split(" ", 1)[1] for line in offered if line and line[0] != "#"] == [BORN.public]
    assert newborn.dial(BORN.public, "sudo -n id -u").out == "0\n"
    # apt's resulting settings, whichever file they come from.
    settings = machine.ok("apt-config dump")
    for wanted in (
        'APT::Periodic::Unattended-Upgrade "1";',
        'APT::Periodic::Update-Package-Lists "1";',
        'Unattended-Upgrade::Automatic-Reboot "true";',
        'Unattended-Upgrade::Automatic-Reboot-Time "05:30";',
    ):
        assert wanted in settings
    assert "passwordauthentication no" in machine.ok("sshd -T")
    assert machine.ok("getent shadow admin | cut -d: -f2 | cut -c1") in ("!\n", "*\n")


def test_first_contact_replaces_the_key_and_no_later_boot_is_a_first_one(newborn: Newborn) -> None:
    own = newborn.hand_over()
    assert newborn.dial(own).code == 0
    assert newborn.dial(BORN.public).code == 255
    assert "disabled" in newborn.machine.run("cloud-init status --long").out
