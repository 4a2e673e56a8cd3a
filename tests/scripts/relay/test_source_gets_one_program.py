"""S1, S2: several layers keep a source's key from a shell, and none of them is needed alone. For the attempts: tests/drill/test_s_rows.py."""

from __future__ import annotations

import subprocess

import pytest

from tests.scripts.relay.chain import Chain


def attempt(
    chain: Chain, *options: str, command: list[str] | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    argv = [*chain.forced("web1", *options), *(command or [])]
    return subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=40)


def test_no_password_opens_anything(ready: Chain) -> None:
    options = (
        "-o",
        "BatchMode=no",
        "-o",
        "PubkeyAuthentication=no",
        "-o",
        "PreferredAuthentications=password,keyboard-interactive",
    )
    done = attempt(ready, *options)
    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr


LAYERS = {
    "the key's own options": 'sed -i \'s/^restrict,command="[^"]*" //\' /etc/ssh/lastcopy/keys/bk-web1',
    "sshd's rule for sources": "sed -i '/^Match User bk/,/^$/d; /^Allow.*Forwarding/d' /etc/ssh/sshd_config.d/10-lastcopy.conf;"
    " sed -i '1i AuthorizedKeysFile /etc/ssh/lastcopy/keys/%u .ssh/authorized_keys' /etc/ssh/sshd_config.d/10-lastcopy.conf",
    "the login shell": "usermod --shell /bin/sh bk-web1",
    # Its timer would restore the table.
    "the firewall": "systemctl stop lastcopy-storage.timer lastcopy-storage.service; nft delete table inet lastcopy",
}


def opened(chain: Chain) -> dict[str, bool]:
    """What a source's key opens besides the forced command."""
    command = attempt(chain, command=["echo", "a-command-ran"])
    forward = attempt(chain, "-W", "127.0.0.1:22")
    return {"command": b"a-command-ran" in command.stdout, "forwarding": b"SSH-2.0" in forward.stdout}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_alone_may_fail_without_opening_a_shell(changing: Chain, layer: str) -> None:
    changing.sh(f"{LAYERS[layer]}; systemctl restart ssh")
    assert opened(changing) == {"command": False, "forwarding": False}


def test_sabotage_without_any_layer_commands_and_forwarding_work(changing: Chain) -> None:
    """So the tests of S1 and S2 can fail."""
    for line in LAYERS.values():
        changing.sh(line)
    changing.sh("sshd -t && systemctl restart ssh")
    assert opened(changing) == {"command": True, "forwarding": True}
