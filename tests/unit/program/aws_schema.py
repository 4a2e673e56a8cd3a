"""Checks recorded AWS resources against the installed SDK of pulumi-aws, which is generated from the provider's published schema.

Checked: the resource type exists, every input and nested input has one of its names, required inputs are given, values
have the right type, and words are among those that an enum or the documentation ("Valid values: …") lists. What the schema does not say
(lengths, formats, which inputs exclude each other) is not checked here, but by the provider and AWS.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pulumi import Output
from pulumi import _types as sdk

from tests.unit.recording import Graph, Recorded, Secret

PROVIDER = "pulumi:providers:aws"
_LISTED = re.compile(
    r"Valid values?(?: are|:| include:?)?:? ((?:`\"?[\w.:*-]+\"?`(?:,? and |,? or |, )?)+)(?=\.|\n|$| \()"
)


def problems(graph: Graph) -> list[str]:
    """Everything in a graph that the schema does not know."""
    return [found for one in graph for found in _resource(one)]


def checked(graph: Graph) -> list[str]:
    """The names of the resources that are looked at."""
    return [one.name for one in graph if _is_aws(one.type)]


def _is_aws(type_: str) -> bool:
    return type_.startswith("aws:") or type_ == PROVIDER


def _resource(one: Recorded) -> Iterator[str]:
    if not _is_aws(one.type):
        return
    arguments = _arguments(one.type)
    if arguments is None:
        yield f"{one.name}: {one.type} is no resource type of the installed pulumi-aws"
        return
    inputs = _decoded(arguments, one.inputs) if one.type == PROVIDER else one.inputs
    for path, what in _mapping(arguments, inputs, ""):
        yield f"{one.name}: {path}: {what}"


def _decoded(arguments: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """A provider's inputs arrive as text: as JSON unless they are strings."""
    known = sdk.input_type_types(arguments)
    return {
        key: json.loads(value) if isinstance(value, str) and known.get(key, str) is not str else value
        for key, value in given.items()
    }


@cache
def _arguments(type_: str) -> type | None:
    """The SDK's class of a resource type's inputs."""
    module, name = "pulumi_aws", "Provider"
    if type_ != PROVIDER:
        _, middle, name = type_.split(":")
        module = f"pulumi_aws.{middle.split('/')[0]}"
    try:
        resource = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError:
        return None
    home = inspect.getmodule(resource)
    # InitArgs if a nested input has the plain name.
    found: type | None = getattr(home, f"{name}InitArgs", None) or getattr(home, f"{name}Args", None)
    token = "'aws'," if type_ == PROVIDER else f"'{type_}',"
    return found if home is not None and token in inspect.getsource(home) else None


def _mapping(arguments: type, given: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    known: dict[str, Any] = sdk.input_type_types(arguments)
    python = {camel: snake for snake, camel in sdk.input_type_py_to_pulumi_names(arguments).items()}
    for key, value in given.items():
        here = f"{path}.{key}" if path else key
        if key not in known:
            yield here, f"no such input; known are {', '.join(sorted(known))}"
            continue
        listed = _listed_values(arguments, python[key])
        yield from _value(known[key], value, here, listed)
    for key in sorted(_required(arguments, python) - given.keys()):
        yield (f"{path}.{key}" if path else key), "is required"


def _required(arguments: type, python: Mapping[str, str]) -> set[str]:
    parameters = inspect.signature(arguments.__init__).parameters  # type: ignore[misc]
    return {
        camel
        for camel, snake in python.items()
        if snake in parameters and parameters[snake].default is inspect.Parameter.empty
    }


@cache
def _listed_values(arguments: type, name: str) -> frozenset[str]:
    """The words that the documentation of an input lists; empty if it lists none."""
    documented = getattr(getattr(arguments, name, None), "fget", None)
    text = documented.__doc__ or "" if documented is not None else ""
    found = _LISTED.search(text) if "also valid" not in text else None
    return frozenset(re.findall(r"`\"?([\w.:*-]+)\"?`", found[1])) if found else frozenset()


def _value(kind: Any, value: Any, path: str, listed: frozenset[str]) -> Iterator[tuple[str, str]]:
    while isinstance(value, Secret):
        value = value.value
    if value is None:
        return
    kinds = list(_plain_types(kind))
    if isinstance(value, Mapping):
        inputs = [one for one in kinds if isinstance(one, type) and sdk.is_input_type(one)]
        if inputs:
            yield from _mapping(inputs[0], value, path)
        elif not any(_origin(one) in (dict, Mapping) or one is Any for one in kinds):
            yield path, f"is a mapping, not {_named(kinds)}"
        return
    if isinstance(value, list):
        items = [typing.get_args(one) for one in kinds if _is_list(one)]
        if not items:
            yield path, f"is a list, not {_named(kinds)}"
        for number, item in enumerate(value):
            yield from _value(items[0][0] if items else Any, item, f"{path}[{number}]", listed)
        return
    yield from _scalar(kinds, value, path, listed)


def _scalar(kinds: list[Any], value: Any, path: str, listed: frozenset[str]) -> Iterator[tuple[str, str]]:
    enums = [one for one in kinds if isinstance(one, type) and issubclass(one, enum.Enum)]
    words = frozenset(str(member.value) for one in enums for member in one) | listed
    # Numbers arrive as floats, as in the engine.
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int | float) and not isinstance(value, bool) and value == int(value),
        float: isinstance(value, int | float) and not isinstance(value, bool),
        str: isinstance(value, str),
    }
    if not any(one is Any or fits.get(one, False) for one in kinds) and not (
        enums and isinstance(value, str)
    ):
        yield path, f"is {type(value).__name__} {value!r}, not {_named(kinds)}"
    elif isinstance(value, str) and words and value not in words:
        yield path, f"{value!r} is none of {', '.join(sorted(words))}"


def _plain_types(kind: Any) -> Iterator[Any]:
    """The types without those that stand for a later value or for none."""
    if _origin(kind) in (typing.Union, types.UnionType):
        for one in typing.get_args(kind):
            yield from _plain_types(one)
    elif kind is not type(None) and _origin(kind) is not Output and "Awaitable" not in str(_origin(kind)):
        yield kind


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind) or kind


def _is_list(kind: Any) -> bool:
    origin = _origin(kind)
    return isinstance(origin, type) and issubclass(origin, typing.Sequence) and origin is not str  # type: ignore[arg-type]


def _named(kinds: list[Any]) -> str:
    return " or ".join(getattr(one, "__name__", str(one)) for one in kinds)
