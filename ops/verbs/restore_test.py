"""Restore and verify each source's newest snapshot from a trusted place, and raise an alarm if that fails."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ops.access_request import AccessRequest, check_request, open_accesses
from ops.command_line import output
from ops.command_line.exit_codes import ExitCode
from ops.command_line.options import (
    IdentityOption,
    KitOption,
    LockWasOption,
    Options,
    PassphraseOption,
    StackOption,
    StorageOptions,
    takes_options,
)
from ops.command_line.output import JsonOption, human_size, print_json, print_line
from ops.errors import LastcopyError, escape_text
from ops.history.dates import parse_retention
from ops.restic.repository import Tools
from ops.restore_test import record, units
from ops.restore_test.scratch import open_scratch
from ops.restore_test.trial import Extent, RestoreTestResult, run_restore_test
from toolchain.cache import cache_root

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

_SUBSET = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?%|[1-9][0-9]*/[1-9][0-9]*|[1-9][0-9]*[KMGT]")


@dataclass(frozen=True, kw_only=True)
class ExtentOptions(Options):
    """Which sources to test, and how much of each."""

    lock_was: LockWasOption = None
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Only this source; may be repeated. Default: all.")
    ] = None
    everything: Annotated[bool, typer.Option("--all", help="Restore everything instead of a sample.")] = False
    sample_mib: Annotated[
        int, typer.Option("--sample-mib", min=1, help="Restore a random sample of at most this size in MiB.")
    ] = 64
    read_data_subset: Annotated[
        str,
        typer.Option("--read-data-subset", help="Part of the data that restic's check reads: 5%, 1/20, 2G."),
    ] = "5%"
    newest_hours: Annotated[
        float | None,
        typer.Option(
            "--newest-hours",
            min=0.01,
            help="How old the newest snapshot may be. Default: each source's silentAfterHours, from its schedule.",
        ),
    ] = None
    on_failure: Annotated[
        Path | None,
        typer.Option(
            "--on-failure", help="Program to run if anything failed; it gets the report on standard input."
        ),
    ] = None

    def extent(self, seed: int) -> Extent:
        """The extent as the library takes it."""
        return Extent(
            everything=self.everything,
            sample_bytes=self.sample_mib << 20,
            read_subset=self.read_data_subset,
            newest=None if self.newest_hours is None else timedelta(hours=self.newest_hours),
            seed=seed,
        )

    def words(self) -> list[str]:
        """The options for the command of a systemd unit."""
        words = [f"--sample-mib={self.sample_mib}"]
        words += [] if self.newest_hours is None else [f"--newest-hours={self.newest_hours:g}"]
        words += ["--all"] if self.everything else []
        words += [f"--source={one}" for one in self.source or []]
        words += [f"--lock-was={one}" for one in self.lock_was or []]
        return [*words, f"--read-data-subset={self.read_data_subset}"]


def check_subset(text: str) -> None:
    parts = text.split("/")
    form = _SUBSET.fullmatch(text)
    share = float(text[:-1]) if form and text.endswith("%") else 1.0
    if not form or not 0 < share <= 100 or (len(parts) == 2 and int(parts[0]) > int(parts[1])):
        raise LastcopyError(
            f"{text!a} is not a part of the data",
            where="--read-data-subset",
            allowed="a share such as 5%, a part such as 3/20, or a size such as 2G",
        )


@app.command()
@takes_options
def run(
    storage: StorageOptions,
    extent: ExtentOptions,
    record_file: Annotated[
        Path | None,
        typer.Option(
            "--record", help="File to append one JSON line per source to. Default: below XDG_STATE_HOME."
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            "--scratch", help="Directory with enough free space; emptied afterwards. Default: TMPDIR."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the sample. Default: a new one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Restore, compare and check now. Exit status 1 if any source failed or could not be tested."""
    request = storage.request(lock_was=extent.lock_was)
    tried = extent.extent(secrets.randbelow(1 << 32) if seed is None else seed)
    with failures_told(extent.on_failure):
        # 1. The options themselves.
        if extent.on_failure:
            record.check_program(extent.on_failure)
        check_subset(extent.read_data_subset)
        check_request(request)
        # 2. Every source in turn.
        results = run_all(request, extent.source or [], tried, scratch, record_file or record.default_file())
    if as_json:
        print_json([record.make_line(one, tried) for one in results])
    # 3. The alarm after a failure.
    failed = [one for one in results if one.problems]
    if failed:
        _ring(extent.on_failure, report(failed))
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)


@contextmanager
def failures_told(program: Path | None) -> Iterator[None]:
    """Raise the alarm as well if a restore test ends before it has results: then nothing is proved."""
    try:
        yield
    except KeyboardInterrupt:
        text = "the restore test was interrupted: nothing is proved; what it had restored was removed"
        _ring(program, text)
        raise KeyboardInterrupt(text) from None
    except LastcopyError as error:
        _ring(program, f"the restore test did not finish:\n{error}")
        raise
    except Exception as error:
        _ring(program, f"the restore test did not finish: {type(error).__name__}: {escape_text(error)}")
        raise


def run_all(
    request: AccessRequest, sources: Sequence[str], extent: Extent, scratch: Path | None, file: Path
) -> list[RestoreTestResult]:
    """Test every source in turn. Each result is reported and recorded at once, and a failure does not stop the others."""
    tools = Tools.get()  # first: they may have to be downloaded over this machine's own network
    results = []
    with open_scratch(scratch) as folder, open_accesses(request, sources) as found:
        for name, access in found:
            with output.console.status(f"{escape_text(name, 40)} …"):
                result = (
                    RestoreTestResult(source=name, problems=[access])
                    if isinstance(access, LastcopyError)
                    else run_restore_test(access, tools, extent, folder, lambda _: None)
                )
            _tell(result, extent)
            record.append(file, result, extent)
            results.append(result)
    return results


def _tell(result: RestoreTestResult, extent: Extent) -> None:
    style = "green" if not result.problems else "bold red"
    output.console.print(
        f"{result.verdict}: {escape_text(result.source, 40)}", style=style, markup=False, soft_wrap=True
    )
    if result.tried:
        read = "all" if extent.everything else "a sample"
        output.console.print(
            f"    snapshot {(result.snapshot or '')[:8]}, {read}: {result.canaries} canary files and {result.files} others"
            f" are intact, {human_size(result.size)} restored, {extent.read_subset} of the data read,"
            f" {result.seconds.get('whole', 0):.1f} s (restore {result.seconds.get('restore', 0):.1f} s), seed {extent.seed}",
            markup=False,
            soft_wrap=True,
        )
    for problem in result.problems:
        output.console.print(f"  {problem}", style="red", markup=False, soft_wrap=True)
    for notice in result.notices:
        output.console.print(f"  note: {notice}", style="yellow", markup=False, soft_wrap=True)


def report(failed: Sequence[RestoreTestResult]) -> str:
    """The text for the alarm program."""
    parts = [f"restore test: {len(failed)} sources failed or could not be tested"]
    for result in failed:
        parts += [
            f"\n{escape_text(result.source, 40)}: {result.verdict}",
            *(f"- {problem}" for problem in result.problems),
        ]
    return "\n".join(parts) + "\n"


def _ring(program: Path | None, text: str) -> None:
    wrong = record.send_alarm(program, text) if program else ""
    if wrong:
        output.console.print(
            f"error: {wrong}; nobody was notified of the failure", style="red", markup=False, soft_wrap=True
        )


@app.command("units")
@takes_options
def print_units(
    extent: ExtentOptions,
    storage_key: Annotated[
        str, typer.Option("--storage-key", help="Path of the storage key's file at the trusted place.")
    ],
    stack: StackOption = None,
    kit: KitOption = None,
    passphrase_file: PassphraseOption = None,
    identity: IdentityOption = None,
    environment_file: Annotated[
        Path | None,
        typer.Option(
            "--environment-file",
            help="With --stack: file at the trusted place with the environment variables that `pulumi` needs for the stack.",
        ),
    ] = None,
    schedule: Annotated[str, typer.Option(help="When: a systemd OnCalendar expression.")] = "weekly",
    user: Annotated[str, typer.Option(help="The user who owns this checkout at the trusted place.")] = "root",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the units into this directory instead of printing them."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a systemd service and timer for the trusted place.

    Secrets are passed with LoadCredential, never as arguments.
    """
    check_subset(extent.read_data_subset)
    if (stack is None) == (kit is None):
        raise LastcopyError(
            "say where the passwords come from", where="--stack, --kit", allowed="exactly one of them"
        )
    for one in extent.lock_was or []:
        parse_retention(one, datetime.now(UTC))
    made = units.make_units(
        stack=stack,
        environment_file=environment_file,
        credentials={
            name: path
            for name, path in (
                ("kit", kit and str(kit.absolute())),
                ("passphrase-file", passphrase_file),
                ("identity", identity),
                ("storage-key", storage_key),
            )
            if path
        },
        words=extent.words(),
        on_failure=extent.on_failure,
        schedule=schedule,
        user=user,
        tools=cache_root(os.environ),
    )
    for name, text in made.items():
        if out is not None:
            units.write(out / name, text)
            print_line(f"written: {out / name}")
        elif not as_json:
            typer.echo(f"# /etc/systemd/system/{name}\n{text}")
    if as_json:
        print_json({"units": made, "written": [str(out / name) for name in made] if out else []})
