"""Restore drill: from a trusted place, each source's newest snapshot comes back and is what it must be; loud when not."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops.errors import LastcopyError, shown
from ops.history.dates import earlier
from ops.restic.repository import Tools
from ops.restore_test import record, units
from ops.restore_test.scratch import scratch_below
from ops.restore_test.trial import Extent, Result, drill
from ops.verbs.options import (
    Asked,
    IdentityOption,
    KeyOption,
    KitOption,
    LockWasOption,
    PassphraseOption,
    SandboxOption,
    StackOption,
    check,
    errors_shown,
    reached_all,
)
from ops.verbs.recover import human
from toolchain.cache import cache_root

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console(highlight=False)

_SUBSET = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?%|[1-9][0-9]*/[1-9][0-9]*|[1-9][0-9]*[KMGT]")
SourcesOption = Annotated[
    list[str] | None, typer.Option("--source", help="Only this source; several times. Default: all.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Restore everything instead of a sample.")]
SampleOption = Annotated[
    int, typer.Option("--sample-mib", min=1, help="Restore a random sample of at most so much.")
]
SubsetOption = Annotated[
    str, typer.Option("--read-data-subset", help="How much of the data restic's check reads: 5%, 1/20, 2G.")
]
NewestOption = Annotated[
    float | None,
    typer.Option(
        "--newest-hours",
        min=0.01,
        help="How old the newest snapshot may be. Default: each source's silentAfterHours, from its schedule.",
    ),
]
AlarmOption = Annotated[
    Path | None,
    typer.Option("--on-failure", help="Program that gets the text on standard input when anything failed."),
]


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
def run(
    stack: StackOption = None,
    kit: KitOption = None,
    passphrase_file: PassphraseOption = None,
    identity: IdentityOption = None,
    storage_key: KeyOption = None,
    sandbox: SandboxOption = None,
    lock_was: LockWasOption = None,
    source: SourcesOption = None,
    everything: AllOption = False,
    sample_mib: SampleOption = 64,
    read_data_subset: SubsetOption = "5%",
    newest_hours: NewestOption = None,
    on_failure: AlarmOption = None,
    record_file: Annotated[
        Path | None,
        typer.Option(
            "--record", help="File that gets one JSON line for each source. Default: below XDG_STATE_HOME."
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            "--scratch", help="Directory with enough free space; emptied afterwards. Default: TMPDIR."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of the sample. Default: a new one.")
    ] = None,
) -> None:
    """Restore, compare and check now. Exit status 1 when any source failed or could not be tried."""
    asked = Asked(
        source="", stack=stack, kit=kit, passphrase_file=passphrase_file, identity=identity,
        storage_key=storage_key, sandbox=sandbox, generation=None, lock_was=tuple(lock_was or ()),
    )  # fmt: skip
    extent = Extent(
        everything=everything,
        sample_bytes=sample_mib << 20,
        read_subset=read_data_subset,
        newest=None if newest_hours is None else timedelta(hours=newest_hours),
        seed=secrets.randbelow(1 << 32) if seed is None else seed,
    )
    with errors_shown(console):
        try:
            if on_failure:
                record.check_program(on_failure)
            check_subset(read_data_subset)
            check(asked)
            results = run_all(asked, source or [], extent, scratch, record_file or record.default_file())
        except KeyboardInterrupt:
            text = "the restore drill was interrupted: nothing is proved; what it had restored is gone"
            _ring(on_failure, text)
            console.print(text, style="red")
            raise typer.Exit(130) from None
        except LastcopyError as error:
            _ring(on_failure, f"the restore drill was not done:\n{error}")
            raise
        except Exception as error:
            _ring(on_failure, f"the restore drill was not done: {type(error).__name__}: {shown(error)}")
            raise
        failed = [one for one in results if one.problems]
        if failed:
            _ring(on_failure, report(failed))
            raise typer.Exit(1)


def run_all(
    asked: Asked, sources: Sequence[str], extent: Extent, scratch: Path | None, file: Path
) -> list[Result]:
    """Every source in turn: told and recorded as soon as it is known. One that fails stops no other."""
    tools = Tools.get()  # first: it may have to come over this machine's own network
    results = []
    with scratch_below(scratch) as folder, reached_all(asked, sources) as found:
        for name, access in found:
            with console.status(f"{shown(name, 40)} …"):
                result = (
                    Result(source=name, problems=[access])
                    if isinstance(access, LastcopyError)
                    else drill(access, tools, extent, folder, lambda _: None)
                )
            _tell(result, extent)
            record.append(file, result, extent)
            results.append(result)
    return results


def _tell(result: Result, extent: Extent) -> None:
    style = "green" if not result.problems else "bold red"
    console.print(f"{result.verdict}: {shown(result.source, 40)}", style=style, markup=False, soft_wrap=True)
    if result.tried:
        read = "all" if extent.everything else "a sample"
        console.print(
            f"    snapshot {(result.snapshot or '')[:8]}, {read}: {result.canaries} canary files and {result.files} others"
            f" as they must be, {human(result.size)} restored, {extent.read_subset} of the data read,"
            f" {result.seconds.get('whole', 0):.1f} s (restore {result.seconds.get('restore', 0):.1f} s), seed {extent.seed}",
            markup=False,
            soft_wrap=True,
        )
    for problem in result.problems:
        console.print(f"  {problem}", style="red", markup=False, soft_wrap=True)
    for notice in result.notices:
        console.print(f"  note: {notice}", style="yellow", markup=False, soft_wrap=True)


def report(failed: Sequence[Result]) -> str:
    """What the alarm program gets."""
    parts = [f"restore drill: {len(failed)} sources failed or could not be tried"]
    for result in failed:
        parts += [
            f"\n{shown(result.source, 40)}: {result.verdict}",
            *(f"- {problem}" for problem in result.problems),
        ]
    return "\n".join(parts) + "\n"


def _ring(program: Path | None, text: str) -> None:
    wrong = record.alarm(program, text) if program else ""
    if wrong:
        console.print(
            f"error: {wrong}; nobody was told of the failure", style="red", markup=False, soft_wrap=True
        )


@app.command("units")
def print_units(
    storage_key: Annotated[str, typer.Option("--storage-key", help="Its file on the trusted place.")],
    stack: StackOption = None,
    kit: KitOption = None,
    passphrase_file: PassphraseOption = None,
    identity: IdentityOption = None,
    lock_was: LockWasOption = None,
    source: SourcesOption = None,
    everything: AllOption = False,
    sample_mib: SampleOption = 64,
    read_data_subset: SubsetOption = "5%",
    newest_hours: NewestOption = None,
    on_failure: AlarmOption = None,
    environment_file: Annotated[
        Path | None,
        typer.Option(
            "--environment-file",
            help="With --stack: file on the trusted place with the environment in which `pulumi` knows the stack.",
        ),
    ] = None,
    schedule: Annotated[str, typer.Option(help="When: a systemd OnCalendar expression.")] = "weekly",
    user: Annotated[str, typer.Option(help="Whose checkout this is, on the trusted place.")] = "root",
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the two files into this directory instead.")
    ] = None,
) -> None:
    """Print a systemd service and timer for the trusted place. Secrets come by LoadCredential, never as words."""
    with errors_shown(console):
        check_subset(read_data_subset)
        if (stack is None) == (kit is None):
            raise LastcopyError(
                "say where the passwords come from", where="--stack, --kit", allowed="exactly one of them"
            )
        words = [f"--sample-mib={sample_mib}"]
        words += [] if newest_hours is None else [f"--newest-hours={newest_hours:g}"]
        words += ["--all"] if everything else []
        words += [f"--source={one}" for one in source or []]
        for one in lock_was or []:
            earlier(one, datetime.now(UTC))
            words.append(f"--lock-was={one}")
        made = units.units(
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
            words=[*words, f"--read-data-subset={read_data_subset}"],
            on_failure=on_failure,
            schedule=schedule,
            user=user,
            tools=cache_root(os.environ),
        )
        for name, text in made.items():
            if out is None:
                typer.echo(f"# /etc/systemd/system/{name}\n{text}")
            else:
                units.write(out / name, text)
                console.print(f"written: {out / name}", markup=False, soft_wrap=True)
