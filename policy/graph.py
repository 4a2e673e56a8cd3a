"""Resources as the rules see them: in the same form from a recorded graph and from the engine. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Secret:
    """A value that is encrypted in the state."""

    value: Any


class Unknown:
    """A value that is not known before an update. It does not tell whether it will be secret."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True, kw_only=True)
class Node:
    """One resource. ``refers``: for each input, the names of the resources whose outputs it contains."""

    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    protect: bool = False
    secret_outputs: frozenset[str] = frozenset()
    refers: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def get(self, *path: str) -> Any:
        """The input at a path, whether secret or not; UNKNOWN below an unknown value, None if there is none."""
        value: Any = self.inputs
        for key in path:
            value = reveal(value)
            if value is UNKNOWN:
                return UNKNOWN
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            value = value.get(key) if isinstance(value, Mapping) else None
        return reveal(value)


Graph = tuple[Node, ...]


@dataclass(frozen=True)
class Violation:
    """What is wrong with a resource, and what to do about it."""

    rule: str
    node: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.node}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class NodeRule:
    """A rule that judges each resource separately, before it is changed."""

    name: str
    promise: str
    check: Callable[[Node], Iterable[str]]

    def violations(self, graph: Graph) -> Iterator[Violation]:
        for node in graph:
            yield from (Violation(self.name, node.name, text) for text in self.check(node))


@dataclass(frozen=True, kw_only=True)
class GraphRule:
    """A rule that judges the whole stack, at the end of a preview, before anything is changed."""

    name: str
    promise: str
    check: Callable[[Graph], Iterable[tuple[Node, str]]]

    def violations(self, graph: Graph) -> Iterator[Violation]:
        yield from (Violation(self.name, node.name, text) for node, text in self.check(graph))


Rule = NodeRule | GraphRule


def reveal(value: Any) -> Any:
    """A value without its secret mark."""
    while isinstance(value, Secret):
        value = value.value
    return value


def leaves(value: Any, path: str = "", hidden: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Every value that is neither a list nor a mapping, with its path, and whether it or a value around it is secret."""
    if isinstance(value, Secret):
        yield from leaves(value.value, path, True)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key), hidden)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from leaves(item, f"{path}[{number}]", hidden)
    else:
        yield path, value, hidden
