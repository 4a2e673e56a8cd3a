"""A relay on Debian 12 (OpenSSH 9.2, systemd 252), where it differs from Debian 13: every step, a real backup through it, and its rollback."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import toolchain
from ops.hosts import hand_over
from ops.hosts.connection import SshEndpoint, open_hosts
from tests.sabotage import weaken
from tests.scripts.relay.chain import Chain, Step
from tests.scripts.relay.conftest import IDENTITIES
from tests.scripts.relay.test_source_gets_one_program import opened
from tests.waiting import wait_until

WEB1 = IDENTITIES["web1"]
LIVE = "/etc/ssh/sshd_config.d/10-lastcopy.conf"


def steps(older: Chain) -> dict[str, Step]:
    """In the program's order, with a separate repository, because the other relay uses the same storage."""
    return {
        "sshd": older.sshd(),
        "sshd confirm": older.sshd("confirm"),
        "firewall": older.firewall(),
        "firewall confirm": older.firewall("confirm"),
        "relay": older.shared(),
        "storage_check": older.storage_check("web1", WEB1),
        "relay_entry": older.entry("web1", identity=WEB1, generation=12),
    }


@pytest.fixture(scope="module")
def served(older: Chain) -> Chain:
    """The relay as `pulumi up` leaves it."""
    facts = older.relay_facts
    endpoint = SshEndpoint(
        name="older", address=facts["address"], port=facts["port"], user=facts["user"], host_key=facts["host_key"],
        key_file=older.box.admin_key,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, open_hosts([endpoint], Path(folder)) as reached:
        hand_over.hand_over_tool(reached["older"], "rclone")
    older.facts = {name: older.apply(step).line["facts"] for name, step in steps(older).items()}
    return older


def test_the_source_really_runs_debian_12(served: Chain) -> None:
    assert served.facts["sshd"] == {"openssh": "9.2", "debian": "12"}
    assert served.sh("systemctl --version").startswith("systemd 252 ")


@pytest.mark.parametrize(
    "name", ["sshd", "sshd confirm", "firewall", "firewall confirm", "relay", "relay_entry"]
)
def test_every_step_succeeds_and_check_finds_no_drift(served: Chain, name: str) -> None:
    check = served.run(steps(served)[name], "check")
    assert (check.code, check.drift) == (0, []), check.words


def test_the_configuration_for_openssh_9_is_live_and_unconfirmed_ones_are_rolled_back(served: Chain) -> None:
    assert served.sh(f"cat {LIVE}") == served.sshd().values["DROPIN_92"]
    assert served.sh("ls /var/lib/lastcopy/guard") == ""
    assert served.admin("true").returncode == 0


def audited(chain: Chain, *options: str) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("ssh-audit")
    words = [str(tool), "-n", *options, chain.relay_facts["address"]]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def weak(chain: Chain) -> list[str]:
    """What ssh-audit reports as a failure or a warning."""
    said = audited(chain, "-l", "warn").stdout.splitlines()
    return [line for line in said if "[fail]" in line or "[warn]" in line]


# The engine's plugin has no other key exchange in common with OpenSSH 9.2 (components/relay/sshd/sshd_config.py); the warnings are only about that one.
ONLY = "does not provide protection against post-quantum attacks"


def test_nothing_weak_is_offered_except_the_one_key_exchange_that_the_engine_needs(served: Chain) -> None:
    assert [line for line in weak(served) if ONLY not in line] == []
    assert all("curve25519-sha256" in line for line in weak(served) if "(kex)" in line)


def test_sabotage_an_old_key_exchange_is_found(served: Chain) -> None:
    served.sh(f"sed -i 's/^KexAlgorithms /&ecdh-sha2-nistp256,/' {LIVE}; systemctl restart ssh")
    try:
        assert [line for line in weak(served) if ONLY not in line] != []
    finally:
        served.inside(served.sshd())
        served.inside(served.sshd("confirm"))


def test_a_sources_key_opens_no_shell_and_no_forwarding(served: Chain) -> None:
    """S1, S2."""
    assert opened(served) == {"command": False, "forwarding": False}


def test_a_backup_through_it_is_stored_and_can_be_restored(served: Chain, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(os.urandom(3 << 20))
    (tmp_path / "password").write_text("a-password-of-this-test")
    restic = toolchain.ensure("restic")["restic"].path
    base = [
        str(restic), "-o", f"rclone.program={served.forced_line('web1')}", "-o", "rclone.args=serve", "-r", "rclone:",
        "--cache-dir", str(tmp_path / "cache"), "--password-file", str(tmp_path / "password"),
    ]  # fmt: skip

    def run(*words: str) -> None:
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            [*base, *words], env=environ, capture_output=True, text=True, check=False, timeout=90
        )
        assert done.returncode == 0, done.stderr

    run("init")
    run("backup", str(tmp_path / "data"))
    run("restore", "latest", "--target", str(tmp_path / "back"))
    restored = tmp_path / "back" / (tmp_path / "data" / "file").relative_to("/")
    assert restored.read_bytes() == (tmp_path / "data" / "file").read_bytes()


def test_an_unconfirmed_sshd_change_is_rolled_back(served: Chain) -> None:
    """A3: the unit of its timer runs on this systemd, too."""
    before = served.sh(f"sha256sum <{LIVE}")
    step = served.sshd()
    text = weaken(step.values["DROPIN_92"], "UseDNS no\n", "UseDNS no\nPrintMotd no\n")
    served.apply(step.but(DROPIN_92=text))
    assert served.sh(f"sha256sum <{LIVE}") != before
    served.sh("systemctl start lastcopy-guard-sshd.service")
    wait_until(lambda: served.sh(f"sha256sum <{LIVE}; ls /var/lib/lastcopy/guard") == before, 30)
    guard = "lastcopy-guard-sshd.service"
    wait_until(lambda: served.root("systemctl", "is-active", "-q", guard).returncode != 0, 30)
    assert served.admin("true").returncode == 0


def test_totp_is_refused_by_name_and_security_keys_are_not(served: Chain) -> None:
    """PAMServiceName came with OpenSSH 9.8: without it every login on the host would be asked for a code."""
    refused = served.run(served.sshd(second_factor="totp"), "check")
    assert refused.code == 1
    assert "second factor 'totp' needs OpenSSH 10, this host has 9.2" in refused.words
    assert "use the second factor fido2, or a host with Debian 13" in refused.words
    # This sshd accepts the configuration with security keys; only the admin's own is missing.
    taken = served.run(served.sshd(second_factor="fido2"), "check")
    assert taken.words.count("error:") == 1
    assert "admin has no authorized key of an accepted kind: sk-ssh-ed25519@openssh.com" in taken.words
