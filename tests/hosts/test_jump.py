"""A1, through a jump host as well: both host keys are pinned, and a machine with another key gets no login."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ops.hosts.connection import HostError, SshEndpoint, SshHost, open_hosts
from ops.hosts.dial import endpoint
from ops.recover.host_target import HostAddress, make_endpoint
from tests.conformance.sshd import Sshd
from tests.hosts.conftest import dialled


def test_commands_run_on_the_host_behind_the_jump_host(behind: SshEndpoint, target: Sshd, jump: Sshd) -> None:
    before = (target.logins(), jump.logins())
    assert dialled(behind) == "here\n"
    assert (target.logins(), jump.logins()) == (before[0] + 1, before[1] + 1)


def test_ipv6_addresses_work_directly_and_through_a_jump_host(behind: SshEndpoint) -> None:
    """The inner connection writes them in brackets, ssh itself does not."""
    assert dialled(replace(behind, address="::1", jump=None)) == "here\n"
    assert behind.jump is not None
    assert dialled(replace(behind, address="::1", jump=replace(behind.jump, address="::1"))) == "here\n"


def test_another_host_key_behind_the_jump_host_is_refused(
    behind: SshEndpoint, new_sshd: Callable[..., Sshd]
) -> None:
    impostor = new_sshd()
    with pytest.raises(HostError, match="web1 shows another host key") as refused:
        dialled(replace(behind, port=impostor.port))
    assert "from jump host" in str(refused.value)
    assert impostor.logins() == 0


def test_another_host_key_of_the_jump_host_is_refused(
    behind: SshEndpoint, target: Sshd, new_sshd: Callable[..., Sshd]
) -> None:
    impostor, before = new_sshd(), target.logins()
    assert behind.jump is not None
    with pytest.raises(HostError, match="the jump host of web1 shows another host key"):
        dialled(replace(behind, jump=replace(behind.jump, port=impostor.port)))
    assert (impostor.logins(), target.logins()) == (0, before)


def test_sabotage_a_jump_host_that_is_not_pinned_gets_the_login(
    behind: SshEndpoint, new_sshd: Callable[..., Sshd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same two connections by a Host that loses the pin on the way."""
    impostor = new_sshd()
    real = SshHost._jump_command
    careless = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    monkeypatch.setattr(
        SshHost, "_jump_command", lambda self, jump: real(self, jump).replace("ssh ", f"ssh {careless} ", 1)
    )
    assert behind.jump is not None
    assert dialled(replace(behind, jump=replace(behind.jump, port=impostor.port))) == "here\n"
    assert impostor.logins() == 1


def test_an_unreachable_jump_host_is_reported_with_the_message_of_its_ssh(behind: SshEndpoint) -> None:
    assert behind.jump is not None
    with pytest.raises(HostError, match="web1 was not reached") as refused:
        dialled(replace(behind, jump=replace(behind.jump, port=1)))
    assert "connect to host 127.0.0.1 port 1: Connection refused" in str(refused.value)


def test_a_restore_onto_a_host_uses_the_given_jump_host(target: Sshd, jump: Sshd, key: Path) -> None:
    """`recover restore --host … --jump-host …`, which knows no stack."""
    first = make_endpoint(
        HostAddress(user=jump.user, name="127.0.0.1", port=jump.port), jump.host_key, key, name="jump-host"
    )
    there = make_endpoint(
        HostAddress(user=target.user, name="127.0.0.1", port=target.port), target.host_key, key, jump=first
    )
    before = (target.logins(), jump.logins())
    assert dialled(there) == "here\n"
    assert (target.logins(), jump.logins()) == (before[0] + 1, before[1] + 1)


def test_a_long_path_of_the_private_folder_is_accepted(behind: SshEndpoint, tmp_path: Path) -> None:
    """With a long TMPDIR, the path of ssh's socket would be longer than the kernel allows."""
    folder = tmp_path / ("long" * 20)
    folder.mkdir(mode=0o700)
    with open_hosts([behind], folder) as opened:
        assert opened[behind.name].run("echo", "here").out == "here\n"


def test_a_tool_is_handed_over_through_the_jump_host(
    target: Sshd, jump: Sshd, key: Path, tmp_path: Path
) -> None:
    """As `pulumi up` calls `ops hand-over`: the program takes the same route as every step."""

    def order(name: str, server: Sshd, **more: object) -> dict[str, object]:
        told = {
            "name": name,
            "address": "127.0.0.1",
            "port": server.port,
            "user": server.user,
            "hostKey": server.host_key,
        }
        return {**told, "privateKey": key.read_text(), **more}  # fmt: skip

    before = (target.logins(), jump.logins())
    there = endpoint(order("web1", target, jump=order("jump", jump, jump=None)), tmp_path)
    assert dialled(there) == "here\n"
    assert (target.logins(), jump.logins()) == (before[0] + 1, before[1] + 1)
