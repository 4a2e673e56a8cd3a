"""Ec2Relay: the relay's machine in AWS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi

from components.host_step import Host


@dataclass(frozen=True, kw_only=True)
class Ec2RelayArgs:
    """``generation``: a new number replaces the machine. ``ami`` None: the newest Debian 13 when the machine is made, kept from then on.

    ``admin_public_key`` and everything else that is told at the first boot counts for machines made from then on: change it together with
    ``generation``. Exactly one of ``network`` (IPv4 in CIDR form, a VPC of its own) and ``subnet`` (an existing public one).
    ``storage_ports``: TCP ports at which the storage is reached, beside 80 and 443 that updates need.
    ``private_key``: the admin's; None where the ssh agent holds it.
    """

    region: str
    generation: int
    instance_type: str
    architecture: Literal["arm64", "amd64"]
    disk_gib: int
    admin_public_key: str
    sources_from: Sequence[str]
    purpose: Literal["production", "test"]
    admins_from: Sequence[str] = ()
    ami: str | None = None
    network: str | None = None
    subnet: str | None = None
    door: Literal["ssh", "ssm"] = "ssh"
    alarm_email: str | None = None
    admin_user: str = "admin"
    private_key: pulumi.Input[str] | None = None
    storage_ports: Sequence[int] = (443,)


class Ec2Relay(pulumi.ComponentResource):
    """Pulumi type ``lastcopy:relay:Ec2Relay``."""

    host: Host
    seen_by_sources: tuple[pulumi.Input[str], pulumi.Input[int]]

    def __init__(self, name: str, args: Ec2RelayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:relay:Ec2Relay", name, {"generation": args.generation}, opts)
        raise NotImplementedError
