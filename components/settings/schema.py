"""The JSON Schema of a stack file, made from the settings models, with which editors complete and check every key.

It covers what can be said of a single value: types, choices, patterns, limits. `pulumi preview` checks rules over several values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import MaxLen, MinLen
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import to_jsonable_python

from components.settings.model import Model, OneOf, find_union, list_fields
from components.settings.problems import SECRET
from components.settings.reference import Key, find_child, list_keys
from components.settings.stack import Settings

_SECURE = {
    "type": "object",
    "description": "Encrypted by `pulumi config set --secret`.",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}
_IS_SECURE: JsonSchemaValue = {"$ref": "#/$defs/Secure"}


def build_stack_file_schema(namespace: str) -> JsonSchemaValue:
    """The schema of ``stacks/Pulumi.<stack>.yaml``, draft 2020-12.

    Keys of other namespaces, such as ``aws:region``, are not checked. The engine takes keys of the project's own namespace with and without it.
    """
    models = _Models()
    whole = models.of(Settings)
    properties: JsonSchemaValue = {}
    required = []
    for key, value in whole["properties"].items():
        properties[f"{namespace}:{key}"] = {"anyOf": [value, _IS_SECURE], **_words(value)}
        properties[key] = {"$ref": f"#/properties/config/properties/{namespace}:{key}"}
        if key in whole["required"]:
            required.append({"anyOf": [{"required": [f"{namespace}:{key}"]}, {"required": [key]}]})
    config = {
        "type": "object",
        "properties": properties,
        "patternProperties": {f"^(?!{namespace}:)[^:]+:": True},
        "additionalProperties": False,
        "allOf": required,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A stack file",
        "description": "Generated from components/settings by `python -m docs.generate`.",
        "type": "object",
        "properties": {"config": config},
        "required": ["config"],
        "$defs": {"Secure": _SECURE, **dict(sorted(models.found.items()))},
    }


def _words(schema: JsonSchemaValue) -> JsonSchemaValue:
    """The title, description and examples that an editor shows for a key."""
    return {word: schema[word] for word in ("description", "default", "examples") if word in schema}


class _Models:
    """The schemas of the models used so far, by name."""

    def __init__(self) -> None:
        self.found: dict[str, JsonSchemaValue] = {}

    def of(self, model: type[Model]) -> JsonSchemaValue:
        """A map of the model's keys and no others."""
        keys, required = list_keys(model), []
        properties: JsonSchemaValue = {}
        choices: JsonSchemaValue = {}
        for alias, field in list_fields(model).items():
            union = find_union(field)
            if union is not None and union.inline:
                choices = self._choices(union, keys)
                properties |= choices.pop("properties")
                continue
            properties[alias] = self._field(field, keys[alias])
            if (
                field.is_required() and not keys[alias].secret
            ):  # a secret is typed into a command, not into the file
                required.append(alias)
        return {
            "type": "object",
            "description": (model.__doc__ or "").split("\n", maxsplit=1)[0],
            "properties": properties,
            "required": required,
            "additionalProperties": False,
            **choices,
        }

    def _ref(self, model: type[Model]) -> JsonSchemaValue:
        name = model.__name__
        if name not in self.found:
            self.found[name] = {}  # reserves the name: the model may occur again below
            self.found[name] = self.of(model)
        return {"$ref": f"#/$defs/{name}"}

    def _choices(self, union: OneOf, keys: Mapping[str, Key]) -> JsonSchemaValue:
        """A map with exactly one of the union's keys."""
        properties = {}
        for key, member in union.members.items():
            if union.is_written_as_value(key):
                properties[key] = self._field(list_fields(member)[key], keys[key])
            else:
                properties[key] = {**self._ref(member), "description": keys[key].description}
        return {"properties": properties, "oneOf": [{"required": [key]} for key in union.members]}

    def _field(self, field: FieldInfo, key: Key) -> JsonSchemaValue:
        union, child = find_union(field), find_child(field)
        if union is not None:
            shape = {"type": "object", "additionalProperties": False, **self._choices(union, key.children)}
        elif child is not None:
            shape = self._holding(child, field)
        elif key.secret:
            shape = dict(_IS_SECURE)
        else:
            shape = _leaf(field)
        return {**shape, **_annotations(field, key, is_group=bool(key.children))}

    def _holding(self, child: type[Model], field: FieldInfo) -> JsonSchemaValue:
        """A model, a list of models, or a model or a word."""
        one = self._ref(child)
        if get_origin(field.annotation) is tuple:
            return {"type": "array", "items": one, **_sizes(field)}
        words = [word for kind in _kinds(field.annotation) for word in _literals(kind)]
        return {"oneOf": [one, *({"const": word} for word in words)]} if words else one


def _sizes(field: FieldInfo) -> JsonSchemaValue:
    """The minimum and maximum number of entries of a list."""
    found: JsonSchemaValue = {}
    for mark in field.metadata:
        if isinstance(mark, MinLen):
            found["minItems"] = mark.min_length
        if isinstance(mark, MaxLen):
            found["maxItems"] = mark.max_length
    return found


def _kinds(annotation: Any) -> list[Any]:
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal or not arguments:
        return [annotation]
    return [kind for argument in arguments for kind in _kinds(argument)]


def _literals(kind: Any) -> tuple[object, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _leaf(field: FieldInfo) -> JsonSchemaValue:
    """pydantic's schema of a value, without null: an unwanted key is left out."""
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    schema = TypeAdapter[object](kind).json_schema()
    others = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return others[0] if len(others) == 1 else schema


def _annotations(field: FieldInfo, key: Key, *, is_group: bool) -> JsonSchemaValue:
    found: JsonSchemaValue = {"description": key.description}
    default = None if field.is_required() or is_group else field.default
    if default not in (None, (), ""):
        found["default"] = to_jsonable_python(default)
    if field.examples and not key.secret:
        found["examples"] = [_encrypted(to_jsonable_python(example)) for example in field.examples]
    return found


def _encrypted(example: object) -> object:
    """The example as it looks in a stack file."""
    if isinstance(example, Mapping):
        return {name: _encrypted(value) for name, value in example.items()}
    if isinstance(example, list):
        return [_encrypted(value) for value in example]
    return {"secure": "v1:…"} if example == SECRET else example
