"""R3, back onto the host: the good versions of a destroyed repository are restored in place on the source, only over the admin's SSH connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox import Sandbox
from sandbox.image import ADMIN
from tests.integration.checkout import Running
from tests.integration.test_recovery import attack, ops, recover

TREE = "/srv/onto"
MADE = f"""
rm -rf {TREE} && mkdir -p {TREE}/sub && cd {TREE} && head -c 3000000 /dev/urandom >blob && ln blob sub/hard && ln -s sub/hard link
printf x >'a "name"
with a break' && chmod 4751 blob && chown nobody:nogroup sub && mkfifo pipe && truncate -s 20M holes && touch -d 2001-02-03T04:05:06 sub
"""
SEEN = f"cd {TREE} && find . -printf '%y %m %U:%G %n %l %T@ %p\\n' | sort && find . -type f -exec sha256sum {{}} + | sort"
LEFT = "ls -d /run/lastcopy-recover* /var/lib/lastcopy-recover* 2>/dev/null; pgrep -x restic || true"


@pytest.fixture(scope="module")
def known(running: Running) -> Iterator[str]:
    """db1's tree at the time of its backup; afterwards the tree on the host is damaged and the repository destroyed in the storage."""
    machines = running.machines
    machines.shell("db1", MADE)
    machines.run("db1", "systemctl", "start", "lastcopy-backup.service")
    tree = machines.shell("db1", SEEN).stdout
    attack(running)
    yield tree
    recover(running, "rebuild", "--really")
    machines.run("db1", "systemctl", "start", "lastcopy-backup.service")


def onto(running: Running, *words: str, user: str = ADMIN) -> tuple[int, str]:
    box = Sandbox(running.machines.directory)
    address, port = box.driver.dial(box.machine("db1"))
    done = ops(
        running, "recover", "restore", "--source", "db1", "--stack", running.stack.name, "--sandbox", str(box.directory),
        "--host", f"{user}@{address}:{port}", "--ssh-key", str(box.admin_key), *words,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def clean(running: Running) -> None:
    assert running.machines.shell("db1", LEFT, check=False).stdout == ""


IN_PLACE = ("--target", "/", "--path", TREE, "--existing", "update")


def test_r3_files_are_restored_in_place_and_nothing_of_lastcopy_stays(running: Running, known: str) -> None:
    machines = running.machines
    machines.shell("db1", f"cd {TREE} && echo encrypted >blob && rm -r sub link holes")
    assert machines.shell("db1", SEEN).stdout != known
    code, said = onto(running, *IN_PLACE)
    assert code == 0, said
    assert "recovery time" in said
    assert machines.shell("db1", SEEN).stdout == known
    assert int(machines.shell("db1", f"du -k {TREE}/holes | cut -f 1").stdout) < 1024, (
        "a sparse file stays sparse"
    )
    clean(running)
    password = running.stack.outputs(secrets=True)["passwords"]["db1"]
    assert password not in said


@pytest.mark.usefixtures("known")
def test_a_part_is_restored_to_a_new_directory_verified_and_a_second_restore_is_refused(
    running: Running,
) -> None:
    words = ("--target", "/srv/back", "--path", f"{TREE}/sub", "--verify")
    code, said = onto(running, *words)
    assert code == 0, said
    there = running.machines.shell("db1", f"ls -A /srv/back{TREE}/sub; stat -c %U /srv/back{TREE}/sub").stdout
    assert there == "hard\nnobody\n"
    code, said = onto(running, *words)
    assert (code, "is not empty; nothing was restored" in said) == (1, True), said
    code, said = onto(running, "--target", f"{TREE}/blob")
    assert (code, "is not a directory" in said) == (1, True), said
    running.machines.shell("db1", "rm -r /srv/back")
    clean(running)


@pytest.mark.usefixtures("known")
def test_sabotage_another_host_at_the_address_gets_nothing(running: Running) -> None:
    """Sabotage of the pinned key: with the relay's key, which is not this host's."""
    relay = running.stack.outputs()["relay"]["hostKey"]
    code, said = onto(running, *IN_PLACE, "--host-key", relay)
    assert (code, "shows another host key" in said) == (1, True), said
    clean(running)


@contextmanager
def sshd_of_db1(running: Running, line: str) -> Iterator[None]:
    """Add a line to the source's sshd configuration for a while."""
    file = "/etc/ssh/sshd_config.d/00-test.conf"
    running.machines.shell("db1", f"echo '{line}' >{file} && systemctl restart ssh")
    try:
        yield
    finally:
        running.machines.shell("db1", f"rm {file} && systemctl restart ssh")


@pytest.mark.usefixtures("known")
def test_a_host_that_does_not_forward_sockets_gets_an_error_that_says_how_to_allow_it(
    running: Running,
) -> None:
    with sshd_of_db1(running, "AllowStreamLocalForwarding no"):
        code, said = onto(running, *IN_PLACE)
    assert code == 1
    assert "does not forward sockets" in said
    assert "AllowStreamLocalForwarding yes" in said
    clean(running)


@pytest.mark.usefixtures("known")
def test_an_account_that_cannot_become_root_there_is_reported(running: Running) -> None:
    code, said = onto(running, *IN_PLACE, user="nobody")
    assert (code, "was not reached" in said) == (1, True), said


def test_a_full_disk_is_reported_and_the_next_run_goes_on(running: Running, known: str) -> None:
    machines, small = running.machines, "/srv/small"
    machines.shell("db1", f"mkdir {small} && mount -t tmpfs -o size=1m tmpfs {small}")
    try:
        code, said = onto(running, "--target", small, "--path", TREE)
        assert code == 1
        assert "the disk of the target is full" in said
        machines.shell("db1", f"mount -o remount,size=20m {small}")
        code, said = onto(running, "--target", small, "--path", TREE, "--existing", "update")
        assert code == 0, said
        assert machines.shell("db1", SEEN.replace(TREE, f"{small}{TREE}")).stdout == known
    finally:
        machines.shell("db1", f"umount {small} && rmdir {small}")
    clean(running)
