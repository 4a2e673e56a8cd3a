"""EC2: networks and addresses."""

from __future__ import annotations

from tests.aws.double import machines
from tests.aws.double.cloud import Cloud
from tests.aws.double.kinds import Kind, Made
from tests.aws.double.names import only, pascal
from tests.aws.double.things import drop, look, tag, thing
from tests.aws.double.wire import Props

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
    tag(cloud, vpc, new)
    return {}


def _look_vpc(cloud: Cloud, vpc: str) -> Props | None:
    found = look(cloud.client("ec2").describe_vpcs, "Vpcs", VpcIds=[vpc])
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
    found = look(cloud.client("ec2").describe_subnets, "Subnets", SubnetIds=[subnet])
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
    found = look(
        cloud.client("ec2").describe_internet_gateways, "InternetGateways", InternetGatewayIds=[made]
    )
    return found and {"vpcId": found["Attachments"][0]["VpcId"] if found["Attachments"] else None}


def _drop_gateway(cloud: Cloud, made: str, state: Props) -> None:
    ec2 = cloud.client("ec2")
    if state.get("vpcId"):
        drop(ec2.detach_internet_gateway, InternetGatewayId=made, VpcId=state["vpcId"])
    drop(ec2.delete_internet_gateway, InternetGatewayId=made)


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
    found = look(cloud.client("ec2").describe_route_tables, "RouteTables", RouteTableIds=[made])
    return found and {"vpcId": found["VpcId"]}


def _make_link(cloud: Cloud, props: Props) -> Made:
    given = pascal(only(props, "routeTableId", "subnetId"))
    return cloud.client("ec2").associate_route_table(**given)["AssociationId"], {}


# the route to S3 inside AWS, as a record


def _make_endpoint(cloud: Cloud, props: Props) -> Made:
    given = pascal(only(props, "vpcId", "vpcEndpointType", "serviceName", "routeTableIds"))
    made = cloud.client("ec2").create_vpc_endpoint(**given)["VpcEndpoint"]["VpcEndpointId"]
    return made, {"arn": cloud.arn("ec2", f"vpc-endpoint/{made}"), "state": "available"}


def _update_endpoint(cloud: Cloud, made: str, old: Props, new: Props) -> Props:
    before, after = set(old.get("routeTableIds") or []), set(new.get("routeTableIds") or [])
    if before != after:
        cloud.client("ec2").modify_vpc_endpoint(
            VpcEndpointId=made,
            AddRouteTableIds=sorted(after - before),
            RemoveRouteTableIds=sorted(before - after),
        )
    tag(cloud, made, new)
    return {}


def _look_endpoint(cloud: Cloud, made: str) -> Props | None:
    found = look(cloud.client("ec2").describe_vpc_endpoints, "VpcEndpoints", VpcEndpointIds=[made])
    return found and {"vpcId": found["VpcId"], "serviceName": found["ServiceName"]}


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
    tag(cloud, made, new)
    return {}


def _look_address(cloud: Cloud, made: str) -> Props | None:
    found = look(cloud.client("ec2").describe_addresses, "Addresses", AllocationIds=[made])
    return found and {
        "allocationId": made,
        "domain": "vpc",
        **({"instance": found["InstanceId"]} if found.get("InstanceId") else {}),
    }


def _drop_address(cloud: Cloud, made: str, state: Props) -> None:  # noqa: ARG001
    machines.take_back(cloud, made)
    drop(cloud.client("ec2").release_address, AllocationId=made)


def _make_association(cloud: Cloud, props: Props) -> Made:
    return _associate(cloud, props["allocationId"], props["instanceId"]), {}


def _look_association(cloud: Cloud, made: str) -> Props | None:
    found = look(
        cloud.client("ec2").describe_addresses,
        "Addresses",
        Filters=[{"Name": "association-id", "Values": [made]}],
    )
    return found and {"allocationId": found["AllocationId"], "instanceId": found["InstanceId"]}


def _drop_association(cloud: Cloud, made: str, state: Props) -> None:
    # For a replaced instance: AWS ended the old association when the new one was made.
    if _look_association(cloud, made):
        machines.point(cloud, state["allocationId"], None)
        drop(cloud.client("ec2").disassociate_address, AssociationId=made)


KINDS: dict[str, Kind] = {
    "aws:ec2/vpc:Vpc": thing(
        "cidrBlock enableDnsSupport enableDnsHostnames tags",
        _make_vpc,
        _look_vpc,
        lambda cloud, made, _: drop(cloud.client("ec2").delete_vpc, VpcId=made),
        _vpc_switches,
        "enableDnsSupport enableDnsHostnames tags",
    ),
    "aws:ec2/subnet:Subnet": thing(
        "vpcId cidrBlock availabilityZone mapPublicIpOnLaunch tags",
        _make_subnet,
        _look_subnet,
        lambda cloud, made, _: drop(cloud.client("ec2").delete_subnet, SubnetId=made),
    ),
    "aws:ec2/internetGateway:InternetGateway": thing(
        "vpcId tags", _make_gateway, _look_gateway, _drop_gateway
    ),
    "aws:ec2/routeTable:RouteTable": thing(
        "vpcId routes tags",
        _make_table,
        _look_table,
        lambda cloud, made, _: drop(cloud.client("ec2").delete_route_table, RouteTableId=made),
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": thing(
        "routeTableId subnetId",
        _make_link,
        lambda *_: {},
        lambda cloud, made, _: drop(cloud.client("ec2").disassociate_route_table, AssociationId=made),
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": thing(
        "vpcId vpcEndpointType serviceName routeTableIds policy tags",
        _make_endpoint,
        _look_endpoint,
        lambda cloud, made, _: drop(cloud.client("ec2").delete_vpc_endpoints, VpcEndpointIds=[made]),
        _update_endpoint,
        "routeTableIds policy tags",
    ),
    "aws:ec2/eip:Eip": thing(
        "domain instance tags", _make_address, _look_address, _drop_address, _update_address, "instance tags"
    ),
    "aws:ec2/eipAssociation:EipAssociation": thing(
        "allocationId instanceId allowReassociation", _make_association, _look_association, _drop_association
    ),
}
