"""HostTool: a host runs rclone or restic at or above its floor, or the step refuses."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pulumi
from pulumi_command import local

from components.host.host_step import Host, HostStep, script_text

_PINS = Path(__file__).parents[2] / "toolchain" / "versions.toml"

# The relay's floor is not only a matter of taste; each of these was seen or read (threat row A4).
_ADVISORIES = {
    "rclone": "GHSA-45pq-889g-fcgh (before 1.74.5, paths with .. leave the served folder) and rclone PR 9925"
    " (before 1.76.0, append-only can be raced and a failed look-up lets an overwrite through)",
    "restic": "restic before 0.19.1 was never tried against this relay; its handling of append-only repositories differs",
}


@cache
def pins() -> dict[str, Any]:
    """toolchain/versions.toml: the one place where versions, addresses and fingerprints stand."""
    return tomllib.loads(_PINS.read_text())


def floor(tool: str) -> str:
    pin = pins()[tool]
    return str(pin.get("oldest", pin["version"]))


def release_values(tool: str, *, fetches: bool = True) -> dict[str, str]:
    """What the host needs to know to get and verify the official release; ``{arch}`` is filled in there.

    ``fetches``: whether the host may ask the Internet at all.
    """
    pin = pins()[tool]
    release, host = pin["release"], pin["host"]
    version = str(pin["version"])

    def url(text: str) -> str:
        return text.replace("{version}", version).replace("{os}", "linux")

    return {
        "TOOL": tool,
        "FLOOR": floor(tool),
        "VERSION": version,
        "WHY": _ADVISORIES[tool],
        "ARCHITECTURES": "".join(f"{debian} {makers}\n" for debian, makers in host["arch"].items()),
        "ROOM_MIB": str(host["free_mib"]),
        "ARCHIVE": url(host.get("archive", release["archive"])),
        "SUMS": url(release["sums"]),
        "SIGNATURE": url(release["signature"]),
        "KEYS": " ".join(release["keys"]),
        "FINGERPRINT": release["fingerprint"],
        **({} if fetches else {"FETCHES": "no"}),
    }


@dataclass(frozen=True, kw_only=True)
class HostToolArgs:
    host: Host
    tool: Literal["rclone", "restic"]
    after: Sequence[pulumi.Resource] = ()


class HostTool(pulumi.ComponentResource):
    """The tool on this host is not known to be broken: at or above its floor, or refused with the advisory's id (A4).

    Pulumi type ``lastcopy:host:HostTool``; children ``<name>-install`` (HostStep host_tool) and, for a host that fetches nothing,
    before it ``<name>-hand-over`` (local.Command): this workstation fetches and verifies the release for the host's architecture and
    sends it by SSH. A fitting version that is already there is used; else the official release must carry the makers' signature
    with the fingerprint pinned in toolchain/versions.toml, or was built from the Go module proxy here. The program itself never
    passes through the state. Outputs: ``version``, ``path``, ``ready``.
    Does not protect against a fitting version number on a binary that root on the host put there.
    """

    version: pulumi.Output[str]
    path: pulumi.Output[str]
    ready: Sequence[pulumi.Resource]

    def __init__(self, name: str, args: HostToolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:host:HostTool", name, {"tool": args.tool}, opts)
        values = release_values(args.tool, fetches=args.host.fetches)
        after = list(args.after)
        if not args.host.fetches:
            after.append(self._hand_over(name, args, values))
        step = HostStep(
            f"{name}-install",
            host=args.host,
            script="host_tool",
            values=dict(values),
            seconds=900,
            after=after,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready = (step,)
        self.version = step.facts.apply(lambda facts: facts["version"])
        self.path = step.facts.apply(lambda facts: facts["path"])
        self.register_outputs({"version": self.version, "path": self.path})

    def _hand_over(self, name: str, args: HostToolArgs, values: Mapping[str, str]) -> local.Command:
        host = args.host
        # Told apart by what the step is told, so that both run again together.
        told = hashlib.sha256(script_text("host_tool", values).encode()).hexdigest()
        # A secret, as what it is made of.
        order: pulumi.Output[str] = host.dial().apply(
            lambda dial: json.dumps({**dial, "tool": args.tool, "told": told})
        )
        return local.Command(
            f"{name}-hand-over",
            create=f"exec {shlex.quote(_python())} -m ops hand-over",
            stdin=order,
            triggers=None if host.incarnation is None else [host.incarnation],
            add_previous_output_in_env=False,
            logging=local.Logging.STDERR,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*host.ready, *args.after]),
        )


def _python() -> str:
    """This interpreter, by a path that is the same in every operator's checkout where it stands inside."""
    here, python = Path.cwd(), Path(os.path.abspath(sys.executable))  # noqa: PTH100 - a link in .venv must stay one
    return str(python.relative_to(here)) if python.is_relative_to(here) else str(python)
