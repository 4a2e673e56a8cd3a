"""Ec2Relay: the relay's machine on AWS."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_random as random
from pulumi_aws import ec2

from components.aws.ec2_network import Ec2Network, Ec2NetworkArgs
from components.aws.first_host_key import first_key
from components.aws.machine_alarms import create_machine_alarms
from components.aws.ssm_profile import create_ssm_profile
from components.aws.user_data import UserDataPlan, user_data
from components.host.connection import Host, Jump
from components.host.host_step import HostStep, HostStepArgs
from components.relay.entry.source_account_files import public_key

DEBIAN = "136693071363"  # the account that publishes Debian's images
SSM_TUNNEL = ("127.0.0.1", 2222)  # the operator's end of an SSM session
_UPDATES = (80, 443)
_DIALS = 40  # a new machine answers within two minutes


@dataclass(frozen=True, kw_only=True)
class Ec2RelayArgs:
    """``generation``: a new number replaces the machine. ``ami`` None: the newest Debian 13 at the time the machine is made, and the same afterwards.

    ``admin_public_key``, ``admin_user`` and ``operators_by`` take effect only at a machine's first boot: change them
    together with ``generation``. Exactly one of ``network`` (IPv4 in CIDR form, for a new VPC) and ``subnet`` (an existing public subnet).
    ``storage_ports``: TCP ports of the storage, besides 80 and 443, which updates need.
    ``private_key``: the admin's; None if the ssh agent holds it. ``jump``: the jump host in between, with ``operators_by`` ssh.
    ``open_to_all_because`` becomes the SSH rule's description, where the console and the policy pack show or check it.
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
    operators_by: Literal["ssh", "ssm"] = "ssh"
    alarm_email: str | None = None
    admin_user: str = "admin"
    private_key: pulumi.Input[str] | None = None
    jump: Jump | None = None
    storage_ports: Sequence[int] = (443,)
    open_to_all_because: str | None = None

    def ssh_networks(self) -> list[str]:
        """The networks that reach port 22; with SSM the operators connect in another way."""
        known = {*self.sources_from, *(self.admins_from if self.operators_by == "ssh" else ())}
        return [str(network) for network in sorted(ipaddress.IPv4Network(one) for one in known)]


class Ec2Relay(pulumi.ComponentResource):
    """A machine that only the given networks can reach, whose host key nobody else ever had, and that can be replaced in one run (A1, A5, A7).

    Pulumi type ``lastcopy:relay:Ec2Relay``. Children: ``<name>-network`` (Ec2Network; not with a given subnet), ``<name>-doors``
    (SecurityGroup: in, port 22 from those networks; out, TCP 80, 443 and the storage's ports; rules added by hand are removed),
    ``<name>-address`` (Eip: the sources' address for the relay, the same for every generation), ``<name>-seed-g<N>`` (random.RandomPassword),
    ``<name>-vm-g<N>`` (Instance), ``<name>-reachable`` (EipAssociation), ``<name>-recovery`` and ``<name>-restart`` (MetricAlarm), with an
    e-mail address ``<name>-alarms`` (Topic) and ``<name>-alarms-mail`` (TopicSubscription), with SSM ``<name>-role``, ``<name>-role-ssm``,
    ``<name>-profile``; ``<name>-host-key`` and ``<name>-first-key-gone`` (HostStep host_key).
    Outputs: ``host``, pinned; ``seen_by_sources``, the relay's address and port for sources; ``instance_id``.

    The first connection is pinned to an ECDSA key that is made from the seed and passed in the user data; afterwards the pin is an
    ed25519 key that was made on the machine (docs/decisions/0008). Until then, whoever may read user data in this account
    (ec2:DescribeInstanceAttribute) *and* is on the network path could pose as the new machine: a reason to use a separate account.
    In production the address is protected, so ``pulumi destroy`` refuses the whole stack. The machine is not: it holds nothing that is not
    in the stack, and a protected machine could not be replaced in one run. Its termination protection stops the console and other tools; the
    provider removes it (``force_destroy``) only when this program itself replaces the machine.
    Metadata service: version 2 only, one hop; the relay's firewall always blocks it for sources' processes, and for root unless SSM needs it.
    How to replace a machine, and the first run with SSM: docs/aws.md.
    Does not protect against whoever administers this AWS account: they can read and change the machine's disk.
    """

    host: Host
    seen_by_sources: tuple[pulumi.Input[str], pulumi.Input[int]]
    instance_id: pulumi.Output[str]

    def __init__(self, name: str, args: Ec2RelayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "lastcopy:relay:Ec2Relay", name, {"generation": args.generation, "door": args.operators_by}, opts
        )
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self._tags = {"Name": f"lastcopy-{pulumi.get_stack()}-{name}"}
        address = ec2.Eip(
            f"{name}-address",
            domain="vpc",
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self, protect=args.purpose == "production"),
        )
        seed = random.RandomPassword(
            f"{name}-seed-g{args.generation}", length=64, special=False, opts=self._child
        )
        instance = self._create_instance(seed.result)
        reachable = ec2.EipAssociation(
            f"{name}-reachable",
            allocation_id=address.allocation_id,
            instance_id=instance.id,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        create_machine_alarms(
            name, instance, region=args.region, email=args.alarm_email, tags=self._tags, opts=self._child
        )
        self.instance_id = instance.id
        self.seen_by_sources = (address.public_ip, 22)
        self.host = self._replace_first_key(seed.result, instance, reachable, address.public_ip)
        self.register_outputs({"address": address.public_ip, "instance_id": instance.id})

    def _create_instance(self, seed: pulumi.Output[str]) -> ec2.Instance:
        args = self._args
        network = self._find_network()
        ssm = args.operators_by == "ssm"
        production = args.purpose == "production"
        # User data takes effect only at the first boot, so a change would only restart the machine. And the address below looks like a setting of the subnet.
        settled = ["userData", "associatePublicIpAddress", *(["ami"] if args.ami is None else [])]
        return ec2.Instance(
            f"{self._name}-vm-g{args.generation}",
            ami=self._image(),
            instance_type=args.instance_type,
            subnet_id=network.subnet_id,
            vpc_security_group_ids=[self._create_security_group(network.vpc_id).id],
            # For the first boot's packages, until the lasting address is associated.
            associate_public_ip_address=True,
            iam_instance_profile=create_ssm_profile(self._name, self._tags, self._child).name
            if ssm
            else None,
            metadata_options=_metadata_options(),
            root_block_device=_root_disk(args.disk_gib, self._tags),
            maintenance_options=ec2.InstanceMaintenanceOptionsArgs(auto_recovery="default"),
            instance_initiated_shutdown_behavior="stop",
            disable_api_termination=production,
            force_destroy=production,
            user_data=seed.apply(self._user_data),  # secret, because the seed is
            user_data_replace_on_change=False,
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=network.created, ignore_changes=settled),
        )

    def _find_network(self) -> _Network:
        args = self._args
        if args.network is not None:
            made = Ec2Network(
                f"{self._name}-network", Ec2NetworkArgs(region=args.region, cidr=args.network), self._child
            )
            return _Network(vpc_id=made.vpc_id, subnet_id=made.subnet_id, created=[made])
        found = ec2.get_subnet_output(id=args.subnet, opts=pulumi.InvokeOptions(parent=self))
        return _Network(vpc_id=found.vpc_id, subnet_id=args.subnet)

    def _create_security_group(self, vpc_id: pulumi.Input[str]) -> ec2.SecurityGroup:
        """Names and time come from link-local addresses, which no security group filters."""
        ports = sorted({*_UPDATES, *self._args.storage_ports})
        return ec2.SecurityGroup(
            f"{self._name}-doors",
            vpc_id=vpc_id,
            description="lastcopy: SSH to the relay from given networks",
            ingress=[
                ec2.SecurityGroupIngressArgs(
                    protocol="tcp",
                    from_port=22,
                    to_port=22,
                    cidr_blocks=self._args.ssh_networks(),
                    description=ssh_rule_description(self._args.open_to_all_because),
                )
            ],
            egress=[_egress_to_everywhere(port) for port in ports],
            tags=self._tags,
            opts=self._child,
        )

    def _image(self) -> pulumi.Input[str]:
        args = self._args
        if args.ami is not None:
            return args.ami
        machine = {"arm64": "arm64", "amd64": "x86_64"}[args.architecture]
        newest = ec2.get_ami_output(
            owners=[DEBIAN],
            most_recent=True,
            filters=[
                ec2.GetAmiFilterArgs(name="name", values=[f"debian-13-{args.architecture}-*"]),
                ec2.GetAmiFilterArgs(name="architecture", values=[machine]),
                ec2.GetAmiFilterArgs(name="virtualization-type", values=["hvm"]),
                ec2.GetAmiFilterArgs(name="root-device-type", values=["ebs"]),
            ],
            opts=pulumi.InvokeOptions(parent=self),
        )
        return newest.id

    def _user_data(self, seed: str) -> str:
        args = self._args
        return user_data(
            UserDataPlan(
                first_key=first_key(seed),
                admin_user=args.admin_user,
                admin_public_key=args.admin_public_key,
                architecture=args.architecture,
                ssm_region=args.region if args.operators_by == "ssm" else None,
            )
        )

    def _replace_first_key(
        self,
        seed: pulumi.Output[str],
        instance: ec2.Instance,
        reachable: pulumi.Resource,
        public_ip: pulumi.Output[str],
    ) -> Host:
        """First contact: the first connection is pinned, too, and from the second on the pin is a key that only the machine has."""
        args = self._args
        address, port = (public_ip, 22) if args.operators_by == "ssh" else SSM_TUNNEL
        born_with: pulumi.Output[str] = pulumi.Output.unsecret(
            seed.apply(lambda known: first_key(known).public)
        )

        def host(host_key: pulumi.Output[str], ready: Sequence[pulumi.Resource], dials: int = 4) -> Host:
            return Host(
                name="relay",
                address=address,
                port=port,
                user=args.admin_user,
                host_key=host_key,
                private_key=args.private_key,
                jump=args.jump if args.operators_by == "ssh" else None,
                ready=ready,
                machine=instance,
                incarnation=instance.id,
                instance_metadata="open" if args.operators_by == "ssm" else "closed",
                dials=dials,
            )

        made = HostStep(
            f"{self._name}-host-key",
            HostStepArgs(
                host=host(born_with, (reachable,), _DIALS),
                script="host_key",
                values={"PHASE": "make", "BORN_WITH": born_with},
                once=True,
                seconds=900,
            ),
            self._child,
        )
        own = made.facts.apply(lambda facts: public_key(facts["public_key"]))
        retired = HostStep(
            f"{self._name}-first-key-gone",
            HostStepArgs(
                host=host(own, (made,)),
                script="host_key",
                values={"PHASE": "retire", "BORN_WITH": born_with},
            ),
            self._child,
        )
        return host(own, (retired,))


def ssh_rule_description(reason: str | None) -> str:
    """The SSH rule's description in AWS's form: at most 255 of a limited set of characters."""
    if reason is None:
        return "SSH"
    return re.sub(r"[^A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]", "_", f"SSH, open to all because {reason}")[:255]


@dataclass(frozen=True, kw_only=True)
class _Network:
    """``created``: what must exist before a machine in the subnet can reach anything."""

    vpc_id: pulumi.Input[str]
    subnet_id: pulumi.Input[str] | None
    created: Sequence[pulumi.Resource] = ()


def _egress_to_everywhere(port: int) -> ec2.SecurityGroupEgressArgs:
    why = "updates" if port in _UPDATES else "storage"
    return ec2.SecurityGroupEgressArgs(
        protocol="tcp", from_port=port, to_port=port, cidr_blocks=["0.0.0.0/0"], description=why
    )


def _metadata_options() -> ec2.InstanceMetadataOptionsArgs:
    return ec2.InstanceMetadataOptionsArgs(
        http_endpoint="enabled",
        http_tokens="required",
        http_put_response_hop_limit=1,
        http_protocol_ipv6="disabled",
        instance_metadata_tags="disabled",
    )


def _root_disk(gib: int, tags: Mapping[str, str]) -> ec2.InstanceRootBlockDeviceArgs:
    return ec2.InstanceRootBlockDeviceArgs(
        volume_type="gp3", volume_size=gib, encrypted=True, delete_on_termination=True, tags=tags
    )
