"""The two doors to settings: `load_settings` for the program, `parse_settings` for who has the values."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import config as runtime_config
from pydantic import ValidationError

from components.settings.agent import agent_problems, too_many_keys
from components.settings.ec2 import Ec2Vm
from components.settings.explain import KEYS, Explainer
from components.settings.keys import PRIVATE_KEY_ALLOWED, blob_of, private_key_problems, public_half
from components.settings.last_run import moved_vault
from components.settings.model import Key
from components.settings.problems import Fix, Loc, Problem, SettingsError
from components.settings.stack import Settings

PROJECT = "lastcopy"
ROOT = Path(__file__).resolve().parents[2]
_SCALARS = ("environment", "protect")


def parse_settings(raw: Mapping[str, object], *, stack_file: str) -> Settings:
    """Settings from values keyed as in YAML without ``lastcopy:``. SettingsError has every problem."""
    settings, problems = _parse(raw, Explainer(stack_file))
    if settings is None or problems:
        raise SettingsError(problems, stack_file=stack_file)
    return settings


def load_settings(config: pulumi.Config | None = None) -> Settings:
    """The running stack's settings. Refuses, besides, secrets stored in plain, useless key files and another vault than the last."""
    config = config or pulumi.Config(PROJECT)
    stack_file = f"stacks/Pulumi.{pulumi.get_stack()}.yaml"
    explainer = Explainer(stack_file)
    raw = _read(config)
    settings, problems = _parse(raw, explainer)
    problems += _plain_secrets(raw, config.name, _stored(ROOT / stack_file, config.name), explainer)
    problems += _key_files(raw, explainer)
    problems += agent_problems(raw, explainer)
    if settings is not None:
        problems += _other_admin_key(settings, explainer)
        problems += [explainer.problem(*found) for found in moved_vault(settings)]
    if settings is None or problems:
        raise SettingsError(problems, stack_file=stack_file)
    if (warning := too_many_keys(raw)) is not None:
        pulumi.log.warn(warning)
    return settings


def _parse(raw: Mapping[str, object], explainer: Explainer) -> tuple[Settings | None, list[Problem]]:
    # The error is used up here, not chained: it would hold on to the refused values.
    try:
        return Settings.model_validate(dict(raw)), []
    except ValidationError as error:
        return None, explainer.problems(error)


def _read(config: pulumi.Config) -> dict[str, object]:
    """The stack's values, also of unknown keys; the engine gives them as text, maps and lists as JSON."""
    known = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    names = [name.removeprefix(f"{config.name}:") for name in known if name.startswith(f"{config.name}:")]
    raw: dict[str, object] = {}
    for name in dict.fromkeys([*KEYS, *names]):
        text = config.get(name)
        if text is None or (name == "environment" and text == ""):
            continue
        if name == "protect":
            raw[name] = {"true": True, "false": False}.get(text, text)
        elif name in _SCALARS or name not in KEYS:
            raw[name] = text
        else:
            try:
                raw[name] = json.loads(text)
            except json.JSONDecodeError:
                raw[name] = text
    return raw


def _secrets(keys: Mapping[str, Key], raw: object, loc: Loc = ()) -> Iterator[Loc]:
    """Where the written values hold secrets."""
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


def _stored(file: Path, namespace: str) -> Mapping[str, Any]:
    """The stack file's own view, where secrets are ``{secure: …}``; empty where there is no such file."""
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError:
        return {}  # the engine has read its own file already; this look is a second one
    config = content.get("config") if isinstance(content, Mapping) else None
    if not isinstance(config, Mapping):
        return {}
    return {str(name).removeprefix(f"{namespace}:"): value for name, value in config.items()}


def _plain_secrets(
    raw: Mapping[str, object], namespace: str, stored: Mapping[str, Any], explainer: Explainer
) -> list[Problem]:
    """Secrets that stand readable in the stack file.

    The engine tells only whether *some* value below a top-level key is encrypted; the stack file tells which.
    """
    problems = []
    for loc in _secrets(KEYS, raw):
        top = str(loc[0])
        encrypted = runtime_config.is_config_secret(f"{namespace}:{top}")
        if not encrypted or isinstance(_follow(stored, loc), str):
            allowed = (
                "encrypted by pulumi; whoever could read the file may know it by now, so change it as well"
            )
            problems.append(explainer.problem(loc, "is a secret, stored in plain", allowed, Fix()))
    return problems


def _follow(value: Any, loc: Loc) -> object:
    """What stands at this place, None where nothing or an encrypted whole does."""
    for part in loc:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _key_files(raw: Mapping[str, object], explainer: Explainer) -> Iterator[Problem]:
    """Private keys that the program could not use in the middle of a run."""
    places: list[tuple[Loc, object]] = []
    admin = raw.get("admin")
    if isinstance(admin, Mapping):
        places.append((("admin", "privateKeyFile"), admin.get("privateKeyFile")))
        places += _jump_key_file(("admin",), admin)
    sources = raw.get("sources")
    for index, source in enumerate(sources if isinstance(sources, list) else []):
        host = source.get("host") if isinstance(source, Mapping) else None
        if isinstance(host, Mapping):
            places.append((("sources", index, "host", "privateKeyFile"), host.get("privateKeyFile")))
            places += _jump_key_file(("sources", index, "host"), host)
    relay = raw.get("intermediate")
    relay = relay.get("existing") if isinstance(relay, Mapping) else None
    places += _jump_key_file(("intermediate", "existing"), relay)
    for loc, path in places:
        if isinstance(path, str) and re.match(r"~?/", path):
            for what in _key_file_problems(Path(path)):
                allowed = f"{PRIVATE_KEY_ALLOWED}; readable by its owner only (0600)"
                fix = Fix(say="repair the file, or name another one:")
                yield explainer.problem(loc, what, allowed, fix)


def _jump_key_file(loc: Loc, host: object) -> Iterator[tuple[Loc, object]]:
    """The key file of the jump host that is named here."""
    jump = host.get("jumpHost") if isinstance(host, Mapping) else None
    if isinstance(jump, Mapping):
        yield (*loc, "jumpHost", "privateKeyFile"), jump.get("privateKeyFile")


def _other_admin_key(settings: Settings, explainer: Explainer) -> Iterator[Problem]:
    """A machine whose first boot is told another key than the engine has would be made, and then never reached."""
    relay, admin = settings.intermediate, settings.admin
    if not isinstance(relay, Ec2Vm):
        return
    text = "" if admin.private_key is None else admin.private_key.get_secret_value()
    if admin.private_key_file is not None:
        try:
            text = Path(admin.private_key_file).expanduser().read_text(errors="replace")
        except (OSError, RuntimeError):
            return  # `_key_files` says what is wrong
    half = public_half(text)
    if half is not None and half != blob_of(relay.admin_public_key):
        what = "is not the public half of lastcopy:admin's key: the machine would let nobody in"
        fix = Fix(say="its public half, if the private one is right:", value=f"ssh-ed25519 {half}")
        yield explainer.problem(
            ("intermediate", "ec2", "adminPublicKey"), what, "the key's own .pub file", fix
        )


def _key_file_problems(path: Path) -> Iterator[str]:
    try:
        path = path.expanduser()
        mode = path.stat().st_mode
        text = path.read_text(errors="replace") if stat.S_ISREG(mode) else None
    except FileNotFoundError:
        yield "there is no such file"
        return
    except (OSError, RuntimeError) as error:
        yield f"the file cannot be read ({type(error).__name__})"
        return
    if text is None:
        yield "is not a file"
        return
    if mode & 0o077:
        yield "the file can be read by others than its owner"
    for what in private_key_problems(text):
        yield f"the file {what}"
