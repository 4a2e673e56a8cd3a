"""The two ways to get settings: `load_settings` for the program, `parse_settings` for given values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pulumi
from pulumi.runtime import config as runtime_config

from components.settings.agent import find_agent_problems, warn_of_many_keys
from components.settings.contradictions import find_contradictions
from components.settings.explain import KEYS, Explainer
from components.settings.key_files import refuse_other_admin_key, refuse_useless_key_files
from components.settings.last_run import refuse_other_vault
from components.settings.model import KEEP_PARTIAL, run_until_unknown
from components.settings.plain_secrets import refuse_plain_secrets
from components.settings.problems import Problem, SettingsError
from components.settings.stack import Settings
from toolchain.checkout import ROOT

PROJECT = "lastcopy"
_SCALARS = ("environment", "protect")


def parse_settings(raw: Mapping[str, object], *, stack_file: str) -> Settings:
    """Settings from values keyed as in YAML, without ``lastcopy:``. SettingsError contains every problem."""
    settings = _read_settings(raw)
    problems = Explainer(stack_file).problems([*settings.findings, *find_contradictions(settings)])
    if problems:
        raise SettingsError(problems, stack_file=stack_file)
    return settings


def load_settings(config: pulumi.Config | None = None) -> Settings:
    """The running stack's settings.

    SettingsError contains every problem, including secrets stored in plain text, unusable key files, an agent that does not
    answer, and a vault other than that of the last run.
    """
    config = config or pulumi.Config(PROJECT)
    stack_file = f"stacks/Pulumi.{pulumi.get_stack()}.yaml"
    explainer = Explainer(stack_file)
    raw = _read_config(config)
    settings = _read_settings(raw)
    problems = explainer.problems([*settings.findings, *find_contradictions(settings)])
    problems += map(explainer.problem, refuse_plain_secrets(raw, config.name, ROOT / stack_file))
    problems += map(explainer.problem, refuse_useless_key_files(settings))
    problems += run_until_unknown(_find_agent_problems(settings, explainer))
    problems += map(explainer.problem, run_until_unknown(refuse_other_admin_key(settings)))
    problems += map(explainer.problem, run_until_unknown(refuse_other_vault(settings)))
    if problems:
        raise SettingsError(problems, stack_file=stack_file)
    if (warning := warn_of_many_keys(settings.admin)) is not None:
        pulumi.log.warn(warning)
    return settings


def _read_settings(raw: Mapping[str, object]) -> Settings:
    """The settings, partial if anything was refused."""
    return Settings.model_validate(raw, context=KEEP_PARTIAL)


def _find_agent_problems(settings: Settings, explainer: Explainer) -> Iterator[Problem]:
    yield from find_agent_problems(settings.admin, explainer)


def _read_config(config: pulumi.Config) -> dict[str, object]:
    """All values of the stack, including unknown keys. The engine passes them as text, and maps and lists as JSON."""
    known = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    names = [name.removeprefix(f"{config.name}:") for name in known if name.startswith(f"{config.name}:")]
    raw: dict[str, object] = {}
    for name in dict.fromkeys([*KEYS, *names]):
        text = config.get(name)
        if text is None or (name == "environment" and text == ""):
            continue
        if name == "protect":
            raw[name] = text == "true" if text in ("true", "false") else text
        elif name in _SCALARS or name not in KEYS:
            raw[name] = text
        else:
            try:
                raw[name] = json.loads(text)
            except json.JSONDecodeError:
                raw[name] = text
    return raw
