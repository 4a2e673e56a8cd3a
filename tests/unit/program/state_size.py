"""The bytes of state that a source's resources take, computed from what the program registers: as in `pulumi stack export`."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.recording import Graph, Recorded, Secret
from tests.unit.stacks import below

_PROVIDER = (
    "urn:pulumi:unit::lastcopy::pulumi:providers:command::default_1_2_1::50b9a3f1-c251-482c-9dfe-2706fef3585f"
)
_PRINTED = json.dumps(
    {"step": "schedule", "mode": "apply", "changed": [], "drift": [], "facts": {"key": "x" * 80}}
)
_CREATED = "2026-01-01T00:00:00.000000000Z"


def bytes_of_source(graph: Graph, source: str) -> int:
    """The size of the source's component, everything below it, and the sender of its programs."""
    own = [graph.named(source), *below(graph, source), graph.named(f"{source}-programs")]
    return sum(len(json.dumps(_entry(graph, one))) for one in own)


def _entry(graph: Graph, one: Recorded) -> dict[str, Any]:
    inputs = {name: _stored(value) for name, value in one.inputs.items()}
    custom = one.type.startswith(("command:", "random:"))
    outputs = graph.outputs.get(one.name, {})
    if custom:
        # A provider repeats every input among its outputs.
        printed = {"stdout": Secret(_PRINTED), "stderr": Secret("")}
        outputs = {**one.inputs, **(printed if one.type.startswith("command:") else {})}
    return {
        "urn": _urn(graph, one),
        "custom": custom,
        **({"id": f"{one.name}12345678", "provider": _PROVIDER} if custom else {}),
        "type": one.type,
        "inputs": inputs,
        "outputs": {name: _stored(value) for name, value in outputs.items()},
        "parent": _urn(graph, graph.named(one.parent)),
        "dependencies": [_urn(graph, graph.named(name)) for name in one.depends_on],
        "propertyDependencies": {
            name: [_urn(graph, graph.named(other)) for other in others] for name, others in one.refers.items()
        },
        "additionalSecretOutputs": one.secret_outputs,
        "created": _CREATED,
        "modified": _CREATED,
    }


def _urn(graph: Graph, one: Recorded) -> str:
    types, above = [one.type], one.parent
    while above and (parent := graph.named(above)).type != "pulumi:pulumi:Stack":
        types.insert(0, parent.type)
        above = parent.parent
    return f"urn:pulumi:unit::lastcopy::{'$'.join(types)}::{one.name}"


def _stored(value: Any) -> Any:
    """The value as in the state: a secret is encrypted as a whole, which makes four bytes of three."""
    if isinstance(value, Secret):
        cipher = len(json.dumps(_plain(value.value)).encode()) + 16
        return {
            "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
            "ciphertext": "v1:" + "x" * (17 + -(-cipher // 3) * 4),
        }
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return _plain(value.value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
