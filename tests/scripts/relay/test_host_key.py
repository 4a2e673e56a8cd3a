"""A machine replaces the host key that it was created with, and no run that is interrupted anywhere locks the engine out (A1, A7).

Every step goes over ssh, pinned to the only key that the engine's state would know at that moment, as in HostStep.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components.aws.first_host_key import first_key
from components.host.program_texts import script_text
from components.relay.sshd import sshd_config as sshd
from components.relay.sshd.sshd_config import SshdPlan
from components.source.enrolment.client_files import RELAY_ALIAS, known_hosts
from tests.sabotage import weaken
from tests.scripts.relay.newborn import BORN, KEYS, RECORD, Newborn
from tests.scripts.source.machine import Machine

OTHER = first_key("the-seed-of-another-machine-in-these")


@pytest.fixture(scope="module")
def _machine() -> Iterator[Newborn]:
    machine = Machine()
    try:
        yield Newborn(machine)
    finally:
        machine.stop()


@pytest.fixture
def newborn(_machine: Newborn) -> Newborn:
    _machine.reset()
    return _machine


def test_after_first_contact_the_first_key_is_useless(newborn: Newborn) -> None:
    own = newborn.hand_over()
    assert own.startswith("ssh-ed25519 ")
    assert newborn.dial(own).code == 0
    refused = newborn.dial(BORN.public)
    assert refused.code == 255
    assert "no matching host key type found" in refused.err
    assert newborn.machine.run(f"grep -rl {BORN.public.split()[1]} /etc/ssh").out == ""
    assert newborn.machine.run("grep -rl 'BEGIN EC PRIVATE KEY' /etc /var/lib/lastcopy /run").out == ""
    assert newborn.machine.ok("ls /etc/ssh | grep ssh_host").split() == [
        "ssh_host_ed25519_key",
        "ssh_host_ed25519_key.pub",
    ]
    assert newborn.machine.ok("stat -c '%a %U' /etc/ssh/ssh_host_ed25519_key") == "600 root\n"


def test_between_the_steps_both_keys_work(newborn: Newborn) -> None:
    """So whichever key the state knows when a run was interrupted, the next run gets in; even after a restart."""
    own = newborn.make()
    newborn.machine.ok("systemctl restart ssh")
    assert newborn.dial(BORN.public).code == 0
    assert newborn.dial(own).code == 0


def test_each_step_converges(newborn: Newborn) -> None:
    own = newborn.make()
    again = newborn.send("make", BORN.public)
    assert (again.code, again.changed, again.facts) == (0, [], {"public_key": own})
    assert newborn.send("make", BORN.public, mode="check").drift == []
    assert newborn.send("retire", own).changed
    assert newborn.send("retire", own).changed == []
    check = newborn.send("retire", own, mode="check")
    assert (check.code, check.drift) == (0, [])


def test_check_reports_and_changes_nothing(newborn: Newborn) -> None:
    check = newborn.send("make", BORN.public, mode="check")
    assert (check.code, check.drift) == (3, ["host key"])
    assert newborn.machine.run(f"ls {RECORD} /etc/ssh/ssh_host_ed25519_key").out == ""
    own = newborn.make()
    check = newborn.send("retire", own, mode="check")
    assert check.code == 3
    assert f"remove {KEYS}" in check.drift
    assert newborn.dial(BORN.public).code == 0


# The steps change something between their commands 56 and 126 (make), 40 and 120 (retire). Every second place is tried nightly.
@pytest.mark.parametrize(
    "command",
    [3, *range(46, 128, 10), *(pytest.param(n, marks=pytest.mark.nightly) for n in range(51, 128, 10))],
)
def test_a_run_killed_anywhere_is_completed_by_the_next(newborn: Newborn, command: int) -> None:
    newborn.kill_at("make", command)
    own = newborn.make()  # connects with the first key: nothing was recorded
    newborn.kill_at("retire", command)
    retired = newborn.send("retire", own)  # connects with its own key: the first step was recorded
    assert retired.code == 0, retired.err
    assert newborn.dial(own).code == 0
    assert newborn.dial(BORN.public).code == 255


def test_the_kills_cover_both_steps_from_their_first_to_their_last_change(newborn: Newborn) -> None:
    """So the test above is meaningful: its first kill comes before any change, its last one after all changes."""
    assert newborn.kill_at("make", 3)
    assert newborn.machine.run(f"ls {RECORD}").out == ""
    assert not newborn.kill_at("make", 400)
    assert not newborn.kill_at("retire", 400)


def test_sabotage_a_step_that_removes_the_first_key_at_once_locks_the_next_run_out(newborn: Newborn) -> None:
    """Why there are two steps: the same work in one step, interrupted before its end, leaves a state with a dead key."""
    careless = weaken(newborn.text("make"), 'fact public_key "$(cat "$RECORD")"', "retire_key; kill -KILL $$")
    assert newborn.send("make", BORN.public, text=careless).code != 0
    assert newborn.send("make", BORN.public).code == 255


def test_sabotage_a_first_key_that_is_not_removed_is_noticed(newborn: Newborn) -> None:
    own = newborn.make()
    kept = newborn.send("retire", own, text=weaken(newborn.text("retire"), 'gone "$file"', "true"))
    assert kept.code == 1
    assert "still offers a host key that is not its own" in kept.err
    assert "fix:" in kept.err


def test_a_machine_that_shows_the_first_key_is_refused_by_later_steps_and_by_sources(
    newborn: Newborn,
) -> None:
    """Whoever stole the user data poses as the relay: on another port, with the first key, and lets anybody in."""
    own = newborn.hand_over()
    newborn.bear(BORN, "/root/pins/stolen")
    newborn.machine.ok(
        "/usr/sbin/sshd -f /etc/ssh/sshd_config -o HostKey=/root/pins/stolen -o HostKeyAlgorithms=ecdsa-sha2-nistp256 -p 2200"
        # It goes to the background before it listens.
        " && for i in $(seq 600); do if ss -Hltn 'sport = :2200' | grep -q .; then break; fi; sleep 0.05; done"
    )
    try:
        assert newborn.dial(BORN.public, port=2200).code == 0, "it answers whoever still trusts that key"
        assert newborn.dial(own, port=2200).code == 255
        # What a source has: the relay's key under its alias in known_hosts, and the source's own settings.
        newborn.machine.write("/root/pins/source", known_hosts(own))
        asked = newborn.machine.run(
            f"ssh -F /dev/null -p 2200 -o BatchMode=yes -o StrictHostKeyChecking=yes -o HostKeyAlias={RELAY_ALIAS}"
            " -o UserKnownHostsFile=/root/pins/source -i /root/admin admin@127.0.0.1 true"
        )
        assert asked.code == 255
        assert "verification failed" in asked.err or "no matching host key" in asked.err
    finally:
        newborn.machine.run("kill $(cat /run/sshd.pid) 2>/dev/null; systemctl restart ssh")
        newborn.machine.run(
            "ss -Hltnp 'sport = 2200' | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p' | xargs -r kill"
        )


def test_a_host_key_from_the_image_is_not_kept(newborn: Newborn) -> None:
    newborn.machine.ok(
        "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh"
    )
    brought = newborn.machine.read("/etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert newborn.hand_over().split()[1] != brought


def test_a_machine_with_another_lasting_key_is_not_trusted(newborn: Newborn) -> None:
    own = newborn.make()
    newborn.machine.ok(
        "rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"
    )
    refused = newborn.machine.run("sh -s -- apply", stdin=newborn.text("retire"))
    assert refused.code == 1
    assert "is not the one that this program made" in refused.err
    assert "ec2.generation" in refused.err
    assert newborn.dial(BORN.public).code == 0, f"nothing was changed ({own})"


def test_a_reboot_does_not_repeat_the_first_boot(newborn: Newborn) -> None:
    """cloud-init would make new host keys if it took this machine for another one."""
    newborn.hand_over()
    assert newborn.machine.run("ls /etc/cloud/cloud-init.disabled").code == 0
    newborn.machine.ok("rm -r /etc/cloud /etc/ssh/ssh_host_*")
    newborn.bear(BORN, KEYS)
    newborn.machine.ok("rm -rf /var/lib/lastcopy; systemctl restart ssh")
    newborn.hand_over()
    assert newborn.machine.run("ls -d /etc/cloud").code != 0, (
        "without cloud-init there is nothing to switch off"
    )


def test_first_contact_waits_for_the_first_boot_and_requires_its_result(newborn: Newborn) -> None:
    newborn.machine.write(
        "/usr/local/sbin/cloud-init", '#!/bin/sh\nsleep 2\necho "$*" >/root/pins/asked\nexit 2\n', "755"
    )
    refused = newborn.send("make", BORN.public)
    assert refused.code == 1
    assert "did not install unattended-upgrades" in refused.err
    assert newborn.machine.read("/root/pins/asked") == "status --wait\n"
    newborn.machine.write("/usr/local/sbin/unattended-upgrade", "#!/bin/sh\n", "755")
    newborn.hand_over()
    newborn.machine.ok("rm /root/pins/asked")
    assert newborn.send("make", newborn.machine.read(RECORD).strip()).changed == []
    assert newborn.machine.run("ls /root/pins/asked").code != 0, (
        "after the handover nobody waits for it again"
    )


def test_the_hardened_sshd_accepts_the_new_key_and_both_steps_change_nothing(newborn: Newborn) -> None:
    own = newborn.hand_over()
    plan = SshdPlan(admin_user="admin", second_factor="none", listen_port=22)
    values = {
        "ADMIN": "admin",
        "FACTOR": "none",
        "GUARD_SECONDS": "60",
        "HOST_KEY": own,
        "DROPIN_92": sshd.drop_in(plan, "9.2"),
        "DROPIN_100": sshd.drop_in(plan, "10.0"),
        "EXPECT_92": sshd.expected_of_everyone(plan, "9.2"),
        "EXPECT_100": sshd.expected_of_everyone(plan, "10.0"),
        "EXPECT_SOURCES": sshd.expected_of_sources(),
    }
    newborn.machine.write("/etc/ssh/sshd_config.d/.keep", "")
    for phase in ("apply", "confirm"):
        done = newborn.send("", own, text=script_text("sshd", {**values, "PHASE": phase}))
        assert done.code == 0, done.err
    again = newborn.send("retire", own)
    assert (again.code, again.changed) == (0, [])
    assert newborn.dial(BORN.public).code == 255


def test_another_machines_first_key_does_not_open_this_machine(newborn: Newborn) -> None:
    """Every generation has its own seed."""
    assert newborn.dial(OTHER.public).code == 255
