"""Converts the provider's names to the API's: `noncurrentVersionExpiration` to `NoncurrentVersionExpiration`."""

from __future__ import annotations

from typing import Any

from tests.aws.double.wire import Props


def pascal(value: Any, special: dict[str, str] | None = None) -> Any:
    """Convert all levels; `special` maps members whose API name differs."""
    other = special or {}
    if isinstance(value, dict):
        return {other.get(k, k[:1].upper() + k[1:]): pascal(v, other) for k, v in value.items()}
    if isinstance(value, list):
        return [pascal(one, other) for one in value]
    return value


def camel(value: Any, special: dict[str, str] | None = None) -> Any:
    """The reverse conversion."""
    back = {api: name for name, api in (special or {}).items()}
    if isinstance(value, dict):
        return {back.get(k, k[:1].lower() + k[1:]): camel(v, special) for k, v in value.items()}
    if isinstance(value, list):
        return [camel(one, special) for one in value]
    return value


def only(props: Props, *names: str) -> Props:
    return {name: props[name] for name in names if props.get(name) is not None}
