"""Programs: sends the programs to each host once, so that a step only names them by their digests."""

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
    """A step runs exactly the program of this checkout, or nothing (A7).

    Pulumi type ``lastcopy:host:Programs``; one child ``<host>-programs`` (local.Command) for each host for which ``send_to`` is called.
    Its input is the text of every program, so that ``pulumi preview --diff`` shows a reviewer once which line of which file will change.
    A host keeps programs below /usr/local/lib/lastcopy/programs, each named after its SHA-256 and owned by root; a step checks what it loads before it
    runs it. This workstation sends them by SSH in one piece, which is checked and moved into place as a whole; they never pass
    through the state. A program stays until the host leaves the stack, because the removal of an older step may need it.
    An attacker with root on the host can change what runs there.
    """

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:host:Programs", name, {"files": _files()}, opts)
        self.register_outputs({})

    def send_to(self, host: Host, areas: Sequence[str]) -> Host:
        """The same host with a store: every step on it runs after the programs of these folders below components/ have been sent."""
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
            # A removal takes only what its own sending put there: it gets the random number that the sending printed.
            add_previous_output_in_env=True,
            logging=local.Logging.STDERR,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(host.ready), deleted_with=host.machine),
        )
        store = ProgramStore(sender=sender, digests=frozenset(one.sha256 for one in programs))
        return dataclasses.replace(host, store=store)


def _files() -> dict[str, str]:
    """Every file that programs are made of, by its path below components/."""
    paths = (
        path for path in COMPONENTS.rglob("*") if path.is_file() and path.suffix in ("", ".sh", ".usual")
    )
    return {str(path.relative_to(COMPONENTS)): path.read_text() for path in sorted(paths)}


def workstation_command(verb: str) -> str:
    """A verb of this program as a local command, with a path that is the same in every operator's checkout."""
    here, python = Path.cwd(), Path(os.path.abspath(sys.executable))  # noqa: PTH100 - a link in .venv must stay one
    named = python.relative_to(here) if python.is_relative_to(here) else python
    return f"exec {shlex.quote(str(named))} -m ops {verb}"
