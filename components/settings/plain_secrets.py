"""Secrets that can be read in the stack file, because Pulumi did not encrypt them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from pulumi.runtime import config as runtime_config

from components.settings.explain import KEYS
from components.settings.problems import Finding, Loc
from components.settings.reference import Key


def refuse_plain_secrets(raw: Mapping[str, object], namespace: str, stack_file: Path) -> Iterator[Finding]:
    """Refuse secrets in plain text. ``raw``: the values from the engine, decrypted.

    The engine only says whether *any* value below a top-level key is encrypted; the stack file shows which.
    """
    stored = _read_stored(stack_file, namespace)
    for loc in _secrets(KEYS, raw):
        encrypted = runtime_config.is_config_secret(f"{namespace}:{loc[0]}")
        if not encrypted or isinstance(_follow(stored, loc), str):
            allowed = (
                "encrypted by pulumi; whoever could read the file may know it by now, so change it as well"
            )
            yield Finding(loc, "is a secret, stored in plain", allowed)


def _secrets(keys: Mapping[str, Key], raw: object, loc: Loc = ()) -> Iterator[Loc]:
    """The places of secrets in the written values."""
    if isinstance(raw, list):
        for index, item in enumerate(raw):
            yield from _secrets(keys, item, (*loc, index))
    elif isinstance(raw, Mapping):
        for name, value in raw.items():
            key = keys.get(name)
            if key is not None and key.secret and value is not None:
                yield (*loc, name)
            elif key is not None:
                yield from _secrets(key.children, value, (*loc, name))


def _read_stored(file: Path, namespace: str) -> Mapping[str, object]:
    """The stack file itself, in which secrets are ``{secure: …}``. Empty if there is no such file."""
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError:
        return {}  # the engine has already read this file, so an error here is not new
    config = content.get("config") if isinstance(content, Mapping) else None
    if not isinstance(config, Mapping):
        return {}
    return {str(name).removeprefix(f"{namespace}:"): value for name, value in config.items()}


def _follow(value: object, loc: Loc) -> object:
    """The value at this place, or None if there is none or an encrypted value above it."""
    for part in loc:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value
