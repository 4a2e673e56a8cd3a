"""SourceEnrolment: a source's own key, the pinned relay, and the source's entry there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.host.tool_release import floor
from components.relay.entry.relay_entry import RelayEntry, RelayEntryArgs
from components.relay.service.rclone_remote import RcloneRemote
from components.settings import Source, UnmanagedSource
from components.source import step_values
from components.source.enrolment.client_files import public_key


@dataclass(frozen=True, kw_only=True)
class RelayEndpoint:
    """Where a source reaches the relay, and the only host key that it accepts there."""

    address: pulumi.Input[str]
    port: pulumi.Input[int]
    host_key: pulumi.Input[str]

    def client(self, source: Source) -> pulumi.Output[dict[str, str]]:
        """The values of the step `source_client`."""

        def told(known: dict[str, Any]) -> dict[str, str]:
            return step_values.client(source, floor=floor("restic"), **{**known, "port": int(known["port"])})

        return pulumi.Output.all(address=self.address, port=self.port, host_key=self.host_key).apply(told)


@dataclass(frozen=True, kw_only=True)
class SourceEnrolmentArgs:
    """``host`` is None for an unmanaged source, whose public key is in the settings."""

    source: Source
    host: Host | None
    relay: RcloneRemote
    relay_endpoint: RelayEndpoint


class SourceEnrolment(pulumi.ComponentResource):
    """Only the source holds its private key, and it accepts only the pinned relay (A1, S11).

    Pulumi type ``lastcopy:source:SourceEnrolment``. Children: ``<name>-key`` (HostStep: makes an ed25519 key
    without a passphrase on the source; an existing key is kept), ``<name>-client`` (HostStep:
    ssh_config, known_hosts, the restic-backup wrapper) and ``<name>-entry`` (RelayEntry). An unmanaged
    source has only the entry.
    Output: ``public_key``. The source can connect after this component.
    Errors, before anything is changed: a file in the key's place that is not such a key; an ssh that does not accept the configuration.
    An attacker with root on the source can use and copy the key; the relay's entry limits what that key can do.
    """

    public_key: pulumi.Output[str]

    def __init__(
        self, name: str, args: SourceEnrolmentArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("lastcopy:source:SourceEnrolment", name, {"source": args.source.name}, opts)
        child = pulumi.ResourceOptions(parent=self)
        if args.host is None:
            if not isinstance(args.source.host, UnmanagedSource):
                raise ValueError(f"source {args.source.name!r} has neither a host nor a public key")
            self.public_key = pulumi.Output.from_input(public_key(args.source.host.public_key))
        else:
            key = HostStep(
                f"{name}-key",
                HostStepArgs(host=args.host, script="source_key", values=step_values.key()),
                child,
            )
            self.public_key = key.facts.apply(lambda facts: public_key(facts["public_key"]))
            told = args.relay_endpoint.client(args.source)
            HostStep(
                f"{name}-client",
                HostStepArgs(
                    host=args.host,
                    script="source_client",
                    values={name: told[name] for name in ("SSH_CONFIG", "KNOWN_HOSTS", "RESTIC_CONF")},
                    undo=True,
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[key]),
            )
        RelayEntry(
            f"{name}-entry",
            RelayEntryArgs(
                relay=args.relay,
                source=args.source.name,
                generation=args.source.generation,
                public_key=self.public_key,
                allowed_from=args.source.allowed_from,
                limits=args.source.limits,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[args.relay]),
        )
        self.register_outputs({"public_key": self.public_key})
