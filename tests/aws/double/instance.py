"""EC2 instances."""

from __future__ import annotations

import base64
import gzip
from typing import Any

from tests.aws.double import machines
from tests.aws.double.cloud import Cloud, tag_list
from tests.aws.double.kinds import Kind, Made, words
from tests.aws.double.names import only, pascal
from tests.aws.double.refused import Refused
from tests.aws.double.wire import Props

GONE = ("terminated", "shutting-down")
# A change of user data stops and starts the real instance; cloud-init runs once per instance, so it has no other effect.
IN_PLACE = words(
    "instanceType vpcSecurityGroupIds iamInstanceProfile metadataOptions rootBlockDevice userData userDataBase64 "
    "userDataReplaceOnChange disableApiTermination disableApiStop monitoring maintenanceOptions "
    "creditSpecification instanceInitiatedShutdownBehavior sourceDestCheck forceDestroy tags volumeTags"
)
NEW = words("ami subnetId privateIp associatePublicIpAddress availabilityZone ebsOptimized")


def _text(props: Props) -> str:
    if props.get("userDataBase64"):
        raw = base64.b64decode(props["userDataBase64"])
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    return str(props.get("userData") or "")


def _make(cloud: Cloud, props: Props) -> Made:
    ec2 = cloud.client("ec2")
    if not ec2.describe_images(ImageIds=[props["ami"]])["Images"]:
        raise Refused(f"api error InvalidAMIID.NotFound: The image id '[{props['ami']}]' does not exist")
    given = pascal(only(props, "instanceType", "subnetId", "metadataOptions", "disableApiTermination"))
    if props.get("vpcSecurityGroupIds"):
        given["SecurityGroupIds"] = props["vpcSecurityGroupIds"]
    if props.get("iamInstanceProfile"):
        given["IamInstanceProfile"] = {"Name": props["iamInstanceProfile"]}
    if props.get("rootBlockDevice"):
        disk = only(props["rootBlockDevice"], "volumeSize", "volumeType", "encrypted", "deleteOnTermination")
        given["BlockDeviceMappings"] = [{"DeviceName": "/dev/xvda", "Ebs": pascal(disk)}]
    tags = [{"ResourceType": "instance", "Tags": tag_list(cloud.tags(props))}]
    made = ec2.run_instances(
        ImageId=props["ami"],
        MinCount=1,
        MaxCount=1,
        UserData=_text(props),
        **({"TagSpecifications": tags} if tags[0]["Tags"] else {}),
        **given,
    )["Instances"][0]
    name = made["InstanceId"]
    try:
        address = machines.boot(cloud, name, _text(props))
    except BaseException:
        ec2.terminate_instances(InstanceIds=[name])
        raise
    return name, {**_outputs(cloud, made), **_addresses(made, address, props)}


def _outputs(cloud: Cloud, made: Props) -> Props:
    return {
        "arn": cloud.arn("ec2", f"instance/{made['InstanceId']}"),
        "availabilityZone": made["Placement"]["AvailabilityZone"],
        "instanceState": "running",
        "primaryNetworkInterfaceId": (made.get("NetworkInterfaces") or [{}])[0].get("NetworkInterfaceId", ""),
        "subnetId": made.get("SubnetId", ""),
    }


def _addresses(made: Props, address: str | None, props: Props) -> Props:
    """The sandbox's address of the machine, if it exists: the closest to a public address."""
    public = address or made.get("PublicIpAddress", "")
    return {
        "privateIp": address or made.get("PrivateIpAddress", ""),
        "publicIp": public if props.get("associatePublicIpAddress") else "",
    }


def _find(cloud: Cloud, name: str) -> Props | None:
    found = cloud.client("ec2").describe_instances(Filters=[{"Name": "instance-id", "Values": [name]}])
    for reservation in found["Reservations"]:
        for one in reservation["Instances"]:
            if one["State"]["Name"] not in GONE:
                return one  # type: ignore[no-any-return]
    return None


def _read(cloud: Cloud, name: str, state: Props) -> Props | None:
    made = _find(cloud, name)
    if made is None:
        return None
    kept = only(state, "privateIp", "publicIp")
    return {"ami": made["ImageId"], "instanceType": made["InstanceType"], **_outputs(cloud, made), **kept}


def _update(cloud: Cloud, name: str, old: Props, new: Props) -> Props:
    ec2 = cloud.client("ec2")

    def differs(member: str) -> bool:
        return bool(old.get(member) != new.get(member))

    if differs("instanceType"):
        ec2.stop_instances(InstanceIds=[name])
        ec2.modify_instance_attribute(InstanceId=name, InstanceType={"Value": new["instanceType"]})
        ec2.start_instances(InstanceIds=[name])
    if differs("vpcSecurityGroupIds"):
        ec2.modify_instance_attribute(InstanceId=name, Groups=new["vpcSecurityGroupIds"])
    if differs("disableApiTermination"):
        wanted = {"Value": bool(new.get("disableApiTermination"))}
        ec2.modify_instance_attribute(InstanceId=name, DisableApiTermination=wanted)
    if differs("metadataOptions") and new.get("metadataOptions"):
        options = only(new["metadataOptions"], "httpTokens", "httpPutResponseHopLimit", "httpEndpoint")
        ec2.modify_instance_metadata_options(InstanceId=name, **pascal(options))
    ec2.create_tags(Resources=[name], Tags=tag_list(cloud.tags(new)) or [{"Key": "-", "Value": ""}])
    return {}


def _delete(cloud: Cloud, name: str, state: Props) -> None:
    if state.get("disableApiTermination") and not state.get("forceDestroy"):
        raise Refused(
            f"api error OperationNotPermitted: The instance '{name}' may not be terminated. "
            "Modify its 'disableApiTermination' instance attribute and try again."
        )
    if _find(cloud, name):
        ec2 = cloud.client("ec2")
        ec2.modify_instance_attribute(InstanceId=name, DisableApiTermination={"Value": False})
        ec2.terminate_instances(InstanceIds=[name])
    machines.end(cloud, name)


def _replacing(old: Props, new: Props) -> set[str]:
    """Other properties that cause a replacement, by value."""
    found = set()
    disk, disk_before = new.get("rootBlockDevice") or {}, old.get("rootBlockDevice") or {}
    if disk.get("encrypted") != disk_before.get("encrypted") or disk.get("kmsKeyId") != disk_before.get(
        "kmsKeyId"
    ):
        found.add("rootBlockDevice")
    if new.get("userDataReplaceOnChange"):
        found |= {"userData", "userDataBase64"}
    return found


KIND: dict[str, Any] = {
    "aws:ec2/instance:Instance": Kind(
        takes=IN_PLACE | NEW,
        create=_make,
        read=_read,
        update=_update,
        delete=_delete,
        new=NEW,
        new_if=_replacing,
    )
}
