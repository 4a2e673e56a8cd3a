"""The whole program under mocks, for each kind of stack: the graph's shape, and what holds for every resource in it.

After a wanted change of the shape: LASTCOPY_WRITE_GOLDEN=1 python -m pytest tests/unit/program/test_graph.py
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
from pulumi_command import remote

from components.host import connection
from components.host.connection import Host
from components.host.host_tool import HostTool
from components.sandbox import local_sandbox
from components.settings import SettingsError
from components.source import protected_source, step_values
from components.source.protected_source import ProtectedSource, ProtectedSourceArgs
from components.source.repository.restic_repository import ResticRepository, ResticRepositoryArgs
from components.storage.service_facts import rows_lost
from components.storage.services import SERVICES
from ops.errors import LastcopyError
from ops.kit.kit import make_kit as kit_of
from ops.storage.access import StorageKey, read_access
from tests.unit import stacks
from tests.unit.recording import Graph, Recorded, Secret
from tests.unit.settings.support import KEYS, leaks, private_key, secrets_in
from tests.unit.stacks import (
    CLOUD,
    CLOUD_WEB1,
    LOCAL,
    OWN,
    OWN_WEB1,
    REMOTE,
    SHAPES,
    TRY,
    TUNNEL,
    Shape,
    graph_of,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
GOLDEN = Path(__file__).parent / "golden"
STORAGE_IS_TOUCHED_BY = ("relay_entry", "repository", "schedule")


each_shape = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])


@each_shape
def test_the_shape_is_as_reviewed(shape: Shape) -> None:
    golden = GOLDEN / f"{shape.name}.txt"
    if os.environ.get("LASTCOPY_WRITE_GOLDEN"):
        golden.write_text(stacks.tree(graph_of(shape)))
    assert stacks.tree(graph_of(shape)) == golden.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {shape.name for shape in SHAPES}


# What holds for every resource. Each check names what breaks it; its sabotage, below, proves that it can.


def commands(graph: Graph) -> list[Recorded]:
    found = graph.of_type("command:remote:Command")
    assert len(found) > 5
    return found


def opened(value: Any) -> Any:
    return value.value if isinstance(value, Secret) else value


def plain_texts(value: Any) -> Iterator[str]:
    """Every text outside of secrets, also inside of what is only base64."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from plain_texts(key)
            yield from plain_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from plain_texts(item)
    elif isinstance(value, str):
        yield value
        for word in re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", value):
            try:
                yield base64.b64decode(word, validate=True).decode(errors="replace")
            except binascii.Error:
                continue


def secrets_are_secret(shape: Shape, graph: Graph) -> list[str]:
    """No secret of the stack, given or made, is in plain among inputs, outputs and exports (A2)."""
    secrets = {*secrets_in(shape.config()), private_key(), "generated-for-", "secret-of-"} - {"PRIVATE-KEY"}
    places = [(one.name, one.inputs) for one in graph]
    places += [*graph.outputs.items(), *graph.exports.items()]
    return [
        name
        for name, value in places
        if any(leaks(text, secret) for text in plain_texts(value) for secret in secrets)
    ]


def kept(graph: Graph) -> set[str]:
    """What is in AWS and outlives a careless destroy: the vault, and the address that the sources know."""
    vault = {one.name for one in stacks.below(graph, "vault")}
    return vault | ({one.name for one in graph} & {"relay-machine-address"})


def passwords_are_protected_as_asked(shape: Shape, graph: Graph) -> list[str]:
    """A5: what opens the backups stays when the stack is destroyed, and a test stack goes cleanly."""
    given = [one["name"] for one in shape.config()["sources"] if "password" in one]
    made = {f"{name}-repository-password" for name in shape.sources if name not in given}
    assert made <= {one.name for one in graph}
    return sorted(
        {one.name for one in graph if one.protect} ^ (made | kept(graph) if shape.protect else set())
    )


def host_keys_are_pinned(_: Shape, graph: Graph) -> list[str]:
    """A1: every dial, the first one and that of a jump host too."""

    def is_pinned(command: Recorded) -> bool:
        connection = opened(command.inputs["connection"])
        first = command.name.startswith("relay-machine-host-key")
        pin = stacks.BORN_WITH if first else stacks.PINNED[connection["host"]]
        jump = connection.get("proxy")
        pinned = jump is None or jump.get("hostKey") == stacks.PINNED[jump["host"]]
        return bool(connection.get("hostKey") == pin) and pinned

    return [one.name for one in commands(graph) if not is_pinned(one)]


def commands_say_nothing(shape: Shape, graph: Graph) -> list[str]:
    """A2: nothing in argv, environment, log and diff; what was said stays secret in the state."""

    def is_silent(command: Recorded) -> bool:
        inputs = command.inputs
        lines = [inputs[verb] for verb in ("create", "delete") if verb in inputs]
        return (
            inputs["logging"] == "none"
            and {"stdout", "stderr"} <= set(command.secret_outputs)
            and isinstance(inputs["stdin"], Secret)
            and inputs["addPreviousOutputInEnv"] is False
            and not {"environment", "update"} & set(inputs)
            # `triggers` replace a step, and a replacement runs the old one's undoing last: only where it goes with its machine
            and ("triggers" not in inputs or command.deleted_with == shape.machine != "")
            and all(re.search(r"/bin/sh -s -- (apply|remove) \"\$SSH_CONNECTION\"$", line) for line in lines)
        )

    return [one.name for one in commands(graph) if not is_silent(one)]


def storage_comes_last(shape: Shape, graph: Graph) -> list[str]:
    """Nothing reaches the storage before sshd and firewall were confirmed and the bucket's lock was proved."""
    late = []
    for step in graph.of_type("lastcopy:host:HostStep"):
        if step.inputs["script"] not in (*STORAGE_IS_TOUCHED_BY, "storage_check"):
            continue
        source = next(name for name in shape.sources if step.name.startswith(f"{name}-"))
        wanted = {"relay-sshd-confirm-command", "relay-firewall-confirm-command", "relay-shared-command"}
        if step.inputs["script"] in STORAGE_IS_TOUCHED_BY and shape is not REMOTE:
            wanted.add(f"{source}-enrolment-entry-storage-command")
        if not wanted <= stacks.before(graph, f"{step.name}-command"):
            late.append(step.name)
    return late


def a_sources_children_carry_its_name(shape: Shape, graph: Graph) -> list[str]:
    """So that no two sources can take each other's resources, and a reader knows whose one is."""
    children = {name: stacks.below(graph, name) for name in shape.sources}
    assert all(children.values())
    return [
        one.name for name, inside in children.items() for one in inside if not one.name.startswith(f"{name}-")
    ]


def steps_go_with_their_machine(shape: Shape, graph: Graph) -> list[str]:
    """A destroy dials no machine that is gone; a machine that is not ours has to be dialled."""

    def machine(command: Recorded) -> str:
        on_relay = (
            command.name.startswith("relay-") or "-entry-" in command.name or "-cutoff-" in command.name
        )
        if on_relay or not shape.sandbox:
            return shape.machine if on_relay else ""
        return f"sandbox-machine-{command.name.split('-')[0]}"

    return [
        one.name
        for one in commands(graph)
        if one.deleted_with != machine(one) or not {machine(one)} - {""} <= set(one.depends_on)
    ]


def nothing_stays_behind_unseen(shape: Shape, graph: Graph) -> list[str]:
    """A5: what the engine forgot would stay on a host without anyone who knows of it; but a production vault has to."""
    vault = {one.name for one in stacks.below(graph, "vault")} if shape.protect else set()
    return sorted({one.name for one in graph if one.retain_on_delete} ^ vault)


def passwords_depend_on_nothing(shape: Shape, graph: Graph) -> list[str]:
    """Else `state delete --target-dependents` of a host's step would forget the password, and the next run would make another."""
    made = [f"{name}-repository-password" for name in shape.sources]
    steps = {one.name for one in commands(graph)}
    return [one.name for one in graph if one.name in made and stacks.before(graph, one.name) & steps]


def a_source_waits_for_no_other(shape: Shape, graph: Graph) -> list[str]:
    """So that with --continue-on-error a dead host costs its own steps and no other source's."""
    children = {name: {one.name for one in stacks.below(graph, name)} for name in shape.sources}
    return [
        step
        for name, inside in children.items()
        for step in inside
        if any(stacks.before(graph, step) & children[other] for other in children if other != name)
    ]


Check = Callable[[Shape, Graph], list[str]]
CHECKS: tuple[Check, ...] = (
    secrets_are_secret, passwords_are_protected_as_asked, host_keys_are_pinned, commands_say_nothing,
    storage_comes_last, a_sources_children_carry_its_name, steps_go_with_their_machine, nothing_stays_behind_unseen,
    a_source_waits_for_no_other, passwords_depend_on_nothing,
)  # fmt: skip


@each_shape
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_holds_for_every_resource(shape: Shape, check: Check) -> None:
    assert check(shape, graph_of(shape)) == []


# Sabotage: the program with one careless component, and the check that must notice.


def _repository(**changes: Any) -> Callable[..., ResticRepositoryArgs]:
    return lambda **given: ResticRepositoryArgs(**{**given, **changes})


def _step_that_tells_the_password(source: Any) -> dict[str, str]:
    hint = source.password.get_secret_value() if source.password else ""
    return {"SOURCE": source.name, "GENERATION": str(source.generation), "HINT": hint}


def _unpinned(**given: Any) -> remote.ConnectionArgs:
    return REAL_CONNECTION(**{**given, "host_key": None})


def _unpinned_jump(**given: Any) -> remote.ProxyConnectionArgs:
    return REAL_PROXY(**{**given, "host_key": None})


class _Chained(ProtectedSource):
    """Each source after the one before it."""

    last: tuple[pulumi.Resource, ...] = ()

    def __init__(self, name: str, args: ProtectedSourceArgs) -> None:
        super().__init__(name, args, pulumi.ResourceOptions(depends_on=_Chained.last))
        _Chained.last = (self,)


def _waiting(name: str, args: ResticRepositoryArgs, opts: pulumi.ResourceOptions) -> ResticRepository:
    return ResticRepository(name, args, pulumi.ResourceOptions(parent=opts.parent, depends_on=args.after))


def _misnamed(name: str, *rest: Any, **more: Any) -> HostTool:
    return HostTool(f"restic-of-{name}", *rest, **more)


def _forgotten(name: str, **given: Any) -> remote.Command:
    return REAL_COMMAND(name, **{**given, "opts": pulumi.ResourceOptions(retain_on_delete=True)})


REAL_CONNECTION, REAL_PROXY, REAL_COMMAND = remote.ConnectionArgs, remote.ProxyConnectionArgs, remote.Command
SABOTAGE: tuple[tuple[str, Check, Shape, object, str, object], ...] = (
    ("a step is told the password as a public value", secrets_are_secret, OWN, step_values, "repository", _step_that_tells_the_password),
    ("a given secret is handed on as plain text", secrets_are_secret, TUNNEL, connection.pulumi.Output, "secret", connection.pulumi.Output.from_input),
    ("a password is not protected", passwords_are_protected_as_asked, OWN_WEB1, protected_source, "ResticRepositoryArgs", _repository(protect=False)),
    ("a test's password is protected", passwords_are_protected_as_asked, LOCAL, protected_source, "ResticRepositoryArgs", _repository(protect=True)),
    ("any host key is taken", host_keys_are_pinned, OWN_WEB1, remote, "ConnectionArgs", _unpinned),
    ("any host key of a jump host is taken", host_keys_are_pinned, REMOTE, remote, "ProxyConnectionArgs", _unpinned_jump),
    ("output is logged", commands_say_nothing, OWN_WEB1, remote, "Logging", SimpleNamespace(NONE=remote.Logging.STDOUT)),
    ("a repository does not wait", storage_comes_last, OWN_WEB1, protected_source, "ResticRepositoryArgs", _repository(after=())),
    ("a password waits for a host", passwords_depend_on_nothing, OWN_WEB1, protected_source, "ResticRepository", _waiting),
    ("a child is named for what it is", a_sources_children_carry_its_name, OWN_WEB1, protected_source, "HostTool", _misnamed),
    ("a host outlives its machine", steps_go_with_their_machine, LOCAL, local_sandbox, "Host", lambda **given: Host(**{**given, "machine": None})),
    ("a source waits for another", a_source_waits_for_no_other, OWN, protected_source, "ProtectedSource", _Chained),
    ("a step is forgotten, not undone", nothing_stays_behind_unseen, OWN_WEB1, remote, "Command", _forgotten),
)  # fmt: skip


@pytest.mark.parametrize(
    ("check", "shape", "where", "name", "careless"),
    [row[1:] for row in SABOTAGE],
    ids=[row[0] for row in SABOTAGE],
)
def test_a_careless_component_is_noticed(
    monkeypatch: pytest.MonkeyPatch, check: Check, shape: Shape, where: object, name: str, careless: object
) -> None:
    monkeypatch.setattr(where, name, careless)
    assert check(shape, stacks.run(shape.config())) != []


# What a change of the stack file touches.


@pytest.mark.parametrize(
    ("shape", "source"),
    [
        pytest.param(shape, source, id=f"{shape.name}-{source}")
        for shape in (LOCAL, OWN, REMOTE, CLOUD, TRY)
        for source in shape.sources
        if shape is not CLOUD or source == "db1"  # the largest stack, once
    ],
)
def test_removing_a_source_removes_exactly_its_resources(shape: Shape, source: str) -> None:
    full = graph_of(shape)
    rest = stacks.run(shape.config(without=source))
    own = {source, *(one.name for one in stacks.below(full, source))}
    own |= {one.name for one in full if one.name == f"{source}-programs"}
    if shape.sandbox:
        own |= {f"sandbox-{role}-{source}" for role in ("machine", "secret", "identity")}
    own |= {one.name for one in full if re.match(rf"vault-(identity|alarms-silent)-{source}(-|$)", one.name)}
    assert stacks.touched(full, rest) == own
    assert not own & {one.name for one in rest}


@pytest.mark.parametrize("shape", [LOCAL, OWN], ids=["local", "s3"])
def test_a_changed_schedule_touches_that_step_only(shape: Shape) -> None:
    changed = graph_of(shape, "{sources: [{schedule: hourly}]}")
    steps = {"web1-schedule", "web1-schedule-units", "web1-schedule-units-command"}
    assert stacks.touched(graph_of(shape), changed) == steps


def test_an_unmanaged_sources_schedule_is_in_its_script_only() -> None:
    changed = graph_of(OWN, "{sources: [{}, {}, {schedule: hourly}]}")
    assert stacks.touched(graph_of(OWN), changed) == set()
    assert changed.exports["enrolmentScripts"] != graph_of(OWN).exports["enrolmentScripts"]


def test_the_same_stack_is_told_the_same_way_twice() -> None:
    assert stacks.touched(graph_of(OWN), stacks.run(OWN.config())) == set()


# People and ports.


def test_people_stand_before_sshd_asks_for_their_second_factor() -> None:
    graph = graph_of(TUNNEL)
    step = graph.named("relay-sshd-people")
    assert step.inputs["values"]["PEOPLE"] == "alice\nbob\n"
    assert f"alice restrict,port-forwarding {KEYS['ADMIN-KEY']}\n" in step.inputs["values"]["KEYS"]
    stdin = opened(graph.named("relay-sshd-people-command").inputs["stdin"])
    secrets = dict(re.findall(r"^V_(TOTP_\d)=(.*)$", stdin, re.MULTILINE))
    assert base64.b64decode(secrets["TOTP_0"]).decode() == KEYS["TOTP-SECRET"], "alice's, in PEOPLE's order"
    assert len(secrets) == 2
    assert "relay-sshd-people-command" in stacks.before(graph, "relay-sshd-config-command")


def test_another_person_touches_the_peoples_step_only() -> None:
    more = "{admin: {people: [{}, {}, {name: carol, publicKeys: [OLD-SECURITY-KEY], totpSecret: ONSWG4TFOQQGC3TEEBZWKY3SMV2CA5DP}]}}"
    found = stacks.touched(graph_of(TUNNEL), graph_of(TUNNEL, more))
    assert found == {"relay-sshd", "relay-sshd-people", "relay-sshd-people-command"}


@pytest.mark.parametrize(
    ("shape", "dialled", "own", "sources_dial"),
    [
        (OWN, ("relay.example.com", 22), 22, ("10.0.0.5", 22)),
        (REMOTE, ("relay.example.com", 2022), 2022, ("relay.example.com", 2022)),
        (TUNNEL, ("127.0.0.1", 2222), 22, ("relay.example.com", 22)),
    ],
    ids=["port 22", "another port", "tunnel"],
)
def test_sshd_and_firewall_keep_the_port_that_sshd_itself_has(
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
    """Both phases: what the first would let through and the second not would be cut off later."""
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
    assert values["CHECKSUM"] == "trailer", "as chosen, not as the service likes it"
    assert set(values["ACCEPTED"].split()) == {"R4", *rows_lost(SERVICES["Ceph"])}
    told = bare(graph.exports["vault"])
    assert (told["provider"], told["checksum"]) == ("Ceph", "trailer")


def test_a_jump_host_leads_to_every_host_of_the_stack() -> None:
    """Dialled as its own user; a dial from it is not repeated, so that the first error is the one that is told."""
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


def test_a_jump_host_is_dialled_with_a_key_of_its_own_where_it_has_one(tmp_path: Path) -> None:
    file = tmp_path / "jump"
    file.write_text(private_key.__wrapped__())  # another one
    file.chmod(0o600)
    config = CLOUD_WEB1.config(JUMP.replace("hostKey", f"privateKeyFile: {file}, hostKey"))
    dialled = opened(commands(stacks.run(config))[0].inputs["connection"])
    assert opened(dialled["proxy"]["privateKey"]) == file.read_text() != opened(dialled["privateKey"])


# What the stack hands out.


@each_shape
def test_exports(shape: Shape) -> None:
    exports = graph_of(shape).exports
    assert set(exports["sources"]) == set(exports["passwords"]) == set(shape.sources)
    assert set(exports["enrolmentScripts"]) == set(shape.unmanaged)
    assert all(isinstance(value, Secret) for value in exports["passwords"].values())
    assert all(isinstance(value, Secret) for value in exports["enrolmentScripts"].values())
    assert {name for name in shape.sources if exports["sources"][name]["managed"]} == set(shape.managed)
    assert not any(isinstance(value, Secret) for value in exports["sources"].values()), "ops reads these"
    assert ("bucket" in exports["vault"]) == (shape is not REMOTE)


@each_shape
def test_the_outputs_tell_where_each_host_is_dialled(shape: Shape) -> None:
    """So that no verb of the operator's reads the stack file for it."""
    graph = graph_of(shape)
    steps = {"relay": "relay-sshd-config-command"}
    steps |= {name: f"{name}-schedule-units-command" for name in shape.managed}
    for name, step in steps.items():
        told = graph.exports["relay"] if name == "relay" else graph.exports["sources"][name]
        dialled = opened(graph.named(step).inputs["connection"])
        assert {key: told[key] for key in ("port", "user", "hostKey")} == {
            key: dialled[key] for key in ("port", "user", "hostKey")
        }, name
        assert told["address"] == dialled["host"]
        jump = dialled.get("proxy")
        assert (told.get("jumpHost") is None) == (jump is None) == (shape is not REMOTE)
        if jump is not None:
            keys = {"address": "host", "port": "port", "user": "user", "hostKey": "hostKey"}
            assert told["jumpHost"] == {key: jump[name] for key, name in keys.items()}
    for name in shape.unmanaged:
        told = graph.exports["sources"][name]
        assert {told[key] for key in ("address", "port", "user", "hostKey", "jumpHost")} == {None}


@each_shape
def test_recovery_finds_its_way_from_the_exports(shape: Shape) -> None:
    """`ops recover` and the kit read what the program exports, whatever its shape."""
    exports = {name: bare(value) for name, value in graph_of(shape).exports.items()}
    if shape is REMOTE:
        with pytest.raises(LastcopyError, match="without versions"):
            kit_of("prod", exports, {}, NOON, key=None)
        return
    kit = kit_of("prod", exports, {"restic": "0.19.1"}, NOON, key=None)
    assert [source.name for source in kit.sources] == sorted(shape.sources)
    assert {source.name for source in kit.sources if source.host_key} == set(shape.managed)
    key = StorageKey.read({"accessKeyId": "EXAMPLE", "secretAccessKey": "0123456789"}, "test")
    for name in shape.sources:
        of_kit, of_stack = kit.access(name, key), read_access(exports, name, key)
        assert (of_kit.where, of_kit.path, of_kit.password) == (
            of_stack.where,
            of_stack.path,
            of_stack.password,
        )
        told = exports["sources"][name]
        assert (of_stack.record.silent_after_hours, of_stack.record.shrink_percent) == (
            told["silentAfterHours"],
            told["shrinkPercent"],
        )


def bare(value: Any) -> Any:
    """As `pulumi stack output --show-secrets` gives it."""
    value = opened(value)
    if isinstance(value, dict):
        return {key: bare(one) for key, one in value.items()}
    return value


def test_a_vault_without_object_lock_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    stacks.run(REMOTE.config())
    assert [one.levelname for one in caplog.records if "NO OBJECT LOCK" in one.message] == ["WARNING"]


def test_bad_settings_register_nothing() -> None:
    with pytest.raises(SettingsError, match=r"1 problem in stacks/Pulumi\.unit\.yaml; nothing was changed"):
        graph_of(OWN, "{protect: maybe}")
