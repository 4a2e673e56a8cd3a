"""RcloneRemote: the append-only service between the sources and the storage."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.host.host_tool import HostTool, HostToolArgs
from components.host.tool_release import floor
from components.relay.service import limit_units
from components.vault.vault_access import S3Vault, Vault


@dataclass(frozen=True, kw_only=True)
class RcloneRemoteArgs:
    host: Host
    vault: Vault


class RcloneRemote(pulumi.ComponentResource):
    """The only program that a source can start on the relay is one wrapper, which starts only a checked rclone (S1, S2, S7, A4).

    Pulumi type ``lastcopy:relay:RcloneRemote``. Children: ``<name>-rclone`` (HostTool) and ``<name>-shared`` (HostStep relay).
    The wrapper gives rclone a clean environment, no new privileges, limits, and the journal for its log. What belongs to a single source
    is in RelayEntry. Outputs: ``host`` and ``vault`` as given.
    Errors: rclone below its minimum version, or writable by others than root; too little disk space; missing commands.
    """

    host: Host
    vault: Vault

    def __init__(self, name: str, args: RcloneRemoteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:relay:RcloneRemote", name, {}, opts)
        self.host = args.host
        self.vault = args.vault
        tool = HostTool(
            f"{name}-rclone",
            HostToolArgs(host=args.host, tool="rclone"),
            pulumi.ResourceOptions(parent=self),
        )
        HostStep(
            f"{name}-shared",
            HostStepArgs(
                host=args.host,
                script="relay",
                values={
                    "RCLONE": tool.path,
                    "FLOOR": floor("rclone"),
                    "HOLD_UNIT": limit_units.HOLD_UNIT,
                    "HOLD_TIMER": limit_units.HOLD_TIMER,
                    "CA": (args.vault.ca_certificate or "") if isinstance(args.vault, S3Vault) else "",
                },
                undo=True,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[tool]),
        )
        self.register_outputs({"rclone": tool.version})
