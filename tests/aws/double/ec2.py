"""EC2: networks, firewalls as records, addresses, and instances, each of which boots a machine of the sandbox."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from tests.aws.double import machines
from tests.aws.double.cloud import Cloud, tag_list
from tests.aws.double.kinds import Kind, Made, words
from tests.aws.double.names import only, pascal
from tests.aws.double.refused import Refused
from tests.aws.double.wire import Props


def _missing(error: ClientError) -> bool:
    code: str = error.response["Error"]["Code"]
    return code.endswith((".NotFound", "NotFound", ".Malformed"))


def _drop(call: Any, **names: Any) -> None:
    try:
        call(**names)
    except ClientError as error:
        if not _missing(error):
            raise


def _look(call: Any, member: str, **names: Any) -> Props | None:
    try:
        found = call(**names)[member]
    except ClientError as error:
        if _missing(error):
            return None
        raise
    return found[0] if found else None


def _tag(cloud: Cloud, made: str, props: Props) -> None:
    tags = tag_list(cloud.tags(props))
    if tags:
        cloud.client("ec2").create_tags(Resources=[made], Tags=tags)


def _retag(cloud: Cloud, made: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    _tag(cloud, made, new)
    return {}


def _plain(
    takes: str,
    make: Callable[[Cloud, Props], Made],
    look: Callable[[Cloud, str], Props | None],
    drop: Callable[[Cloud, str, Props], None],
    update: Callable[[Cloud, str, Props, Props], Props] = _retag,
    inplace: str = "tags",
) -> Kind:
    """A thing with an id and tags. What is not named in `inplace` replaces."""

    def create(cloud: Cloud, props: Props) -> Made:
        made, outputs = make(cloud, props)
        if "tags" in takes:
            _tag(cloud, made, props)
        return made, outputs

    known = words(takes)
    return Kind(
        takes=known,
        create=create,
        read=lambda cloud, made, _: look(cloud, made),
        update=update,
        delete=drop,
        new=known - words(inplace),
    )


# networks


def _make_vpc(cloud: Cloud, props: Props) -> Made:
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock=props["cidrBlock"])["Vpc"]["VpcId"]
    _vpc_switches(cloud, vpc, {}, props)
    groups = ec2.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]
    )["SecurityGroups"]
    return vpc, {"arn": cloud.arn("ec2", f"vpc/{vpc}"), "defaultSecurityGroupId": groups[0]["GroupId"]}


def _vpc_switches(cloud: Cloud, vpc: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    for name in ("enableDnsSupport", "enableDnsHostnames"):
        if name in new:
            cloud.client("ec2").modify_vpc_attribute(
                VpcId=vpc, **{pascal({name: 0}).popitem()[0]: {"Value": new[name]}}
            )
    _tag(cloud, vpc, new)
    return {}


def _look_vpc(cloud: Cloud, vpc: str) -> Props | None:
    found = _look(cloud.client("ec2").describe_vpcs, "Vpcs", VpcIds=[vpc])
    return found and {"cidrBlock": found["CidrBlock"], "arn": cloud.arn("ec2", f"vpc/{vpc}")}


def _make_subnet(cloud: Cloud, props: Props) -> Made:
    ec2 = cloud.client("ec2")
    given = pascal(only(props, "vpcId", "cidrBlock", "availabilityZone"))
    subnet = ec2.create_subnet(**given)["Subnet"]
    if props.get("mapPublicIpOnLaunch"):
        ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    return subnet["SubnetId"], {
        "availabilityZone": subnet["AvailabilityZone"],
        "arn": cloud.arn("ec2", f"subnet/{subnet['SubnetId']}"),
    }


def _look_subnet(cloud: Cloud, subnet: str) -> Props | None:
    found = _look(cloud.client("ec2").describe_subnets, "Subnets", SubnetIds=[subnet])
    return found and {
        "cidrBlock": found["CidrBlock"],
        "vpcId": found["VpcId"],
        "availabilityZone": found["AvailabilityZone"],
    }


def _make_gateway(cloud: Cloud, props: Props) -> Made:
    ec2 = cloud.client("ec2")
    made = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    if props.get("vpcId"):
        ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=props["vpcId"])
    return made, {"arn": cloud.arn("ec2", f"internet-gateway/{made}")}


def _look_gateway(cloud: Cloud, made: str) -> Props | None:
    found = _look(
        cloud.client("ec2").describe_internet_gateways, "InternetGateways", InternetGatewayIds=[made]
    )
    return found and {"vpcId": found["Attachments"][0]["VpcId"] if found["Attachments"] else None}


def _drop_gateway(cloud: Cloud, made: str, state: Props) -> None:
    ec2 = cloud.client("ec2")
    if state.get("vpcId"):
        _drop(ec2.detach_internet_gateway, InternetGatewayId=made, VpcId=state["vpcId"])
    _drop(ec2.delete_internet_gateway, InternetGatewayId=made)


def _route(props: Props) -> Props:
    renamed = {"cidrBlock": "destinationCidrBlock", "ipv6CidrBlock": "destinationIpv6CidrBlock"}
    return pascal({renamed.get(name, name): value for name, value in props.items()})  # type: ignore[no-any-return]


def _make_table(cloud: Cloud, props: Props) -> Made:
    ec2 = cloud.client("ec2")
    made = ec2.create_route_table(VpcId=props["vpcId"])["RouteTable"]["RouteTableId"]
    for route in props.get("routes") or []:
        ec2.create_route(RouteTableId=made, **_route(route))
    return made, {"arn": cloud.arn("ec2", f"route-table/{made}")}


def _look_table(cloud: Cloud, made: str) -> Props | None:
    found = _look(cloud.client("ec2").describe_route_tables, "RouteTables", RouteTableIds=[made])
    return found and {"vpcId": found["VpcId"]}


def _make_route(cloud: Cloud, props: Props) -> Made:
    target = only(props, "routeTableId", "destinationCidrBlock", "destinationIpv6CidrBlock", "gatewayId")
    cloud.client("ec2").create_route(**pascal(target))
    return (
        f"r-{props['routeTableId']}{props.get('destinationCidrBlock') or props.get('destinationIpv6CidrBlock')}",
        {},
    )


def _drop_route(cloud: Cloud, _: str, state: Props) -> None:
    where = only(state, "routeTableId", "destinationCidrBlock", "destinationIpv6CidrBlock")
    _drop(cloud.client("ec2").delete_route, **pascal(where))


def _make_link(cloud: Cloud, props: Props) -> Made:
    given = pascal(only(props, "routeTableId", "subnetId"))
    return cloud.client("ec2").associate_route_table(**given)["AssociationId"], {}


# security groups: records


def _make_group(cloud: Cloud, props: Props) -> Made:
    ec2 = cloud.client("ec2")
    name, text = props["name"], props.get("description") or "Managed by Pulumi"
    made = ec2.create_security_group(GroupName=name, Description=text, VpcId=props["vpcId"])["GroupId"]
    group = ec2.describe_security_groups(GroupIds=[made])["SecurityGroups"][0]
    if group["IpPermissionsEgress"]:  # as the provider: a group begins with no rule at all
        ec2.revoke_security_group_egress(GroupId=made, IpPermissions=group["IpPermissionsEgress"])
    _group_rules(cloud, made, {}, props)
    return made, {"arn": cloud.arn("ec2", f"security-group/{made}"), "ownerId": cloud.account}


def _permission(rule: Props) -> Props:
    text = only(rule, "description")
    ranges = [{"CidrIp": cidr, **pascal(text)} for cidr in rule.get("cidrBlocks") or []]
    ranges6 = [{"CidrIpv6": cidr, **pascal(text)} for cidr in rule.get("ipv6CidrBlocks") or []]
    ports = {} if str(rule["protocol"]) == "-1" else {"FromPort": rule["fromPort"], "ToPort": rule["toPort"]}
    return {"IpProtocol": str(rule["protocol"]), "IpRanges": ranges, "Ipv6Ranges": ranges6, **ports}


def _group_rules(cloud: Cloud, made: str, old: Props, new: Props) -> Props:
    ec2 = cloud.client("ec2")
    for way, grant, revoke in (
        ("ingress", ec2.authorize_security_group_ingress, ec2.revoke_security_group_ingress),
        ("egress", ec2.authorize_security_group_egress, ec2.revoke_security_group_egress),
    ):
        if old.get(way) != new.get(way):
            if old.get(way):
                revoke(GroupId=made, IpPermissions=[_permission(rule) for rule in old[way]])
            if new.get(way):
                grant(GroupId=made, IpPermissions=[_permission(rule) for rule in new[way]])
    if old:
        _tag(cloud, made, new)
    return {}


def _look_group(cloud: Cloud, made: str) -> Props | None:
    found = _look(cloud.client("ec2").describe_security_groups, "SecurityGroups", GroupIds=[made])
    return found and {
        "name": found["GroupName"],
        "vpcId": found["VpcId"],
        "description": found["Description"],
    }


def _rule(way: str) -> Kind:
    """One rule of its own resource, for ingress or egress."""

    def permission(props: Props) -> Props:
        ports = pascal(only(props, "ipProtocol", "fromPort", "toPort"))
        text = pascal(only(props, "description"))
        if props.get("cidrIpv6"):
            return {**ports, "Ipv6Ranges": [{"CidrIpv6": props["cidrIpv6"], **text}]}
        return {**ports, "IpRanges": [{"CidrIp": props["cidrIpv4"], **text}]}

    def call(cloud: Cloud, verb: str) -> Any:
        return getattr(cloud.client("ec2"), f"{verb}_security_group_{way}")

    def make(cloud: Cloud, props: Props) -> Made:
        group = props["securityGroupId"]
        made = call(cloud, "authorize")(GroupId=group, IpPermissions=[permission(props)])
        rules = made.get("SecurityGroupRules") or []
        if len(rules) != 1:
            raise Refused(f"moto answered {len(rules)} rules for one")
        return rules[0]["SecurityGroupRuleId"], {"securityGroupRuleId": rules[0]["SecurityGroupRuleId"]}

    def look(cloud: Cloud, made: str) -> Props | None:
        found = _look(
            cloud.client("ec2").describe_security_group_rules,
            "SecurityGroupRules",
            SecurityGroupRuleIds=[made],
        )
        return found and {"securityGroupId": found["GroupId"]}

    def drop(cloud: Cloud, _: str, state: Props) -> None:
        _drop(call(cloud, "revoke"), GroupId=state["securityGroupId"], IpPermissions=[permission(state)])

    def update(cloud: Cloud, made: str, old: Props, new: Props) -> Props:
        if permission(old) != permission(new):
            drop(cloud, made, old)
            made_again, _ = make(cloud, new)
            return {"securityGroupRuleId": made_again}
        return {}

    takes = "securityGroupId ipProtocol fromPort toPort cidrIpv4 cidrIpv6 description tags"
    kept = "ipProtocol fromPort toPort cidrIpv4 cidrIpv6 description tags"
    return _plain(takes, make, look, drop, update, kept)


# addresses


def _make_address(cloud: Cloud, props: Props) -> Made:
    made = cloud.client("ec2").allocate_address(Domain="vpc")
    address = machines.lend(cloud, made["AllocationId"]) or made["PublicIp"]
    if props.get("instance"):
        _associate(cloud, made["AllocationId"], props["instance"])
    return made["AllocationId"], {
        "allocationId": made["AllocationId"],
        "publicIp": address,
        "publicDns": f"ec2-{address.replace('.', '-')}.compute.amazonaws.com",
    }


def _associate(cloud: Cloud, allocation: str, instance: str) -> str:
    made: str = cloud.client("ec2").associate_address(
        AllocationId=allocation, InstanceId=instance, AllowReassociation=True
    )["AssociationId"]
    machines.point(cloud, allocation, instance)
    return made


def _update_address(cloud: Cloud, made: str, old: Props, new: Props) -> Props:
    if new.get("instance") and new["instance"] != old.get("instance"):
        _associate(cloud, made, new["instance"])
    _tag(cloud, made, new)
    return {}


def _look_address(cloud: Cloud, made: str) -> Props | None:
    found = _look(cloud.client("ec2").describe_addresses, "Addresses", AllocationIds=[made])
    return found and {
        "allocationId": made,
        "domain": "vpc",
        **({"instance": found["InstanceId"]} if found.get("InstanceId") else {}),
    }


def _drop_address(cloud: Cloud, made: str, state: Props) -> None:  # noqa: ARG001
    machines.take_back(cloud, made)
    _drop(cloud.client("ec2").release_address, AllocationId=made)


def _make_association(cloud: Cloud, props: Props) -> Made:
    return _associate(cloud, props["allocationId"], props["instanceId"]), {}


def _look_association(cloud: Cloud, made: str) -> Props | None:
    found = _look(
        cloud.client("ec2").describe_addresses,
        "Addresses",
        Filters=[{"Name": "association-id", "Values": [made]}],
    )
    return found and {"allocationId": found["AllocationId"], "instanceId": found["InstanceId"]}


def _drop_association(cloud: Cloud, made: str, state: Props) -> None:
    # Of a replaced instance: AWS ended the old association when the new one was made.
    if _look_association(cloud, made):
        machines.point(cloud, state["allocationId"], None)
        _drop(cloud.client("ec2").disassociate_address, AssociationId=made)


def _make_key_pair(cloud: Cloud, props: Props) -> Made:
    text = base64.b64encode(props["publicKey"].encode()).decode()
    cloud.client("ec2").import_key_pair(KeyName=props["keyName"], PublicKeyMaterial=text.encode())
    return props["keyName"], {}


def _look_key_pair(cloud: Cloud, made: str) -> Props | None:
    found = _look(cloud.client("ec2").describe_key_pairs, "KeyPairs", KeyNames=[made])
    return found and {"keyName": made}


KINDS: dict[str, Kind] = {
    "aws:ec2/vpc:Vpc": _plain(
        "cidrBlock enableDnsSupport enableDnsHostnames tags",
        _make_vpc,
        _look_vpc,
        lambda cloud, made, _: _drop(cloud.client("ec2").delete_vpc, VpcId=made),
        _vpc_switches,
        "enableDnsSupport enableDnsHostnames tags",
    ),
    "aws:ec2/subnet:Subnet": _plain(
        "vpcId cidrBlock availabilityZone mapPublicIpOnLaunch tags",
        _make_subnet,
        _look_subnet,
        lambda cloud, made, _: _drop(cloud.client("ec2").delete_subnet, SubnetId=made),
    ),
    "aws:ec2/internetGateway:InternetGateway": _plain(
        "vpcId tags", _make_gateway, _look_gateway, _drop_gateway
    ),
    "aws:ec2/routeTable:RouteTable": _plain(
        "vpcId routes tags",
        _make_table,
        _look_table,
        lambda cloud, made, _: _drop(cloud.client("ec2").delete_route_table, RouteTableId=made),
    ),
    "aws:ec2/route:Route": _plain(
        "routeTableId destinationCidrBlock destinationIpv6CidrBlock gatewayId",
        _make_route,
        lambda *_: {},
        _drop_route,
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _plain(
        "routeTableId subnetId",
        _make_link,
        lambda *_: {},
        lambda cloud, made, _: _drop(cloud.client("ec2").disassociate_route_table, AssociationId=made),
    ),
    "aws:ec2/securityGroup:SecurityGroup": _plain(
        "name description vpcId ingress egress revokeRulesOnDelete tags",
        _make_group,
        _look_group,
        lambda cloud, made, _: _drop(cloud.client("ec2").delete_security_group, GroupId=made),
        _group_rules,
        "ingress egress revokeRulesOnDelete tags",
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rule("egress"),
    "aws:ec2/eip:Eip": _plain(
        "domain instance tags", _make_address, _look_address, _drop_address, _update_address, "instance tags"
    ),
    "aws:ec2/eipAssociation:EipAssociation": _plain(
        "allocationId instanceId allowReassociation", _make_association, _look_association, _drop_association
    ),
    "aws:ec2/keyPair:KeyPair": _plain(
        "keyName publicKey tags",
        _make_key_pair,
        _look_key_pair,
        lambda cloud, made, _: _drop(cloud.client("ec2").delete_key_pair, KeyName=made),
    ),
}
