"""`lastcopy status`: which sources are silent, grow too fast or show signs of an attack (A8, S10); with `--hosts` also their last backups (A9)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ops.access_request import AccessRequest, check_request, open_locations
from ops.command_line import output
from ops.command_line.exit_codes import ExitCode
from ops.command_line.options import ConfigFileOption, StorageOptions, takes_options
from ops.command_line.output import JsonOption, print_json, print_line
from ops.errors import LastcopyError, escape_text
from ops.history.versions import iso
from ops.restic.repository import write_certificate
from ops.status.health import HealthLimits, SourceHealth, as_data, check_source, choose_limits
from ops.status.last_run import LastRun, read_last_runs
from ops.storage.client import Storage
from toolchain.checkout import ROOT


@takes_options
def status(
    storage: StorageOptions,
    source: Annotated[str, typer.Option("--source", help="Only this source. Default: all.")] = "",
    silent_hours: Annotated[
        float | None,
        typer.Option(
            "--silent-hours",
            min=0,
            help="Report a source without a new snapshot for longer than this. Default: its silentAfterHours, from its schedule.",
        ),
    ] = None,
    growth_gib_per_day: Annotated[
        float,
        typer.Option(
            "--growth-gib-per-day", min=0, help="Report a source that adds more than this in 24 hours."
        ),
    ] = HealthLimits.growth_gib,
    ask_hosts: Annotated[
        bool,
        typer.Option(
            "--hosts",
            help="Also ask each source's host by SSH, as `pulumi up` does, how its last backup ended: the storage cannot see what a snapshot contains.",
        ),
    ] = False,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which sources are silent, grow too fast or show signs of an attack.

    Exit status 1 if there are any. Needs a storage key that may list versions, and no repository password.
    """
    request = storage.request(source)
    check_request(request)
    # 1. The hosts, first: for the sandbox's storage this thread leaves the network that the hosts are in.
    runs = _ask_hosts(request, config_file) if ask_hosts else {}
    # 2. The storage.
    with (
        open_locations(request) as found,
        write_certificate(next(iter(found.by_source.values())).where) as ca,
    ):
        options = request.options_for(found.stack, config_file)
        seen = []
        for name, place in found.by_source.items():
            limits = choose_limits(place, silent_hours, growth_gib_per_day)
            one = check_source(Storage(place, ca), place, limits, options)
            seen.append(one.with_last_run(runs.get(name), limits))
    # 3. The verdict.
    if as_json:
        print_json([as_data(one) for one in seen])
    else:
        _tell(seen)
    if any(one.problems for one in seen):
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)


def _tell(seen: list[SourceHealth]) -> None:
    output.console.print(render_table(seen))
    for one in seen:
        for problem in one.problems:
            print_line(f"{one.source}: {problem.what}", "bold red")
            print_line(f"    {problem.fix}")


def _ask_hosts(request: AccessRequest, config_file: Path | None) -> dict[str, LastRun]:
    """What each host reports about its last backup. ``config_file``: the settings that name the admin's keys, as `pulumi --config-file` takes it."""
    if request.kit is not None:
        raise LastcopyError(
            "a kit does not say how to reach hosts",
            where="--hosts, --kit",
            allowed="--hosts with a stack",
        )
    from ops.stack import choose_stack  # imported late: a kit needs no engine

    stack = choose_stack(ROOT, request.stack, sandbox=request.sandbox, config_file=config_file)
    known = stack.outputs().get("sources", {})
    return read_last_runs(
        stack, [request.source] if request.source in known else list(known), request.sandbox
    )


def render_table(seen: list[SourceHealth]) -> Table:
    made = Table(title="The sources as the storage sees them")
    asked = any(one.last_run for one in seen)
    for name in (
        "source", "newest snapshot (UTC)", "hours ago", "added in 24 h", "hidden, overwritten in 24 h", "since the last note",
        *(["its host's last backup"] if asked else []), ""
    ):  # fmt: skip
        made.add_column(name, overflow="fold")
    for one in seen:
        silent = one.silent_hours
        since = f"{sum(one.signs.values())} signs"
        if one.noted:
            # The signature is not checked: that needs the password.
            since += f"; {iso(one.noted[0])[:16]} {escape_text(one.noted[1], 30)} (signature not checked)"
        cells = (
            one.source,
            iso(one.newest)[:16].replace("T", " ") if one.newest else "none",
            "" if silent is None else f"{silent:.1f}",
            f"{one.added / (1 << 20):.1f} MiB",
            f"{one.hidden}, {one.overwritten}",
            since,
            *([_last_run_cell(one.last_run)] if asked else []),
            "PROBLEM" if one.problems else "ok",
        )
        made.add_row(*(Text(cell, style="bold red" if one.problems else "") for cell in cells))
    return made


def _last_run_cell(run: LastRun | None) -> str:
    if run is None:
        return "not reached from here"
    return run.not_read or f"{run.result}, {run.ended[:16].replace('T', ' ')}"
