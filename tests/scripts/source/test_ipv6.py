"""A source whose relay has only an IPv6 address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scripts.source.bed import Bed

RELAY = "2001:db8:22::22"  # of the documentation range


@pytest.fixture
def ipv6(bare: Bed) -> Iterator[Bed]:
    bare.machine.ok(f"ip addr add {RELAY}/128 dev lo nodad; ip addr del 127.0.0.1/8 dev lo")
    bare.relay.address = RELAY
    try:
        yield bare
    finally:
        del bare.relay.address  # the class's own again
        bare.machine.ok(f"ip addr add 127.0.0.1/8 dev lo; ip addr del {RELAY}/128 dev lo")


def test_a_source_backs_up_to_an_ipv6_address(ipv6: Bed) -> None:
    machine = ipv6.machine
    assert machine.ok("ip -4 -o addr show") == ""
    ipv6.dial_in()
    for step in (ipv6.repository(), ipv6.schedule()):
        assert step.code == 0, step.err
    machine.ok("mkdir -p /data && printf 'some data' >/data/file")
    run = ipv6.back_up()
    assert run.status["result"] == "success", run.text
    assert f"HostName {RELAY}" in machine.read("/etc/lastcopy/ssh_config")
