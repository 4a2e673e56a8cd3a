"""Programs: what runs on the hosts is sent to each of them once, and a step names it by its digest."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pulumi
from pulumi_command import local

from components.host.connection import Host, ProgramStore
from components.host.program_texts import COMPONENTS, digest_of, programs_of

RELAY_AREAS = ("host", "relay")
SOURCE_AREAS = ("host", "source")


class Programs(pulumi.ComponentResource):
    """A step runs the program that this checkout has, whole and unchanged, or nothing (A7).

    Pulumi type ``lastcopy:host:Programs``; one child ``<host>-programs`` (local.Command) for each host that ``send_to`` is asked for.
    Its input is the text of every program, so that ``pulumi preview --diff`` shows a reviewer once which line of which file will change.
    A host keeps programs below /usr/local/lib/lastcopy/programs, each under its SHA-256, root's own; a step checks what it loads before it
    runs it. They go there by SSH from this workstation, in one piece that is checked and put into place as a whole; they never pass
    through the state. What was sent once stays until the host leaves the stack, because an older step's undoing names it.
    Does not protect against root on the host, who can change what runs there.
    """

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:host:Programs", name, {"files": _files()}, opts)
        self.register_outputs({})

    def send_to(self, host: Host, areas: Sequence[str]) -> Host:
        """The same host, every step of which comes after the programs of these folders below components/ are there."""
        programs = programs_of(areas)
        order: pulumi.Output[str] = host.dial().apply(
            lambda dial: json.dumps({**dial, "areas": list(areas), "digest": digest_of(programs)})
        )
        sender = local.Command(
            f"{host.name}-programs",
            create=workstation_command("send-programs"),
            delete=workstation_command("remove-programs"),
            stdin=order,
            triggers=None if host.incarnation is None else [host.incarnation],
            # What a later sending put there is not removed: the removal is told by its environment what this one printed, a random number.
            add_previous_output_in_env=True,
            logging=local.Logging.STDERR,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(host.ready), deleted_with=host.machine),
        )
        store = ProgramStore(sender=sender, digests=frozenset(one.sha256 for one in programs))
        return dataclasses.replace(host, store=store)


def _files() -> dict[str, str]:
    """Every file that programs are made of, by its path below components/."""
    paths = (path for path in COMPONENTS.rglob("*") if path.is_file() and path.suffix in ("", ".sh"))
    return {str(path.relative_to(COMPONENTS)): path.read_text() for path in sorted(paths)}


def workstation_command(verb: str) -> str:
    """A verb of this program as a local command, by a path that is the same in every operator's checkout."""
    here, python = Path.cwd(), Path(os.path.abspath(sys.executable))  # noqa: PTH100 - a link in .venv must stay one
    named = python.relative_to(here) if python.is_relative_to(here) else python
    return f"exec {shlex.quote(str(named))} -m ops {verb}"
