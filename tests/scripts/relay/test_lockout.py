"""A3: a wrong sshd configuration or firewall never locks the admin out.

That each broken configuration is refused, that one which nobody can dial is rolled back when its clock runs out, and so are such firewall rules, is
played by row A3, with its sabotages: tests/drill/test_a_rows.py. Here is what the steps do besides.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sabotage import weaken
from tests.scripts.relay.chain import Chain, Step
from tests.waiting import wait_until

LIVE = "/etc/ssh/sshd_config.d/10-lastcopy.conf"
AS_STEP = (
    "sh",
    "-s",
    "--",
    "apply",
    "203.0.113.1 1 2 22",
)  # not through sshd, where a step would cut its own connection
GUARD = "ls /var/lib/lastcopy/guard"


def digest(chain: Chain) -> str:
    return chain.sh(f"sha256sum <{LIVE}; nft -s list table inet lastcopy | sha256sum")


def dials(chain: Chain, seconds: int = 15) -> bool:
    return chain.admin("true", options=("-o", f"ConnectTimeout={seconds}")).returncode == 0


def clock_runs_out(chain: Chain, name: str) -> None:
    """Start the timer's unit now, because a slow machine may take longer for the change than the timer waits."""
    chain.sh(f"systemctl start lastcopy-guard-{name}.service")


def nothing_guarded(chain: Chain) -> bool:
    return chain.sh(GUARD) == ""


def altered(step: Step, extra: str) -> Step:
    return step.but(DROPIN_100=weaken(step.values["DROPIN_100"], "UseDNS no\n", f"UseDNS no\n{extra}\n"))


def test_a_broken_configuration_is_refused_before_it_is_live(ready: Chain) -> None:
    before = digest(ready)
    refused = ready.run(altered(ready.sshd(), "NoSuchKeyword yes"))
    assert refused.code == 1
    assert "fix:" in refused.words
    assert digest(ready) == before
    assert ready.sh(GUARD) == ""
    assert dials(ready)


ELSEWHERE = {
    "PasswordAuthentication yes\nAllowUsers somebody": "which decides beside ours who may come in",
    "DenyUsers admin": "which decides beside ours who may come in",
    "AcceptEnv RCLONE_*": "accept environment variables",
    "AllowGroups wheel": "allowgroups wheel",
    "Port 2022": "port 2022",
}


@pytest.mark.parametrize("text", ELSEWHERE)
def test_other_settings_that_would_take_effect_are_refused(changing: Chain, text: str) -> None:
    """Some keywords add up over files instead of the first one winning."""
    changing.root("sh", "-c", "cat >/etc/ssh/sshd_config.d/50-other.conf", stdin=text + "\n")
    try:
        refused = changing.run(altered(changing.sshd(), "# changed"))
        assert refused.code == 1
        assert ELSEWHERE[text] in refused.words
        assert "fix:" in refused.words
    finally:
        changing.sh("rm /etc/ssh/sshd_config.d/50-other.conf")


def test_a_main_file_that_takes_precedence_over_the_drop_ins_is_refused(changing: Chain) -> None:
    changing.sh(
        "cp /etc/ssh/sshd_config /etc/ssh/keep; sed -i '1i PasswordAuthentication yes' /etc/ssh/sshd_config"
    )
    try:
        refused = changing.run(changing.sshd())
        assert refused.code == 1
        assert "does not begin with its drop-in folder" in refused.words
        assert "Include /etc/ssh/sshd_config.d/*.conf" in refused.words
    finally:
        changing.sh("mv /etc/ssh/keep /etc/ssh/sshd_config")


def test_an_admin_without_a_usable_key_is_refused(changing: Chain) -> None:
    """The key that the new rules accept must exist; here there is only a type that they refuse."""
    keys = "/home/admin/.ssh/authorized_keys"
    changing.sh(f"cp -p {keys} {keys}.keep")
    changing.sh(f"sed -i 's/^.*$/ecdsa-sha2-nistp256 AAAAE2VjZHNh admin/' {keys}")
    try:
        done = changing.root(
            "sh",
            "-s",
            "--",
            "apply",
            "203.0.113.1 1 2 22",
            stdin=altered(changing.sshd(), "# changed").text(),
        )
        assert done.returncode == 1
        assert "admin has no authorized key of an accepted kind" in done.stderr
    finally:
        changing.sh(f"mv {keys}.keep {keys}")
    refused = changing.run(altered(changing.sshd(), "# changed").but(ADMIN="nobody-here"))
    assert refused.code == 1
    assert "the admin account 'nobody-here' does not exist" in refused.words


def test_another_pinned_host_key_is_refused(ready: Chain) -> None:
    """The new sshd offers only the ed25519 key: an engine that pins another key would be locked out."""
    other = ready.key("other").with_suffix(".pub").read_text().strip()
    refused = ready.run(ready.sshd().but(HOST_KEY=other))
    assert refused.code == 1
    assert "the stack pins another host key" in refused.words
    assert ready.relay_facts["host_key"] in refused.words


# Valid for `sshd -t` and for `sshd -T`, but nobody can log in: only a fresh login shows that.
UNDIALLABLE = "PerSourceNetBlockSize 0:0\nMaxStartups 1:100:1\nListenAddress 127.0.0.1"


def test_a_login_after_the_step_meets_an_sshd_that_has_read_the_new_configuration(changing: Chain) -> None:
    """A reload returns before sshd has handled the signal: the confirming login could otherwise be accepted by the old configuration."""
    process = "systemctl show -p MainPID --value ssh.service"
    before = changing.sh(process)
    changing.apply(altered(changing.sshd(), "# changed again"))
    assert changing.sh(process) != before
    assert dials(changing)
    changing.apply(altered(changing.sshd("confirm"), "# changed again"))


def test_a_late_confirm_step_explains_the_rollback_and_the_next_run_confirms(changing: Chain) -> None:
    """The time ran out although the configuration is good: a slow network, or an operator who stopped the run."""
    wanted = altered(changing.sshd(), "# slow")
    confirm = altered(changing.sshd("confirm"), "# slow")
    clocks = "systemctl list-timers --all --no-legend 'lastcopy-guard-sshd*'"
    changing.apply(wanted)
    clock_runs_out(changing, "sshd")
    wait_until(lambda: nothing_guarded(changing))
    assert "no fresh login confirmed sshd" in changing.sh(
        "journalctl --sync; journalctl --no-pager -t lastcopy"
    )
    first = changing.run(confirm)
    assert first.code == 1
    assert "was rolled back because no fresh login confirmed it within 60 seconds" in first.words
    assert "run 'pulumi up' again" in first.words
    assert "lastcopy-guard-sshd" in changing.sh(clocks)
    second = changing.run(confirm)
    assert second.code == 0, second.words
    assert changing.sh(clocks) == "", "nothing fires after a confirmation"
    assert "# slow" in changing.sh(f"cat {LIVE}")
    assert changing.sh(GUARD) == ""


def test_a_reboot_before_the_confirmation_rolls_back_and_a_reboot_after_it_does_not(changing: Chain) -> None:
    before = changing.sh(f"cat {LIVE}; cat /etc/lastcopy/firewall/rules.nft")
    changing.guard_seconds = 600
    try:
        changing.apply(altered(changing.sshd(), UNDIALLABLE))
        rules = changing.firewall()
        shut = weaken(rules.values["RULES"], "tcp dport 22 accept", "tcp dport 23 accept")
        changing.root(*AS_STEP, stdin=rules.but(RULES=shut).text())
        assert "sshd.restore" in changing.sh(GUARD)
        assert "firewall.restore" in changing.sh(GUARD)
        changing.box.machine_restart("relay")  # returns when it answers ssh, which alone shows the rollback
    finally:
        changing.guard_seconds = 60
    assert dials(changing)
    assert changing.sh(f"cat {LIVE}; cat /etc/lastcopy/firewall/rules.nft") == before
    assert changing.sh(GUARD) == ""
    changing.apply(changing.sshd())
    changing.apply(changing.sshd("confirm"))
    changing.apply(changing.firewall())
    changing.apply(changing.firewall("confirm"))
    changing.box.machine_restart("relay")
    assert changing.sh(f"cat {LIVE}; cat /etc/lastcopy/firewall/rules.nft") == before
    assert "policy drop" in changing.sh("nft list chain inet lastcopy input")
    for step in (changing.sshd(), changing.firewall(), changing.shared()):
        assert changing.apply(step).changed == [] or step.script == "relay"


def test_broken_firewall_rules_are_refused_before_they_are_live(ready: Chain) -> None:
    before = digest(ready)
    rules = ready.firewall()
    refused = ready.run(rules.but(RULES=weaken(rules.values["RULES"], "policy drop", "policy maybe")))
    assert refused.code == 1
    assert "nft refuses the rules" in refused.words
    assert digest(ready) == before


def test_many_connections_at_once_are_all_accepted(ready: Chain) -> None:
    """The engine runs sixteen steps at a time; none may be turned away."""
    patient = ("-o", "ConnectTimeout=60")  # a slow machine may take its time, as long as none is turned away
    with ThreadPoolExecutor(24) as pool:
        codes = list(pool.map(lambda _: ready.admin("true", options=patient).returncode, range(24)))
    assert codes == [0] * 24
