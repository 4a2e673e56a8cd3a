"""`lastcopy recover restore`: restore from a repository as it was, to a directory on this machine or on a host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from ops.access_request import AccessRequest
from ops.command_line.options import AtOption, DamagedOption, RepositoryOptions, takes_options
from ops.command_line.output import JsonOption, human_size, print_json, progress_bar, say
from ops.command_line.repository import open_repository, parse_at
from ops.errors import LastcopyError, escape_text
from ops.history.versions import iso
from ops.hosts.connection import SshEndpoint
from ops.recover.host_target import HostAddress, make_endpoint, open_host_target, parse_host
from ops.recover.recovery import OpenedMoment, Recovery
from ops.recover.restore import Existing, LocalTarget, RestoreTarget, check_target, choose_snapshot
from ops.recover.restore import restore as restore_to


@takes_options
def restore(
    repository: RepositoryOptions,
    target: Annotated[Path, typer.Option("--target", help="Directory to restore to: new or empty.")],
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="Restore to this host, user@address or user@address:port, by SSH as root or with sudo.",
        ),
    ] = None,
    host_key: Annotated[
        str | None,
        typer.Option("--host-key", help="The host's public key. Default: the source's."),
    ] = None,
    jump_host: Annotated[
        str | None,
        typer.Option(
            "--jump-host", help="Connect to --host through this jump host, user@address or user@address:port."
        ),
    ] = None,
    jump_host_key: Annotated[
        str | None, typer.Option("--jump-host-key", help="The jump host's public key.")
    ] = None,
    ssh_key: Annotated[
        Path | None,
        typer.Option("--ssh-key", help="File with the admin's private key. Default: the SSH agent."),
    ] = None,
    at: AtOption = None,
    path: Annotated[list[str] | None, typer.Option("--path", help="Only this path; may be repeated.")] = None,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", help="The snapshot's id. Default: the last one to arrive in the storage."),
    ] = None,
    existing: Annotated[
        str,
        typer.Option(
            "--existing", help="If the target contains files: refuse, keep them, or update those that differ."
        ),
    ] = "refuse",
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every restored file again and compare.")
    ] = False,
    even_if_damaged: DamagedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Restore from the repository as it was, read-only, to a directory on this machine or on a host."""
    began = time.monotonic()
    # 1. The options themselves, before any host is contacted.
    moment = parse_at(at)
    way = parse_existing(existing)
    address = None if host is None else parse_host(host)
    jump = find_jump(jump_host, jump_host_key, ssh_key)
    check_here(target, way, address)
    with open_target(repository.access, moment, address, host_key, ssh_key, jump) as (found, place):
        # 2. The target, before the repository takes an hour.
        check_target(target, way, place)
        # 3. The moment, checked by restic, and the snapshot in it.
        good = found.open_moment(moment, even_if_damaged=even_if_damaged)
        chosen = choose_snapshot(good, snapshot)
        tell_snapshots(good, chosen)
        # 4. The files.
        with progress_bar() as progress:
            task = progress.add_task("bytes restored", total=None)

            def report(message: dict[str, Any]) -> None:
                total, done = message.get("total_bytes"), message.get("bytes_restored", 0)
                progress.update(task, total=total, completed=done)

            done = restore_to(
                good, chosen, target if host else target.absolute(), paths=path or (), existing=way,
                verify=verify, report=report, place=place,
            )  # fmt: skip
    whole = time.monotonic() - began
    say(f"restored {done.files} files and folders, {human_size(done.size)}, below {escape_text(target)}")
    say(
        f"recovery time {whole:.1f} s: {done.seconds:.1f} s restore, {whole - done.seconds:.1f} s search and check"
    )
    if as_json:
        print_json(
            {
                "source": repository.source,
                "moment": iso(good.at),
                "checkPassed": good.whole,
                "snapshot": done.snapshot,
                "target": str(target),
                "files": done.files,
                "bytes": done.size,
                "seconds": round(whole, 1),
                "restoreSeconds": round(done.seconds, 1),
            }
        )


def parse_existing(word: str) -> Existing:
    """Parse how to treat existing files in the target."""
    if word not in get_args(Existing):
        raise LastcopyError(f"{word!a} is not allowed", where="--existing", allowed="refuse, keep or update")
    return cast(Existing, word)


def find_jump(host: str | None, key: str | None, ssh_key: Path | None) -> SshEndpoint | None:
    """The endpoint of the named jump host, or None."""
    return (
        None
        if host is None
        else make_endpoint(parse_host(host, "--jump-host"), key, ssh_key, name="jump-host")
    )


def check_here(target: Path, existing: Existing, host: HostAddress | None) -> None:
    """Check the target's path and, on this machine, what is there."""
    if host is None:
        check_target(target, existing, LocalTarget())
    elif not target.is_absolute():
        raise LastcopyError(
            f"{escape_text(target)} is not absolute", where="--target", allowed="an absolute path on the host"
        )


@contextmanager
def open_target(
    request: AccessRequest,
    moment: datetime | None,
    host: HostAddress | None,
    host_key: str | None,
    ssh_key: Path | None,
    jump: SshEndpoint | None,
) -> Iterator[tuple[Recovery, RestoreTarget]]:
    """Open the repository and the place to restore to."""
    if host is None:
        with open_repository(request, ahead=True, at=moment) as found:
            yield found, LocalTarget()
        return
    with ThreadPoolExecutor(1) as home:
        home.submit(int).result()  # start the thread here, before this one moves to the storage's network
        with (
            open_repository(request, ahead=True, at=moment) as found,
            open_host_target(
                make_endpoint(host, host_key or found.access.record.host_key, ssh_key, jump=jump), found, home
            ) as place,
        ):
            yield found, place


def tell_snapshots(good: OpenedMoment, chosen: dict[str, Any]) -> None:
    """Describe the chosen snapshot, with everything that it claims about itself escaped."""
    paths = ", ".join(escape_text(path, 60) for path in chosen.get("paths", [])[:4])
    say(
        f"{len(good.snapshots)} snapshots at that moment; restic's check of it: {'passed' if good.whole else 'FAILED'}"
    )
    say(
        f"snapshot {chosen['id'][:8]}, which claims to be of {escape_text(chosen.get('time', ''), 19)} "
        f"from {escape_text(chosen.get('hostname', ''), 40)}: {paths}"
    )
