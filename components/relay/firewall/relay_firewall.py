"""RelayFirewall: which traffic may enter and leave the relay, account by account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.relay.firewall import firewall_units
from components.relay.firewall.endpoints import Endpoint, lookup_lines, parse_endpoint, s3_endpoints
from components.relay.firewall.firewall_rules import firewall_rules, updater_lines
from components.vault.vault_access import S3Vault, Vault


@dataclass(frozen=True, kw_only=True)
class RelayFirewallArgs:
    """``guard_seconds``: how long new rules stay in force before a fresh login must have confirmed them.

    ``directory``: ``address:port`` of the servers that the host's accounts come from, if they are not local. ``vpn_ports``: UDP ports
    of the host for VPNs that carry logins.
    """

    host: Host
    vault: Vault
    ssh_port: int = 22
    guard_seconds: int = 120
    directory: Sequence[str] = ()
    vpn_ports: Sequence[int] = ()


class RelayFirewall(pulumi.ComponentResource):
    """Only SSH comes in; the sources' processes reach only the storage, never the instance's metadata (S7, R7).

    Pulumi type ``lastcopy:relay:RelayFirewall``. Children: ``<name>-rules`` and ``<name>-confirm`` (HostStep firewall). Rules are
    checked by ``nft -c``, are rolled back unless a fresh login confirms them, load at boot before sshd, and are restored within a minute
    if something else flushes them. The sources are identified by their group, so adding one does not change this component.
    If the storage has a name, a timer keeps its addresses in the rules and in /etc/hosts, even at boot before any name server answers;
    sources cannot use DNS.
    Root and the accounts of apt, DNS, DHCP and time, including later ones, may fetch updates, names and the time; nothing else leaves. If the
    host's instance metadata is closed, root cannot reach it either.
    An attacker with root on the relay can change it.
    """

    def __init__(
        self, name: str, args: RelayFirewallArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("lastcopy:relay:RelayFirewall", name, {"sshPort": args.ssh_port}, opts)
        values = _step_values(args)
        rules = HostStep(
            f"{name}-rules",
            HostStepArgs(host=args.host, script="firewall", values={**values, "PHASE": "apply"}, undo=True),
            pulumi.ResourceOptions(parent=self),
        )
        HostStep(
            f"{name}-confirm",
            HostStepArgs(host=args.host, script="firewall", values={**values, "PHASE": "confirm"}),
            pulumi.ResourceOptions(parent=self, depends_on=[rules]),
        )
        self.register_outputs({})


def _step_values(args: RelayFirewallArgs) -> dict[str, pulumi.Input[str]]:
    endpoints = _storage_endpoints(args.vault)
    directory = tuple(parse_endpoint(text) for text in args.directory)
    return {
        "RULES": endpoints.apply(
            lambda known: firewall_rules(
                known, args.ssh_port, args.host.instance_metadata, directory, args.vpn_ports
            )
        ),
        "NAMES": endpoints.apply(lookup_lines),
        "UPDATERS": updater_lines(),
        "UNIT": firewall_units.UNIT,
        "REFRESH_UNIT": firewall_units.REFRESH_UNIT,
        "REFRESH_TIMER": firewall_units.REFRESH_TIMER,
        "GUARD_SECONDS": str(args.guard_seconds),
    }


def _storage_endpoints(vault: Vault) -> pulumi.Output[tuple[Endpoint, ...]]:
    if isinstance(vault, S3Vault):
        bucket = vault.bucket
        return pulumi.Output.from_input(vault.endpoint).apply(lambda url: s3_endpoints(url, bucket))
    return pulumi.Output.from_input(tuple(parse_endpoint(text) for text in vault.egress))
