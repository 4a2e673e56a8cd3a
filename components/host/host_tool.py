"""HostTool: a host runs rclone or restic no older than allowed, or the step refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_command import local

from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.host.program_texts import script_text
from components.host.programs import workstation_command
from components.host.tool_release import release_values


@dataclass(frozen=True, kw_only=True)
class HostToolArgs:
    host: Host
    tool: Literal["rclone", "restic"]


class HostTool(pulumi.ComponentResource):
    """The tool on this host has no known flaw: it is at or above the minimum version, or is refused with the advisory's id (A4).

    Pulumi type ``lastcopy:host:HostTool``; children ``<name>-install`` (HostStep host_tool) and, before it, for a host that fetches nothing
    itself, ``<name>-hand-over`` (local.Command): this workstation fetches and verifies the release for the host's architecture and
    sends it by SSH. A suitable version that is already installed is used. Otherwise the official release is installed, with the makers' signature
    by the fingerprint pinned in toolchain/versions.toml, or built on this workstation from the Go module proxy. The program itself never
    passes through the state. Outputs: ``version``, ``path``.
    Does not protect against a binary that root on the host put there and that reports a suitable version.
    """

    version: pulumi.Output[str]
    path: pulumi.Output[str]

    def __init__(self, name: str, args: HostToolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:host:HostTool", name, {"tool": args.tool}, opts)
        values = release_values(args.tool, fetches=args.host.fetches)
        handed_over = [] if args.host.fetches else [self._hand_over(name, args, values)]
        step = HostStep(
            f"{name}-install",
            HostStepArgs(host=args.host, script="host_tool", values=values, seconds=900),
            pulumi.ResourceOptions(parent=self, depends_on=handed_over),
        )
        self.version = step.facts.apply(lambda facts: facts["version"])
        self.path = step.facts.apply(lambda facts: facts["path"])
        self.register_outputs({"version": self.version, "path": self.path})

    def _hand_over(self, name: str, args: HostToolArgs, values: Mapping[str, str]) -> local.Command:
        host = args.host
        # Triggered by the step's text, so that both run again together.
        told = hashlib.sha256(script_text("host_tool", values).encode()).hexdigest()
        # Secret, because it contains secrets.
        order: pulumi.Output[str] = host.dial().apply(
            lambda dial: json.dumps({**dial, "tool": args.tool, "told": told})
        )
        return local.Command(
            f"{name}-hand-over",
            create=workstation_command("hand-over"),
            stdin=order,
            triggers=None if host.incarnation is None else [host.incarnation],
            add_previous_output_in_env=False,
            logging=local.Logging.STDERR,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(host.ready)),
        )
