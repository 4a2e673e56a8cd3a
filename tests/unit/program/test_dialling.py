"""The whole program under mocks: people, ports, networks and jump hosts as they reach sshd, the firewall and every connection."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.host.private_key import shorten
from components.storage.service_facts import rows_lost
from components.storage.services import SERVICES
from tests.unit import stacks
from tests.unit.host.step_texts import values_of
from tests.unit.settings.support import KEYS, private_key
from tests.unit.stacks import (
    CLOUD_WEB1,
    OWN,
    REMOTE,
    TUNNEL,
    Shape,
    bare,
    commands,
    graph_of,
    opened,
)


def test_people_exist_before_sshd_requires_their_second_factor() -> None:
    graph = graph_of(TUNNEL)
    step = graph.named("relay-sshd-people")
    assert step.inputs["values"]["PEOPLE"] == "alice\nbob\n"
    assert f"alice restrict,port-forwarding {KEYS['ADMIN-KEY']}\n" in step.inputs["values"]["KEYS"]
    stdin = opened(graph.named("relay-sshd-people-command").inputs["stdin"])
    values = values_of(step.inputs["script"], stdin)
    assert values["TOTP_0"] == KEYS["TOTP-SECRET"], "alice's, in PEOPLE's order"
    assert {name for name in values if name.startswith("TOTP_")} == {"TOTP_0", "TOTP_1"}
    assert "relay-sshd-people-command" in stacks.before(graph, "relay-sshd-config-command")


@pytest.mark.parametrize(
    ("shape", "dialled", "own", "sources_dial"),
    [
        (OWN, ("relay.example.com", 22), 22, ("10.0.0.5", 22)),
        (REMOTE, ("relay.example.com", 2022), 2022, ("relay.example.com", 2022)),
        (TUNNEL, ("127.0.0.1", 2222), 22, ("relay.example.com", 22)),
    ],
    ids=["port 22", "another port", "tunnel"],
)
def test_sshd_and_firewall_use_the_port_on_which_sshd_listens(
    shape: Shape, dialled: tuple[str, int], own: int, sources_dial: tuple[str, int]
) -> None:
    graph = graph_of(shape)
    for role in ("relay-sshd-config", "relay-sshd-confirm", "relay-firewall-rules", "relay-firewall-confirm"):
        connection = opened(graph.named(f"{role}-command").inputs["connection"])
        assert (connection["host"], connection["port"]) == dialled
    values = graph.named("relay-sshd-config").inputs["values"]
    assert {f"\nPort {own}\n" in values[name] for name in ("DROPIN_100", "DROPIN_92") if values[name]} == {
        True
    }
    assert f"tcp dport {own} accept" in graph.named("relay-firewall-rules").inputs["values"]["RULES"]
    told = graph.named("web1-enrolment-client").inputs["values"]["SSH_CONFIG"]
    assert re.search(rf"HostName {re.escape(sources_dial[0])}\n", told)
    assert re.search(rf"Port {sources_dial[1]}\n", told)


def test_the_relays_directory_and_vpn_reach_its_firewall() -> None:
    """In both phases: otherwise the second would cut off what the first allowed."""
    more = "{intermediate: {existing: {directory: ['10.0.0.3:636', '[2001:db8::3]:636'], vpnPorts: [51820]}}}"
    graph, plain = graph_of(OWN, more), graph_of(OWN)
    for role in ("relay-firewall-rules", "relay-firewall-confirm"):
        rules = graph.named(role).inputs["values"]["RULES"]
        for words in ("10.0.0.3 . 636", "2001:db8::3 . 636", "udp dport { 51820 } accept"):
            assert words in rules, (role, words)
        assert "@directory4 accept" in rules
        assert "directory4" not in plain.named(role).inputs["values"]["RULES"]


def test_the_service_its_checksum_and_accepted_losses_reach_the_storage_step_and_the_readers() -> None:
    graph = stacks.run(
        OWN.config("{storage: {s3: {provider: Ceph, checksum: trailer, acceptedLosses: [R4]}}}")
    )
    values = graph.named("web1-enrolment-entry-storage").inputs["values"]
    assert values["CHECKSUM"] == "trailer", "as chosen, not the service's default"
    assert set(values["ACCEPTED"].split()) == {"R4", *rows_lost(SERVICES["Ceph"])}
    told = bare(graph.exports["vault"])
    assert (told["provider"], told["checksum"]) == ("Ceph", "trailer")


def test_a_jump_host_leads_to_every_host_of_the_stack() -> None:
    """Reached as its own user. A connection through it is not retried, so that the first error is the one that is shown."""
    for one in commands(graph_of(REMOTE)):
        connection = opened(one.inputs["connection"])
        assert (connection["proxy"]["host"], connection["proxy"]["user"]) == ("jump.example.com", "jumper")
        assert (connection["dialErrorLimit"], connection["proxy"]["dialErrorLimit"]) == (0, 4)
    assert "proxy" not in opened(commands(graph_of(OWN))[0].inputs["connection"])
    one = commands(graph_of(CLOUD_WEB1, JUMP))[0]
    assert opened(one.inputs["connection"])["proxy"]["host"] == "jump.example.com"
    ssm = "{intermediate: {ec2: {door: ssm, adminsFrom: REMOVED}}, " + JUMP[1:]
    relay = graph_of(CLOUD_WEB1, ssm).named("relay-shared-command")
    assert "proxy" not in opened(relay.inputs["connection"]), "its session ends on this workstation"


JUMP = "{admin: {jumpHost: {address: jump.example.com, hostKey: ADMIN-KEY}}}"


def test_a_jump_host_with_its_own_key_is_reached_with_that_key(tmp_path: Path) -> None:
    file = tmp_path / "jump"
    file.write_text(private_key.__wrapped__())  # another one
    file.chmod(0o600)
    config = CLOUD_WEB1.config(JUMP.replace("hostKey", f"privateKeyFile: {file}, hostKey"))
    dialled = opened(commands(stacks.run(config))[0].inputs["connection"])
    assert (
        opened(dialled["proxy"]["privateKey"]) == shorten(file.read_text()) != opened(dialled["privateKey"])
    )
