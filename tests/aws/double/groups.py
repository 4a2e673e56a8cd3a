"""Security groups and their rules, as records: they filter nothing."""

from __future__ import annotations

from tests.aws.double.cloud import Cloud
from tests.aws.double.kinds import Kind, Made
from tests.aws.double.names import only, pascal
from tests.aws.double.things import drop, look, tag, thing
from tests.aws.double.wire import Props


def _make_group(cloud: Cloud, props: Props) -> Made:
    ec2 = cloud.client("ec2")
    name, text = props["name"], props.get("description") or "Managed by Pulumi"
    made = ec2.create_security_group(GroupName=name, Description=text, VpcId=props["vpcId"])["GroupId"]
    group = ec2.describe_security_groups(GroupIds=[made])["SecurityGroups"][0]
    if group["IpPermissionsEgress"]:  # like the provider: a group begins without any rule
        ec2.revoke_security_group_egress(GroupId=made, IpPermissions=group["IpPermissionsEgress"])
    _group_rules(cloud, made, {}, props)
    return made, {"arn": cloud.arn("ec2", f"security-group/{made}"), "ownerId": cloud.account}


def _adopt_group(cloud: Cloud, props: Props) -> Made:
    """Take over the network's own default group and empty it first, as the provider does."""
    ec2 = cloud.client("ec2")
    where = [{"Name": "vpc-id", "Values": [props["vpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
    group = ec2.describe_security_groups(Filters=where)["SecurityGroups"][0]
    made = group["GroupId"]
    if group["IpPermissions"]:
        ec2.revoke_security_group_ingress(GroupId=made, IpPermissions=group["IpPermissions"])
    if group["IpPermissionsEgress"]:
        ec2.revoke_security_group_egress(GroupId=made, IpPermissions=group["IpPermissionsEgress"])
    _group_rules(cloud, made, {}, props)
    return made, {"arn": cloud.arn("ec2", f"security-group/{made}"), "name": "default"}


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
        tag(cloud, made, new)
    return {}


def _look_group(cloud: Cloud, made: str) -> Props | None:
    found = look(cloud.client("ec2").describe_security_groups, "SecurityGroups", GroupIds=[made])
    return found and {
        "name": found["GroupName"],
        "vpcId": found["VpcId"],
        "description": found["Description"],
    }


KINDS: dict[str, Kind] = {
    "aws:ec2/securityGroup:SecurityGroup": thing(
        "name description vpcId ingress egress revokeRulesOnDelete tags",
        _make_group,
        _look_group,
        lambda cloud, made, _: drop(cloud.client("ec2").delete_security_group, GroupId=made),
        _group_rules,
        "ingress egress revokeRulesOnDelete tags",
        named=True,
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": thing(
        "vpcId ingress egress revokeRulesOnDelete tags",
        _adopt_group,
        _look_group,
        lambda *_: None,  # it is deleted with its network
        _group_rules,
        "ingress egress revokeRulesOnDelete tags",
    ),
}
