"""The whole program under mocks: which resources a change of the stack file touches, and which it must not touch."""

from __future__ import annotations

import re

import pytest

from tests.unit import stacks
from tests.unit.stacks import (
    CLOUD,
    LOCAL,
    OWN,
    REMOTE,
    TRY,
    TUNNEL,
    Shape,
    graph_of,
)


@pytest.mark.parametrize(
    ("shape", "source"),
    [
        pytest.param(shape, source, id=f"{shape.name}-{source}")
        for shape in (LOCAL, OWN, REMOTE, CLOUD, TRY)
        for source in (shape.managed[-1], *shape.unmanaged)  # one of each kind
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
def test_a_changed_schedule_touches_only_that_step(shape: Shape) -> None:
    changed = graph_of(shape, "{sources: [{schedule: hourly}]}")
    steps = {"web1-schedule", "web1-schedule-units", "web1-schedule-units-command"}
    assert stacks.touched(graph_of(shape), changed) == steps


def test_an_unmanaged_sources_schedule_is_only_in_its_script() -> None:
    changed = graph_of(OWN, "{sources: [{}, {}, {schedule: hourly}]}")
    assert stacks.touched(graph_of(OWN), changed) == set()
    assert changed.exports["enrolmentScripts"] != graph_of(OWN).exports["enrolmentScripts"]


def test_the_same_stack_registers_the_same_resources_twice() -> None:
    assert stacks.touched(graph_of(OWN), stacks.run(OWN.config())) == set()


def test_another_person_touches_only_the_step_of_people() -> None:
    more = "{admin: {people: [{}, {}, {name: carol, publicKeys: [OLD-SECURITY-KEY], totpSecret: ONSWG4TFOQQGC3TEEBZWKY3SMV2CA5DP}]}}"
    found = stacks.touched(graph_of(TUNNEL), graph_of(TUNNEL, more))
    assert found == {"relay-sshd", "relay-sshd-people", "relay-sshd-people-command"}
