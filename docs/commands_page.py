"""The body of docs/commands.md, made from the command line itself: every verb with its help text, arguments and options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from typer._click import Context

from docs.json_documents import DOCUMENTS
from ops.command_line.app import command_line

PROGRAM = "lastcopy"
WORDS = {str: "TEXT", Path: "PATH", int: "N", float: "N", bool: ""}


def commands() -> str:
    """One chapter for each panel of `--help`, one section for each verb."""
    panels: dict[str, list[str]] = {}
    for panel, words, command in _leaves(command_line(), "", ()):
        panels.setdefault(panel, []).append(_section(words, command))
    return "\n\n".join(f"## {panel}\n\n" + "\n\n".join(sections) for panel, sections in panels.items())


def _leaves(command: Any, panel: str, words: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Every visible verb with the group under which `--help` lists it."""
    if not hasattr(command, "list_commands"):
        yield panel, words, command
        return
    context = Context(command)
    for name in command.list_commands(context):
        one = command.get_command(context, name)
        if not one.hidden:
            yield from _leaves(one, panel or one.rich_help_panel, (*words, name))


def _section(words: tuple[str, ...], command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    usage = " ".join([PROGRAM, *words, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"### {' '.join(words)}", f"```\n{usage}\n```", _prose(command.help or "")]
    rows = [_row(one) for one in [*arguments, *options] if one.name != "help"]
    if rows:
        parts.append("\n".join(["| option | default | meaning |", "| --- | --- | --- |", *rows]))
    parts.append(str(DOCUMENTS[" ".join(words)]))
    return "\n\n".join(part for part in parts if part)


def _prose(text: str) -> str:
    """Each paragraph on one line, as Markdown has it."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(_plain(" ".join(one.split())) for one in paragraphs)


def _argument(one: Any) -> str:
    word = one.metavar or "|".join(_choices(_annotation(one))) or one.name.upper()
    return word if one.required else f"[{word}]"


def _row(one: Any) -> str:
    if one.param_type_name == "argument":
        shown = f"`{_argument(one)}`"
    else:
        value = "" if one.is_flag else one.metavar or _placeholder(_annotation(one))
        names = [*one.opts, *one.secondary_opts]
        shown = ", ".join(f"`{f'{name} {value}'.strip()}`" for name in names)
    meaning = " ".join((one.help or "").split())
    return f"| {_escaped(shown)} | {_escaped(_default(one))} | {_escaped(_plain(meaning))} |"


def _annotation(one: Any) -> Any:
    """Without the `None` of an option that may be left out."""
    annotation = one.type_descriptor.annotation
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = [part for part in get_args(annotation) if part is not type(None)]
    return annotation


def _choices(annotation: Any) -> list[str]:
    return (
        [str(one.value) for one in annotation]
        if isinstance(annotation, type) and issubclass(annotation, Enum)
        else []
    )


def _placeholder(annotation: Any) -> str:
    if get_origin(annotation) in (list, tuple):
        return f"{_placeholder(get_args(annotation)[0])} …"
    return "|".join(_choices(annotation)) or WORDS.get(annotation, "TEXT")


def _default(one: Any) -> str:
    if one.required:
        return "required"
    default = one.default.value if isinstance(one.default, Enum) else one.default
    if default is True and one.secondary_opts:
        return f"`{one.opts[0]}`"
    return "" if default in (None, False, "", [], ()) else f"`{default}`"


def _plain(text: str) -> str:
    """Words between angle brackets would be HTML, stars emphasis; what is between backticks stays."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*") for part in parts
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
