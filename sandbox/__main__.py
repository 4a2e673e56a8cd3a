"""`lastcopy sandbox`, also `python -m sandbox`: machines and storage of a sandbox. One JSON line of facts on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sandbox.bucket import SandboxBucket
from sandbox.errors import SandboxError, say
from sandbox.image import DEBIAN, SUITES
from sandbox.plan import Role
from sandbox.prepare import prepare
from sandbox.verbs import Sandbox
from toolchain.command_line import JsonOption, verb_group

DirOption = Annotated[Path, typer.Option("--dir", help="The sandbox's runtime folder.")]
NameOption = Annotated[str, typer.Option("--name", help="The machine's name.")]
SourceOption = Annotated[str, typer.Option("--source", help="The source's name.")]


app = verb_group(
    "Make and remove the local machines that stand in for a relay, its sources and their storage.\n\n"
    "Each verb prints one JSON line of facts on standard output."
)


def _print_facts(facts: Mapping[str, Any]) -> None:
    print(json.dumps(facts, sort_keys=True), flush=True)


@app.command("network-up")
def network_up(
    folder: DirOption,
    network: Annotated[str, typer.Option(help="IPv4 range for the sandbox, such as 198.51.100.0/24.")],
    driver: Annotated[
        Literal["auto", "nspawn", "podman"], typer.Option(help="The driver that runs the machines.")
    ] = "auto",
    _as_json: JsonOption = False,
) -> None:
    """Create image, network and admin key."""
    _print_facts(Sandbox(folder).network_up(network, driver))


@app.command("network-down")
def network_down(folder: DirOption, _as_json: JsonOption = False) -> None:
    """Remove the whole sandbox."""
    _print_facts(Sandbox(folder).network_down())


@app.command("machine-up")
def machine_up(
    folder: DirOption,
    name: NameOption,
    role: Annotated[Role, typer.Option(help="The machine's role.")],
    debian: Annotated[int, typer.Option(help=f"Its Debian release: {', '.join(map(str, SUITES))}.")] = DEBIAN,
    without_tool: Annotated[
        bool, typer.Option("--no-tool", help="Do not install rclone (relay) or restic (source).")
    ] = False,
    _as_json: JsonOption = False,
) -> None:
    """Create and boot a machine."""
    if debian not in SUITES:
        raise SandboxError(
            f"there is no image of Debian {debian}",
            where="--debian",
            fix=f"use one of {', '.join(map(str, SUITES))}",
        )
    _print_facts(Sandbox(folder).machine_up(name, role, debian=debian, tool=not without_tool))


@app.command("machine-restart")
def machine_restart(folder: DirOption, name: NameOption, _as_json: JsonOption = False) -> None:
    """Reboot a machine."""
    _print_facts(Sandbox(folder).machine_restart(name))


@app.command("machine-down")
def machine_down(folder: DirOption, name: NameOption, _as_json: JsonOption = False) -> None:
    """Remove a machine."""
    _print_facts(Sandbox(folder).machine_down(name))


@app.command("storage-up")
def storage_up(
    folder: DirOption,
    bucket: Annotated[str, typer.Option(help="The bucket's name.")],
    lock_mode: Annotated[
        Literal["COMPLIANCE", "GOVERNANCE"], typer.Option(help="Mode of its default retention.")
    ],
    lock_days: Annotated[int, typer.Option(help="Days of its default retention.")],
    _as_json: JsonOption = False,
) -> None:
    """Run the object store with a locked bucket."""
    _print_facts(Sandbox(folder).storage_up(SandboxBucket(bucket, lock_mode, lock_days)))


@app.command("storage-down")
def storage_down(folder: DirOption, _as_json: JsonOption = False) -> None:
    """Remove the object store and all objects."""
    _print_facts(Sandbox(folder).storage_down())


@app.command("identity-up")
def identity_up(
    folder: DirOption,
    source: SourceOption,
    prefix: Annotated[str, typer.Option(help="Prefix of its repositories.")],
    access_key: Annotated[
        str, typer.Option(help="The access key id; the secret key is read from standard input.")
    ],
    _as_json: JsonOption = False,
) -> None:
    """Create a source's storage identity; its secret key is read from standard input."""
    if sys.stdin.isatty():
        say("reading the secret key from stdin")
    secret = sys.stdin.readline().rstrip("\r\n")
    _print_facts(Sandbox(folder).identity_up(source, prefix, access_key, secret))


@app.command("identity-down")
def identity_down(folder: DirOption, source: SourceOption, _as_json: JsonOption = False) -> None:
    """Remove a source's storage identity."""
    _print_facts(Sandbox(folder).identity_down(source))


@app.command()
def resume(folder: DirOption, _as_json: JsonOption = False) -> None:
    """Start everything again after a reboot of this machine."""
    _print_facts(Sandbox(folder).resume())


@app.command()
def destroy(folder: DirOption, _as_json: JsonOption = False) -> None:
    """Remove the whole sandbox."""
    _print_facts(Sandbox(folder).destroy())


@app.command()
def status(folder: DirOption, _as_json: JsonOption = False) -> None:
    """Show what exists, where, and whether it runs."""
    facts = Sandbox(folder).status()
    rows = [("NAME", "ROLE", "ADDRESS", "STATE")]
    for machine in facts["machines"]:
        state = "running" if machine["running"] else "stopped"
        rows.append((machine["name"], machine["role"], f"{machine['address']}:{machine['port']}", state))
    storage = facts["storage"]
    rows.append(("storage", "storage", storage["endpoint"], "running" if storage["running"] else "stopped"))
    for row in rows:
        print("{:<20} {:<8} {:<28} {}".format(*row), file=sys.stderr)
    _print_facts(facts)


@app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(
    folder: DirOption,
    name: NameOption,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- COMMAND…", help="The command; its streams and exit status are passed through."
        ),
    ] = None,
    _as_json: JsonOption = False,
) -> None:
    """Run a command as root inside a machine."""
    if not command:
        raise SandboxError("no command given", where="exec", fix="… exec --dir DIR --name NAME -- CMD [ARG…]")
    vector = Sandbox(folder).command(name, command)
    os.execvp(vector[0], vector)  # noqa: S606 - no shell on this side; status and streams are the command's own


@app.command("prepare")
def prepare_host(_as_json: JsonOption = False) -> None:
    """Install what this machine lacks for driver nspawn (Debian, root)."""
    _print_facts(prepare())


if __name__ == "__main__":
    app(prog_name="python -m sandbox")
