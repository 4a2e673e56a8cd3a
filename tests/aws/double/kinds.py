"""The description of a resource type for the double."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.aws.double.cloud import Cloud
from tests.aws.double.wire import Props

Made = tuple[str, Props]
"""Id, and the outputs beyond the inputs."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One resource type. `takes` are its known inputs; a change of an input in `new` replaces the resource, any other change calls `update`.

    `named`: if the program gives no name, the provider makes one, `<resource>-<7 hex digits>`.
    """

    takes: frozenset[str]
    create: Callable[[Cloud, Props], Made]
    read: Callable[[Cloud, str, Props], Props | None]
    delete: Callable[[Cloud, str, Props], None]
    update: Callable[[Cloud, str, Props, Props], Props] | None = None
    new: frozenset[str] = field(default_factory=frozenset)
    secrets: frozenset[str] = field(default_factory=frozenset)
    new_if: Callable[[Props, Props], set[str]] = lambda *_: set()
    named: bool = False
    delete_first: bool = False


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())
