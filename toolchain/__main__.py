"""`lastcopy tools`, also `python -m toolchain`: finds, verifies or builds the pinned tools. Results on stdout, all else on stderr."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from . import Toolchain, ToolError, engine

ROOT = Path(__file__).resolve().parents[1]


class ToolCommands(TyperGroup):
    """Every verb ends with its error on standard error and exit status 1, an interruption with 130."""

    def invoke(self, ctx: Any) -> object:
        """Runs one verb."""
        with _errors_told():
            return super().invoke(ctx)


@contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except ToolError as error:
        print(f"toolchain: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("toolchain: interrupted; run it again to go on where it stopped", file=sys.stderr)
        raise typer.Exit(130) from None


app = typer.Typer(
    cls=ToolCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="The pinned tools: what is here, what is missing, and how a shell or a host gets them.",
)


@app.command()
def ensure(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="Default: all.")] = None,
    tests: Annotated[bool, typer.Option("--tests", help="Also what only tests run.")] = False,
) -> None:
    """Get what is missing."""
    for tool in Toolchain().ensure(*names or (), tests=tests).values():
        print(f"{tool.name:24} {tool.version:44} {tool.origin:20} {tool.path}")


@app.command("list")
def list_tools() -> None:
    """Tell what is pinned and what is here. Gets nothing."""
    toolchain = Toolchain()
    for pin in toolchain.pins.tools.values():
        here = toolchain.have(pin, {})
        found = f"{here.origin}: {here.path}" if here else "not here"
        print(f"{pin.name:24} {pin.version:22} {found}")


@app.command()
def path(name: Annotated[str, typer.Argument(metavar="NAME", help="The tool's name.")]) -> None:
    """Print where a tool is; get it if need be."""
    print(Toolchain().ensure(name)[name].path)


@app.command()
def host(
    name: Annotated[Literal["rclone", "restic"], typer.Argument(help="The tool.")],
    architecture: Annotated[str, typer.Option(help="Of the host: dpkg --print-architecture.")],
    folder: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="The folder to write it to; by default this one.")
    ] = Path(),
) -> None:
    """Write a verified rclone or restic for a host without Internet."""
    print(*_for_host(Toolchain(), name, architecture, folder))


@app.command()
def env(
    local: Annotated[
        bool, typer.Option("--local", help="Also this checkout's own state, for its local stack alone.")
    ] = False,
) -> None:
    """Print export lines to eval: engine and plugins for this shell."""
    for line in _lines(Toolchain(), local=local):
        print(line)


def _lines(toolchain: Toolchain, *, local: bool) -> Iterator[str]:
    """Shell lines that add the engine; with `local` they also leave nothing of the shell's own backend and credentials."""
    if local:
        wanted = engine.local_environment(toolchain, ROOT)
        yield from (f"unset {name}" for name in sorted(toolchain.environ.keys() - wanted.keys()))
    else:
        wanted = engine.shell_additions(toolchain, ROOT)
    for name, value in sorted(wanted.items()):
        if toolchain.environ.get(name) != value:
            yield f"export {name}={shlex.quote(value)}"


def _for_host(toolchain: Toolchain, name: str, architecture: str, folder: Path) -> tuple[Path, str]:
    """Writes the tool for a host into the folder; the file and its SHA-256, which the enrolment script takes as arguments."""
    tool = toolchain.for_host(name, architecture)
    target = folder / f"{name}-{tool.version}-linux-{architecture}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tool.path, target)
    except OSError as error:
        raise ToolError(f"{target} cannot be written: {error}") from None
    with target.open("rb") as written:
        return target, hashlib.file_digest(written, "sha256").hexdigest()


if __name__ == "__main__":
    app(prog_name="python -m toolchain")
