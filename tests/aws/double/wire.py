"""Property values in the form sent between engine and plugin, and as plain Python values."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct

Props = dict[str, Any]

# Constants of Pulumi's plugin protocol: a value that a preview cannot know, and the mark of a secret.
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


def plain(struct: Struct) -> Props:
    """Whole numbers as int; nulls and the engine's own `__` members left out; secrets unwrapped."""
    found: Props = _plain(MessageToDict(struct))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return _plain(value["value"])
        return {
            key: _plain(one) for key, one in value.items() if one is not None and not key.startswith("__")
        }
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def struct(props: Props, secrets: frozenset[str] = frozenset()) -> Struct:
    """Values for the wire, with the named members marked as secrets."""
    marked = {
        key: {SIGNATURE: SECRET, "value": value} if key in secrets else value
        for key, value in props.items()
        if value is not None
    }
    return ParseDict(marked, Struct())


def changed(old: Props, new: Props) -> list[str]:
    """Members that differ. An absent member equals an empty one or False, as in the provider's own schema; JSON texts are compared by content."""
    return sorted(
        key for key in old.keys() | new.keys() if _canonical(old.get(key)) != _canonical(new.get(key))
    )


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(one) for key, one in value.items() if _canonical(one) is not None} or None
    if isinstance(value, list):
        return [_canonical(one) for one in value] or None
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _canonical(json.loads(value))
        except ValueError:
            return value
    return None if value == "" or value is False else value
