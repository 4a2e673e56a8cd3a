"""`lastcopy tools`, also `python -m toolchain`: finds, verifies or builds the pinned tools. Results on stdout, everything else on stderr."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from toolchain import engine
from toolchain.cache import Tool
from toolchain.checkout import ROOT
from toolchain.command_line import JsonOption, verb_group
from toolchain.errors import ToolError
from toolchain.toolchain import Toolchain

app = verb_group(
    "See and get the pinned tools, for this shell or for a host: pulumi, rclone, restic and others."
)


@app.command()
def ensure(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="Default: all.")] = None,
    tests: Annotated[bool, typer.Option("--tests", help="Include the tools that only tests use.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Get the missing tools."""
    tools = list(Toolchain().ensure(*names or (), tests=tests).values())
    if as_json:
        print(json.dumps([_as_data(tool.name, tool.version, tool) for tool in tools]))
        return
    for tool in tools:
        print(f"{tool.name:24} {tool.version:44} {tool.origin:20} {tool.path}")


@app.command("list")
def list_tools(as_json: JsonOption = False) -> None:
    """Show which tools are pinned and which are available. Downloads nothing."""
    toolchain = Toolchain()
    found = [(pin, toolchain.have(pin, {})) for pin in toolchain.pins.tools.values()]
    if as_json:
        print(json.dumps([_as_data(pin.name, pin.version, here) for pin, here in found]))
        return
    for pin, here in found:
        print(f"{pin.name:24} {pin.version:22} {f'{here.origin}: {here.path}' if here else 'missing'}")


def _as_data(name: str, version: str, tool: Tool | None) -> dict[str, str | None]:
    return {
        "name": name,
        "version": version,
        "origin": tool.origin if tool else None,
        "path": str(tool.path) if tool else None,
    }


@app.command()
def path(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tool's name.")], as_json: JsonOption = False
) -> None:
    """Print the path of a tool, and get the tool if necessary."""
    tool = Toolchain().ensure(name)[name]
    print(json.dumps(_as_data(tool.name, tool.version, tool)) if as_json else tool.path)


@app.command()
def host(
    name: Annotated[Literal["rclone", "restic"], typer.Argument(help="The tool.")],
    architecture: Annotated[str, typer.Option(help="The host's architecture: dpkg --print-architecture.")],
    folder: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="The folder to write it to. Default: the current one.")
    ] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a verified rclone or restic for a host without Internet access."""
    file, digest = _for_host(Toolchain(), name, architecture, folder)
    print(json.dumps({"path": str(file), "sha256": digest}) if as_json else f"{file} {digest}")


@app.command()
def env(
    local: Annotated[
        bool, typer.Option("--local", help="Include this checkout's own state, for its local stack only.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print export lines for eval: the engine and its plugins for this shell."""
    unset, changed = _changes(Toolchain(), local=local)
    if as_json:
        print(json.dumps({"unset": unset, "export": changed}))
        return
    for name in unset:
        print(f"unset {name}")
    for name, value in changed.items():
        print(f"export {name}={shlex.quote(value)}")


def _changes(toolchain: Toolchain, *, local: bool) -> tuple[list[str], dict[str, str]]:
    """Variables of the shell to remove and to set for the engine. With `local`, the shell's own backend and credentials are removed."""
    wanted = engine.local_environment(toolchain, ROOT) if local else engine.shell_additions(toolchain, ROOT)
    unset = sorted(toolchain.environ.keys() - wanted.keys()) if local else []
    return unset, {
        name: value for name, value in sorted(wanted.items()) if toolchain.environ.get(name) != value
    }


def _for_host(toolchain: Toolchain, name: str, architecture: str, folder: Path) -> tuple[Path, str]:
    """Write the tool for a host into the folder. Returns the file and its SHA-256, which are the enrolment script's arguments."""
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
