"""Checks commands of `lastcopy` in docs, error messages, workflows and the Makefile against the command line itself."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import typer
from typer._click import Context
from typer._click.exceptions import BadOptionUsage, BadParameter, MissingParameter, UsageError

from ops.command_line import output
from ops.command_line.app import command_line

# Other ways to say the same.
_SAME = (
    (re.compile(r"\$\(LASTCOPY\)|(?:\$\(PY\)|\S*python3?) -m ops\b"), "lastcopy"),
    (re.compile(r"(?:\$\(PY\)|\S*python3?) -m sandbox\b"), "lastcopy sandbox"),
    (re.compile(r"(?:\$\(PY\)|\S*python3?) -m toolchain\b"), "lastcopy tools"),
)
_MORE = ("…", "[", "$")
# Where a shell begins a command, and where its words end.
_COMMAND = re.compile(
    r"(?:^|[;&|(`@{=] *|/|\b(?:then|do|run:|entry:) +)lastcopy(?= |$)((?:'[^']*'|\"[^\"]*\"|[^#|;&)`<>\"'])*)"
)


class Strictness(Enum):
    """How complete a command must be."""

    WHOLE = "as a shell runs it: nothing required is missing"
    MENTION = "what is there is right; something may be left out"
    NAMES = "in a sentence: verb and options exist"


@cache
def _tree() -> Any:
    return command_line()


def mistakes_in_shell(line: str, strictness: Strictness) -> Iterator[str]:
    """The mistakes in every `lastcopy …` in a line of shell."""
    for pattern, same in _SAME:
        line = pattern.sub(same, line)
    for rest in _COMMAND.findall(line):
        yield from mistakes_of(shlex.split(rest), strictness)


def mistakes_of(words: list[str], strictness: Strictness) -> Iterator[str]:
    """The mistakes in the words after `lastcopy`. ``…``, ``[…]`` and ``$…`` stand for more words, capitals for a word that the reader chooses."""
    command, path = _tree(), ["lastcopy"]
    context = Context(command, info_name="lastcopy")
    words = [word for word in words if word]
    while words and hasattr(command, "list_commands") and not words[0].startswith(("-", *_MORE)):
        if words[0].isupper():
            return
        one = command.get_command(context, words[0])
        path.append(words[0])
        if one is None or (one.hidden and not _is_internal(path)):
            yield f"{' '.join(path)}: no such verb"
            return
        command, context, words = one, Context(one, info_name=words[0], parent=context), words[1:]
    if hasattr(command, "list_commands"):
        yield from (f"{' '.join(path)}: {word} is unknown" for word in words if _is_unknown(word, command))
        return
    yield from _mistakes_of_leaf(command, path, words, strictness)


def _is_internal(path: list[str]) -> bool:
    """Whether it is a verb that only `pulumi up` runs; an earlier name of another verb does not count."""
    return path[1] in ("hand-over", "send-programs", "remove-programs")


def _is_unknown(word: str, command: Any) -> bool:
    known = {"--help", *(name for one in command.params for name in one.opts)}
    return word.startswith("--") and word not in known


def _mistakes_of_leaf(
    command: Any, path: list[str], words: list[str], strictness: Strictness
) -> Iterator[str]:
    known = {"--help": None} | {
        name: one for one in command.params for name in (*one.opts, *one.secondary_opts)
    }
    ours = words[: words.index("--")] if "--" in words else words
    unknown = [word for word in ours if word.startswith("--") and word.split("=")[0] not in known]
    yield from (f"{' '.join(path)}: {word} is unknown" for word in unknown)
    if unknown or strictness is Strictness.NAMES:
        return
    whole = strictness is Strictness.WHOLE and not any(word.startswith(_MORE) for word in ours)
    given = first = [word for word in words if not word.startswith(_MORE)]
    error = _usage_error(command, path[-1], given)
    while not whole and isinstance(error, MissingParameter) and error.param is not None:
        given = (
            [*error.param.opts[:1], "1", *given] if error.param.param_type_name == "option" else ["1", *given]
        )
        error = _usage_error(command, path[-1], given)
    by_reader = len(given) > len(first) or any(word.isupper() for word in ours)
    chosen_by_reader = (
        isinstance(error, BadParameter) and not isinstance(error, MissingParameter) and by_reader
    )
    left_out = isinstance(error, MissingParameter | BadOptionUsage) and not whole
    if error is not None and not chosen_by_reader and not left_out:
        yield f"{' '.join(path)}: {error.format_message()}"


def _usage_error(command: Any, name: str, words: list[str]) -> UsageError | None:
    """The verb's own usage error; the verb does not run."""
    try:
        command.make_context(name, list(words))
    except typer.Exit:  # --help
        return None
    except UsageError as error:
        return error
    finally:
        output.reset()
    return None


def mistakes_in_markdown(text: str) -> Iterator[str]:
    """The mistakes in code blocks, where a command is complete, and between backticks, where it may only be mentioned."""
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, flags=re.DOTALL | re.MULTILINE):
        strictness = Strictness.WHOLE if language == "sh" else Strictness.MENTION
        for line in block.replace("\\\n", " ").splitlines():
            yield from mistakes_in_shell(line.removeprefix("$ ").strip(), strictness)
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`([^`\n]+)`", prose):
        yield from mistakes_in_shell(span.replace("\\|", "|"), Strictness.MENTION)


def mistakes_in_program(text: str) -> Iterator[str]:
    """The mistakes in the strings of a Python file: mentions between backticks; otherwise, in a `fix` or before options, verb and options."""
    tree = ast.parse(text)
    fixes = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "fix"
        for inner in ast.walk(node.value)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        told = _text_of(node)
        if told is None or id(node) in inside:
            continue
        for span in re.findall(r"`([^`\n]+)`", told):
            yield from mistakes_in_shell(span, Strictness.MENTION)
        plain = re.sub(r"`[^`\n]+`", "", told)
        for pattern, same in (*_SAME, (re.compile(r"\"[^\"\n]*\"|'[^'\n]*'"), "…")):
            plain = pattern.sub(same, plain)
        for rest in re.findall(r"(?<![\w/])(?:\.venv/bin/)?lastcopy ([a-z-]+[^;,.:`)\n]*)", plain):
            if id(node) in fixes or "--" in rest:
                yield from mistakes_of(rest.split(), Strictness.NAMES)


def _text_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)  # type: ignore[misc]  # a string's parts
    return None


def mistakes_in_lines(file: Path) -> Iterator[str]:
    """The mistakes in a Makefile or workflow, where each line is a command."""
    for line in file.read_text().replace("\\\n", " ").splitlines():
        yield from mistakes_in_shell(line.strip().removeprefix("- "), Strictness.WHOLE)


def mistakes_in_words_of_a_script(text: str) -> Iterator[str]:
    """The mistakes in a script's messages, between quoted backticks."""
    for span in re.findall(r"\\`([^`]*)\\`", text):
        yield from mistakes_in_shell(span, Strictness.MENTION)
