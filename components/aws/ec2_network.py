"""Ec2Network: the network of the relay's machine on AWS."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2


@dataclass(frozen=True, kw_only=True)
class Ec2NetworkArgs:
    """``cidr``: a private IPv4 network, /16 to /28."""

    region: str
    cidr: str


class Ec2Network(pulumi.ComponentResource):
    """A network for the relay alone, from which the traffic to S3 does not leave AWS.

    Pulumi type ``lastcopy:relay:Ec2Network``. Children: ``<name>-vpc`` (Vpc), ``<name>-default`` (DefaultSecurityGroup, without rules, so that
    something added by hand without thought reaches nothing), ``<name>-gateway`` (InternetGateway), ``<name>-subnet``, ``<name>-routes``
    (RouteTable: everything outside the network goes to the gateway), ``<name>-association`` (RouteTableAssociation), ``<name>-s3`` (VpcEndpoint of type
    Gateway: names and addresses of S3 stay the public ones, so the relay's own firewall, which knows the storage by its name, still works).
    Outputs: ``vpc_id``, ``subnet_id``. A machine in it reaches nothing before the whole component exists: depend on the component.
    Does not decide who may connect: the machine's security group does.
    """

    vpc_id: pulumi.Output[str]
    subnet_id: pulumi.Output[str]

    def __init__(self, name: str, args: Ec2NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:relay:Ec2Network", name, {"cidr": args.cidr}, opts)
        child = pulumi.ResourceOptions(parent=self)
        tags = {"Name": f"lastcopy-{pulumi.get_stack()}-relay"}
        vpc = ec2.Vpc(
            f"{name}-vpc",
            cidr_block=args.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=tags,
            opts=child,
        )
        ec2.DefaultSecurityGroup(
            f"{name}-default", vpc_id=vpc.id, ingress=[], egress=[], tags=tags, opts=child
        )
        gateway = ec2.InternetGateway(f"{name}-gateway", vpc_id=vpc.id, tags=tags, opts=child)
        subnet = ec2.Subnet(
            f"{name}-subnet",
            vpc_id=vpc.id,
            cidr_block=args.cidr,
            map_public_ip_on_launch=False,
            tags=tags,
            opts=child,
        )
        routes = ec2.RouteTable(
            f"{name}-routes",
            vpc_id=vpc.id,
            routes=[ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=gateway.id)],
            tags=tags,
            opts=child,
        )
        ec2.RouteTableAssociation(
            f"{name}-association", subnet_id=subnet.id, route_table_id=routes.id, opts=child
        )
        ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=vpc.id,
            vpc_endpoint_type="Gateway",
            service_name=f"com.amazonaws.{args.region}.s3",
            route_table_ids=[routes.id],
            tags=tags,
            opts=child,
        )
        self.vpc_id = vpc.id
        self.subnet_id = subnet.id
        self.register_outputs({"vpc_id": self.vpc_id, "subnet_id": self.subnet_id})
