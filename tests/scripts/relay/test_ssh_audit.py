"""A4: the live sshd passes ssh-audit's hardened policy for its Debian, and the clients that must log in still can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sabotage import weaken
from tests.scripts.relay.chain import Chain
from tests.scripts.relay.conftest import furnished
from tests.waiting import wait_until

POLICY = "Hardened Debian 13 (version 1)"


@pytest.fixture(scope="module")
def trusting(chain: Chain) -> Chain:
    """ssh-audit connects dozens of times without logging in; here its address is trusted, as a monitor's would be.

    Shared by the tests of this file that only connect; those that change the relay come after them.
    """
    furnished(chain)
    chain.furnished = False
    trust(chain)
    return chain


def trust(chain: Chain) -> None:
    mine = [f"{chain.box.plan.workstation}/32"]
    chain.apply(chain.sshd(trusted_networks=mine))
    chain.apply(chain.sshd("confirm", trusted_networks=mine))


def audit(chain: Chain, *options: str) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("ssh-audit")
    return subprocess.run(
        [str(tool), "-n", *options, chain.relay_facts["address"]],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_hardened_policy_of_its_debian_passes(trusting: Chain) -> None:
    done = audit(trusting, "-P", POLICY)
    assert done.returncode == 0, done.stdout
    assert "Passed" in done.stdout


def test_nothing_weak_is_offered(trusting: Chain) -> None:
    done = audit(trusting, "-l", "warn")
    assert done.returncode == 0, done.stdout
    assert "[fail]" not in done.stdout
    assert "[warn]" not in done.stdout


# The first offers of OpenSSH in Debian 12 (9.2) and in Debian 13 (10.0), and of Go's x/crypto/ssh.
CLIENTS = {
    "Debian 12": ("sntrup761x25519-sha512@openssh.com", "chacha20-poly1305@openssh.com"),
    "Debian 12, fast cipher": ("sntrup761x25519-sha512@openssh.com", "aes128-gcm@openssh.com"),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_of_debian_12_can_log_in(trusting: Chain, client: str) -> None:
    exchange, cipher = CLIENTS[client]
    options = ("-o", f"KexAlgorithms={exchange}", "-o", f"Ciphers={cipher}")
    assert trusting.admin("true", options=options).returncode == 0


def test_clients_of_debian_13_can_log_in(trusting: Chain) -> None:
    """With its own defaults, from inside a Debian 13 machine."""
    trusting.root("sh", "-c", "umask 077; cat >/root/k", stdin=trusting.box.admin_key.read_text())
    try:
        for exchange in ("mlkem768x25519-sha256", "sntrup761x25519-sha512"):
            trusting.sh(
                f"ssh -F none -i /root/k -o KexAlgorithms={exchange} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
                " -o BatchMode=yes admin@127.0.0.1 true"
            )
    finally:
        trusting.sh("rm -f /root/k")


OLD = [
    "curve25519-sha256",
    "ecdh-sha2-nistp256",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
]


@pytest.mark.parametrize("exchange", OLD)
def test_key_exchanges_that_a_quantum_computer_breaks_are_refused(trusting: Chain, exchange: str) -> None:
    done = trusting.admin("true", options=("-o", f"KexAlgorithms={exchange}"))
    assert done.returncode == 255
    assert "no matching key exchange method found" in done.stderr


def test_sabotage_with_one_old_key_exchange_the_policy_fails(changing: Chain) -> None:
    trust(changing)
    step = changing.sshd(trusted_networks=[f"{changing.box.plan.workstation}/32"])
    text = weaken(step.values["DROPIN_100"], "KexAlgorithms ", "KexAlgorithms ecdh-sha2-nistp256,")
    expect = weaken(step.values["EXPECT_100"], "kexalgorithms ", "kexalgorithms ecdh-sha2-nistp256,")
    changing.apply(step.but(DROPIN_100=text, EXPECT_100=expect))
    assert audit(changing, "-P", POLICY).returncode != 0


def test_an_address_that_never_logs_in_is_banned_briefly_and_then_let_in(changing: Chain) -> None:
    """S10: PerSourcePenalties are enabled; they are short, because other sources may share the address."""
    for _ in range(2):
        audit(changing, "-P", POLICY)
    assert "penalty" in changing.sh(
        "journalctl --sync; journalctl --no-pager -t sshd -n 50; journalctl --no-pager -t sshd-session -n 50"
    )
    wait_until(lambda: changing.admin("true").returncode == 0, 75, pause=3)
