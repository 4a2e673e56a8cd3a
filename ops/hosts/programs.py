"""Sends a host's programs to its store and removes them from there. `pulumi up` uses it; see components/host/programs.py."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from components.host.program_texts import Program, archive, digest_of, programs_of, script_path
from ops.hosts.connection import HostError, SshHost

_SECONDS = 600


def send_programs(host: SshHost, areas: Sequence[str], digest: str) -> str:
    """Ensure that the host has all programs of these folders below components/. Returns the mark of this transfer.

    ``digest``: that of the files that `pulumi up` read. Raises HostError if the files have changed since, or did not arrive.
    """
    programs = programs_of(areas)
    if digest_of(programs) != digest:
        raise HostError(
            "the files below components/ were changed while `pulumi up` ran", fix="run 'pulumi up' again"
        )
    mark = secrets.token_hex(16)
    send_archive(host, programs, mark)
    return mark


def send_archive(host: SshHost, programs: Sequence[Program], mark: str) -> None:
    """Send all of them, or none."""
    _run(host, "send", mark, archive(programs))


def remove_programs(host: SshHost, mark: str) -> None:
    """Remove the store, unless it was sent again after the transfer with this mark."""
    _run(host, "remove", mark)


def _run(host: SshHost, mode: str, mark: str, stdin: bytes = b"") -> None:
    script = script_path("program_store").read_text()
    done = host.run(
        "sh", "-c", script, "program_store", mode, mark, stdin=stdin, seconds=_SECONDS, check=False
    )
    if done.code == 255:
        host.run("true")  # raises the error if the host cannot be reached or shows another key
    if done.code != 0:
        raise HostError(f"programs of {host.name}: {mode} ended with {done.code}:\n{done.said.strip()}")
