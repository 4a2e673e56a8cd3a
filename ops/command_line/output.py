"""Output: messages for people on standard output, errors on standard error.

With ``--json``, standard output is one JSON value, also if a verb fails; all messages, including errors, go to standard error.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ops.errors import LastcopyError

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def _leave_standard_output_to_json(asked: bool) -> bool:
    console.stderr = asked
    return asked


JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON value on standard output; messages go to standard error.",
        callback=_leave_standard_output_to_json,
    ),
]

ErrorsAsJsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print errors of lastcopy itself as one JSON value; the output of the command is not changed.",
    ),
]


def engine_stream() -> int | None:
    """The file descriptor for the output of `pulumi`; None: standard output."""
    return 2 if console.stderr else None


def reset() -> None:
    """Return to the initial state: messages go to standard output."""
    console.stderr = False


def say(text: str) -> None:
    """Print an indented line about progress or a finding."""
    console.print(f"    {text}", markup=False, soft_wrap=True)


def print_line(text: str, style: str = "") -> None:
    """Print a line unchanged."""
    console.print(text, style=style or None, markup=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print the one JSON value of a verb with ``--json``."""
    print(json.dumps(value))


def tell_error(error: LastcopyError) -> None:
    """Print what is wrong, where, what is allowed and how to fix it."""
    errors.print("error:", style="red", end=" ")
    errors.print(str(error), markup=False, soft_wrap=True)


def progress_bar() -> Progress:
    """A progress bar with a count and the elapsed time; it disappears when done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def human_size(size: float) -> str:
    """The size in the most readable unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
