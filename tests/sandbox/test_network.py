"""Which connections are possible, tried from inside the machines; and that these tests can fail."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox import Sandbox, SandboxError, netns
from sandbox.plan import sandbox_id
from tests.sandbox.conftest import NETWORK, cli, inside

IP_TRANSPARENT = 19  # lets root send from an address that is not its own


def reaches(box: Sandbox, name: str, address: str, port: int) -> bool:
    """Whether a program in the machine gets a TCP connection."""
    done = inside(box, name, "nc", "-z", "-w", "2", address, str(port))
    assert done.returncode in (0, 1), done.stderr  # nc itself ran
    return done.returncode == 0


def address_of(box: Sandbox, name: str) -> str:
    return str(box.plan.address(box.machine(name).slot))


@contextmanager
def listener() -> Iterator[int]:
    """A server of the workstation on all its addresses."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - that it listens everywhere is the point
        port: int = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=2).close()  # it does answer
        yield port


def workstation_addresses() -> list[str]:
    shown = subprocess.run(["ip", "-j", "-4", "address"], capture_output=True, text=True, check=True).stdout
    return [
        entry["local"]
        for link in json.loads(shown)
        for entry in link["addr_info"]
        if entry["local"] != "127.0.0.1"
    ]


def violations(box: Sandbox) -> list[str]:
    """Every connection that a source can open but must not."""
    found = []
    with listener() as port:
        targets = [(address, port) for address in workstation_addresses()]
        targets += [(str(box.plan.storage), 9000), (str(box.plan.gateway), 22)]
        for source, other in (("web1", "db1"), ("db1", "web1")):
            for address, number in [*targets, (address_of(box, other), 22)]:
                if reaches(box, source, address, number):
                    found.append(f"{source} -> {address}:{number}")
    return found


def test_a_source_reaches_only_the_relay(box: Sandbox) -> None:
    for source in ("web1", "db1"):
        assert reaches(box, source, address_of(box, "relay"), 22)
    assert violations(box) == []


def test_sabotage_without_the_rules_the_check_fails(box: Sandbox) -> None:
    router = f"--net={netns.path(box.plan.router_ns)}"
    subprocess.run(["nsenter", router, "nft", "delete", "table", "inet", box.plan.table], check=True)
    try:
        found = violations(box)
    finally:
        box.network_up(NETWORK)
    assert {f"web1 -> {address_of(box, 'db1')}:22", f"db1 -> {box.plan.storage}:9000"} <= set(found)
    assert any(f"-> {box.plan.workstation}:" in violation for violation in found)
    assert violations(box) == []  # network-up restored the rules


def test_only_the_relay_reaches_the_storage(box: Sandbox) -> None:
    assert reaches(box, "relay", str(box.plan.storage), 9000)
    assert not reaches(box, "web1", str(box.plan.storage), 9000)
    with pytest.raises(OSError, match=r"unreachable|refused|No route|denied|prohibited"):
        socket.create_connection((str(box.plan.storage), 9000), timeout=3).close()


def test_relay_reaches_no_source_and_not_the_workstation(box: Sandbox) -> None:
    with listener() as port:
        for address, number in ((address_of(box, "web1"), 22), (str(box.plan.workstation), port)):
            assert not reaches(box, "relay", address, number)


def test_workstation_reaches_every_machine_by_ssh(box: Sandbox) -> None:
    for name in ("relay", "web1", "db1"):
        with socket.create_connection((address_of(box, name), 22), timeout=3) as connection:
            assert connection.recv(7) == b"SSH-2.0"


def test_nothing_reaches_the_outside(box: Sandbox) -> None:
    shown = subprocess.run(
        ["ip", "-n", box.plan.router_ns, "-j", "route", "show", "table", "main"],
        capture_output=True,
        text=True,
        check=True,
    )
    routes = json.loads(shown.stdout)
    assert len(routes) == 5  # workstation, storage, three machines
    assert all(route["dst"] in {str(address) for address in box.plan.network} for route in routes)


def test_a_source_cannot_take_the_relays_address(box: Sandbox) -> None:
    with netns.inside(box.plan.storage_ns):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind((str(box.plan.storage), 0))
        receiver.settimeout(0.5)

        def send(text: bytes, name: str) -> None:
            with box.driver.network_of(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
                sender.bind((address_of(box, "relay"), 0))
                sender.sendto(text, receiver.getsockname())

        send(b"forged", "web1")
        with pytest.raises(TimeoutError):
            receiver.recv(16)
        send(b"genuine", "relay")
        assert receiver.recv(16) == b"genuine"


def test_a_used_range_is_refused_before_anything_is_made(
    box: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("clash") / "box"
    done = cli("network-up", "--dir", str(folder), "--network", str(box.plan.network.supernet()))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "is in use here" in done.stderr
    assert "fix:" in done.stderr
    assert not netns.names(f"lc-{sandbox_id(folder)}")
    cli("destroy", "--dir", str(folder))
    assert not folder.exists()
    assert box.network_up(NETWORK)["network"] == NETWORK  # its own range is no conflict


def test_another_network_for_an_existing_sandbox_is_refused(box: Sandbox) -> None:
    with pytest.raises(SandboxError, match="has network"):
        box.network_up("198.18.7.0/24")
