"""How `lastcopy tools` and `lastcopy sandbox` are declared and how their verbs end, also as `python -m toolchain` and `python -m sandbox`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from toolchain.errors import LastcopyError

JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON value on standard output, also for an error; messages go to standard error.",
    ),
]


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether the command line has ``--json``. Arguments after `--` belong to another program."""
    return "--json" in takewhile(lambda word: word != "--", words)


def print_json_errors(problems: Sequence[Mapping[str, str]]) -> None:
    """The JSON value of a verb that failed."""
    print(json.dumps({"errors": list(problems)}))


class VerbGroup(TyperGroup):
    """Every verb ends with its error on standard error and exit status 1, an interruption with 130."""

    def invoke(self, ctx: Any) -> object:
        """Run one verb."""
        as_json = asks_for_json(ctx.args)
        try:
            return super().invoke(ctx)
        except LastcopyError as error:
            found, code = error, 1
        except PermissionError as error:
            fix = "run this as the user whose files these are: root for the sandbox's driver nspawn"
            found, code = LastcopyError(str(error), fix=fix), 1
        except KeyboardInterrupt:
            found, code = LastcopyError("interrupted; run it again to continue where it stopped"), 130
        print(f"error: {found}", file=sys.stderr)
        if as_json:
            print_json_errors(found.as_data())
        raise typer.Exit(code)


def verb_group(description: str) -> typer.Typer:
    """An empty group; its verbs are added with ``@app.command()``."""
    return typer.Typer(
        cls=VerbGroup,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,
        help=description,
    )
