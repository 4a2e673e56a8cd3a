"""The whole program under mocks, for each kind of stack: the graph's shape, and what holds for every resource in it.

After a wanted change of the shape: LASTCOPY_WRITE_GOLDEN=1 python -m pytest tests/unit/program/test_graph.py
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
from pulumi_command import remote

from components.host import connection
from components.host.connection import Host
from components.host.host_tool import HostTool
from components.host.private_key import shorten
from components.sandbox import local_sandbox
from components.source import protected_source, step_values
from components.source.protected_source import ProtectedSource, ProtectedSourceArgs
from components.source.repository.restic_repository import ResticRepository, ResticRepositoryArgs
from tests.unit import stacks
from tests.unit.recording import Graph, Recorded, Secret
from tests.unit.settings.support import leaks, private_key, secrets_in
from tests.unit.stacks import (
    LOCAL_WEB1,
    OWN,
    OWN_WEB1,
    REMOTE,
    SHAPES,
    TUNNEL,
    Shape,
    commands,
    each_shape,
    graph_of,
    opened,
)

GOLDEN = Path(__file__).parent / "golden"
STORAGE_IS_TOUCHED_BY = ("relay_entry", "repository", "schedule")


@each_shape
def test_the_graph_has_the_reviewed_shape(shape: Shape) -> None:
    golden = GOLDEN / f"{shape.name}.txt"
    if os.environ.get("LASTCOPY_WRITE_GOLDEN"):
        golden.write_text(stacks.tree(graph_of(shape)))
    assert stacks.tree(graph_of(shape)) == golden.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {shape.name for shape in SHAPES}


# What must be true of every resource. Each check says what breaks it; its sabotage, below, proves that it can fail.


def plain_texts(value: Any) -> Iterator[str]:
    """Every text outside of secrets, also inside base64."""
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
    """No secret of the stack, given or generated, is in plain text among inputs, outputs and exports (A2)."""
    keys = {private_key(), shorten(private_key())}
    secrets = {*secrets_in(shape.config()), *keys, "generated-for-", "secret-of-"} - {"PRIVATE-KEY"}
    places = [(one.name, one.inputs) for one in graph]
    places += [*graph.outputs.items(), *graph.exports.items()]
    return [
        name
        for name, value in places
        if any(leaks(text, secret) for text in plain_texts(value) for secret in secrets)
    ]


def kept(graph: Graph) -> set[str]:
    """What exists on AWS and survives a careless destroy: the vault, and the address that the sources know."""
    vault = {one.name for one in stacks.below(graph, "vault")}
    return vault | ({one.name for one in graph} & {"relay-machine-address"})


def passwords_are_protected_as_asked(shape: Shape, graph: Graph) -> list[str]:
    """A5: the passwords that open the backups survive a destroy of the stack, and a test stack is destroyed cleanly."""
    given = [one["name"] for one in shape.config()["sources"] if "password" in one]
    made = {f"{name}-repository-password" for name in shape.sources if name not in given}
    assert made <= {one.name for one in graph}
    return sorted(
        {one.name for one in graph if one.protect} ^ (made | kept(graph) if shape.protect else set())
    )


def host_keys_are_pinned(_: Shape, graph: Graph) -> list[str]:
    """A1: on every connection, including the first and that of a jump host."""

    def is_pinned(command: Recorded) -> bool:
        connection = opened(command.inputs["connection"])
        first = command.name.startswith("relay-machine-host-key")
        pin = stacks.BORN_WITH if first else stacks.PINNED[connection["host"]]
        jump = connection.get("proxy")
        pinned = jump is None or jump.get("hostKey") == stacks.PINNED[jump["host"]]
        return bool(connection.get("hostKey") == pin) and pinned

    return [one.name for one in commands(graph) if not is_pinned(one)]


def commands_say_nothing(shape: Shape, graph: Graph) -> list[str]:
    """A2: nothing in argv, environment, log and diff; output of commands stays secret in the state."""

    def is_silent(command: Recorded) -> bool:
        inputs = command.inputs
        lines = [inputs[verb] for verb in ("create", "delete") if verb in inputs]
        return (
            inputs["logging"] == "none"
            and {"stdout", "stderr"} <= set(command.secret_outputs)
            and isinstance(inputs["stdin"], Secret)
            and inputs["addPreviousOutputInEnv"] is False
            and not {"environment", "update"} & set(inputs)
            # `triggers` replace a step, and a replacement finally runs the old one's removal: only for steps that disappear with their machine
            and ("triggers" not in inputs or command.deleted_with == shape.machine != "")
            and all(re.search(r"/bin/sh -s -- (apply|remove) \"\$SSH_CONNECTION\"$", line) for line in lines)
        )

    return [one.name for one in commands(graph) if not is_silent(one)]


def storage_comes_last(shape: Shape, graph: Graph) -> list[str]:
    """Nothing reaches the storage before sshd and firewall are confirmed and the bucket's lock is checked."""
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
    """So that no two sources can take each other's resources, and a reader knows which source one belongs to."""
    children = {name: stacks.below(graph, name) for name in shape.sources}
    assert all(children.values())
    return [
        one.name for name, inside in children.items() for one in inside if not one.name.startswith(f"{name}-")
    ]


def steps_go_with_their_machine(shape: Shape, graph: Graph) -> list[str]:
    """A destroy does not connect to a machine that is gone; a machine that the program did not make has to be connected to."""

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
    """A5: what the engine forgot would stay on a host without anyone knowing; but a production vault has to stay."""
    vault = {one.name for one in stacks.below(graph, "vault")} if shape.protect else set()
    return sorted({one.name for one in graph if one.retain_on_delete} ^ vault)


def passwords_depend_on_nothing(shape: Shape, graph: Graph) -> list[str]:
    """Otherwise `state delete --target-dependents` of a host's step would forget the password, and the next run would make another."""
    made = [f"{name}-repository-password" for name in shape.sources]
    steps = {one.name for one in commands(graph)}
    return [one.name for one in graph if one.name in made and stacks.before(graph, one.name) & steps]


def a_source_waits_for_no_other(shape: Shape, graph: Graph) -> list[str]:
    """So that with --continue-on-error a dead host costs only its own steps."""
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
def test_every_check_holds_for_every_kind_of_stack(shape: Shape, check: Check) -> None:
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
    """Each source depends on the previous one."""

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
    ("a test's password is protected", passwords_are_protected_as_asked, LOCAL_WEB1, protected_source, "ResticRepositoryArgs", _repository(protect=True)),
    ("any host key is taken", host_keys_are_pinned, OWN_WEB1, remote, "ConnectionArgs", _unpinned),
    ("any host key of a jump host is taken", host_keys_are_pinned, REMOTE, remote, "ProxyConnectionArgs", _unpinned_jump),
    ("output is logged", commands_say_nothing, OWN_WEB1, remote, "Logging", SimpleNamespace(NONE=remote.Logging.STDOUT)),
    ("a repository does not wait", storage_comes_last, OWN_WEB1, protected_source, "ResticRepositoryArgs", _repository(after=())),
    ("a password waits for a host", passwords_depend_on_nothing, OWN_WEB1, protected_source, "ResticRepository", _waiting),
    ("a child is named for what it is", a_sources_children_carry_its_name, OWN_WEB1, protected_source, "HostTool", _misnamed),
    ("a host outlives its machine", steps_go_with_their_machine, LOCAL_WEB1, local_sandbox, "Host", lambda **given: Host(**{**given, "machine": None})),
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
