"""How much of the state a source takes: the engine keeps all of it in memory, and writes all of it at every step."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pulumi.runtime import resource
from pulumi.runtime.proto.source_pb2 import StackTrace

from components.host import host_step, program_texts
from components.host.program_texts import script_text
from components.source_positions import omit_source_positions
from tests.unit import stacks
from tests.unit.program.state_size import bytes_of_source
from tests.unit.stacks import OWN, OWN_WEB1, graph_of

# The goal of 50 KB is not met: docs/benchmarks.md, and docs/decisions/0019-programs-once-under-their-digest.md for what the rest consists of.
MOST = 68_000  # the mocks report every fact with every step, about 3 KB more than in reality


def test_a_source_takes_little_space_in_the_state() -> None:
    sizes = {source: bytes_of_source(graph_of(OWN), source) for source in OWN.managed}
    assert max(sizes.values()) <= MOST, sizes
    assert min(sizes.values()) > MOST * 0.8, "nothing was left out of the count"


def whole(script: str, values: Mapping[str, str], **_: str) -> str:
    return script_text(script, values)


SABOTAGE = {
    "steps send their whole text": (host_step, "stored_step_text", whole),
    "no line is usual": (program_texts, "usual_lines", lambda _: []),
    "keys stay long": ("components.host.connection.shorten", None, lambda text: text),
}


@pytest.mark.parametrize(("where", "name", "replacement"), SABOTAGE.values(), ids=SABOTAGE)
def test_sabotage_it_is_noticed_when(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str | None, replacement: object
) -> None:
    if name is None:
        monkeypatch.setattr(str(where), replacement)
    else:
        monkeypatch.setattr(where, name, replacement)
    assert bytes_of_source(stacks.run(OWN_WEB1.config()), "web1") > MOST


def test_no_resource_carries_its_call_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also notices if a new SDK lacks the function; for what the real engine keeps: tests/integration/test_upgrade.py."""
    monkeypatch.setattr(resource, "_get_stack_trace", resource._get_stack_trace)
    assert _made_here(3).frames
    omit_source_positions()
    assert not _made_here(3).frames


def _made_here(classes: int) -> StackTrace:
    """The SDK's call stack of a resource: it begins above the constructors of its three classes."""

    class Resource:
        def __init__(self, classes: int) -> None:
            self.trace: StackTrace = (
                Resource(classes - 1).trace if classes > 1 else resource._get_stack_trace()
            )

    return Resource(classes).trace
