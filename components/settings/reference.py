"""Every key of a stack file, with its description, its example and how to get a value: read from the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from components.settings.model import Model, OneOf, find_union, list_fields


@dataclass(frozen=True, kw_only=True)
class Hint:
    """Annotates a field: ``how`` says how to get a value, ``file`` names the file to pipe in for a value of several lines."""

    how: str = ""
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a stack file, and the keys below it."""

    description: str
    hint: Hint
    example: object
    secret: bool
    children: Mapping[str, Key]


def list_keys(model: type[Model]) -> dict[str, Key]:
    """Every key of a model, as written in YAML."""
    found: dict[str, Key] = {}
    for alias, field in list_fields(model).items():
        union = find_union(field)
        if union is not None and union.inline:
            found |= _members(union)
        else:
            found[alias] = _key(field, union)
    return found


def _key(field: FieldInfo, union: OneOf | None) -> Key:
    child = find_child(field)
    children = _members(union) if union else list_keys(child) if child else {}
    example = field.examples[0] if field.examples else child.EXAMPLE if child and not union else field.default
    return Key(
        description=field.description or "",
        hint=next((mark for mark in field.metadata if isinstance(mark, Hint)), Hint()),
        example=None if example is PydanticUndefined else example,
        secret=SecretStr in set(_leaves(field.annotation)),
        children=children,
    )


def find_child(field: FieldInfo) -> type[Model] | None:
    """The model of which a field holds one or several, or None if it holds plain values."""
    kinds = _leaves(field.annotation)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Model)), None)


def _members(union: OneOf) -> dict[str, Key]:
    found = {}
    for name, member in union.members.items():
        below = list_keys(member)
        description = (member.__doc__ or "").split("\n", maxsplit=1)[0]
        own = Key(description=description, hint=Hint(), example=member.EXAMPLE, secret=False, children=below)
        found[name] = below.get(name, own)
    return found


def _leaves(annotation: Any) -> Iterator[Any]:
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)
