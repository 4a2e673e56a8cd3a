"""The functions that programs call: lookups, no changes."""

from __future__ import annotations

from collections.abc import Callable

from botocore.exceptions import ClientError

from tests.aws.double.cloud import Cloud
from tests.aws.double.refused import Refused
from tests.aws.double.wire import Props


def _identity(cloud: Cloud, _: Props) -> Props:
    found = cloud.client("sts").get_caller_identity()
    return {
        "accountId": found["Account"],
        "arn": found["Arn"],
        "userId": found["UserId"],
        "id": found["Account"],
    }


def _image(cloud: Cloud, props: Props) -> Props:
    """As on AWS: no image is an error, and several are one unless the newest is requested."""
    filters = [{"Name": one["name"], "Values": one["values"]} for one in props.get("filters") or []]
    asked = {"Owners": props["owners"]} if props.get("owners") else {}
    found = cloud.client("ec2").describe_images(Filters=filters, **asked)["Images"]
    if not found:
        raise Refused("Your query returned no results. Please change your search criteria and try again.")
    if len(found) > 1 and not props.get("mostRecent"):
        raise Refused(
            "Your query returned more than one result. Please try a more specific search criteria, or set mostRecent to true."
        )
    one = max(found, key=lambda image: image["CreationDate"])
    return {
        **props,
        "id": one["ImageId"],
        "imageId": one["ImageId"],
        "arn": cloud.arn("ec2", f"image/{one['ImageId']}"),
        "name": one["Name"],
        "ownerId": one["OwnerId"],
        "architecture": one["Architecture"],
        "creationDate": one["CreationDate"],
        "rootDeviceName": one.get("RootDeviceName", ""),
        "rootDeviceType": one.get("RootDeviceType", ""),
        "virtualizationType": one.get("VirtualizationType", ""),
        "state": one["State"],
    }


def _zones(cloud: Cloud, props: Props) -> Props:
    found = cloud.client("ec2").describe_availability_zones()["AvailabilityZones"]
    return {
        **props,
        "id": cloud.region,
        "names": [one["ZoneName"] for one in found],
        "zoneIds": [one["ZoneId"] for one in found],
    }


def _subnet(cloud: Cloud, props: Props) -> Props:
    found = cloud.client("ec2").describe_subnets(SubnetIds=[props["id"]])["Subnets"][0]
    return {
        **props,
        "vpcId": found["VpcId"],
        "cidrBlock": found["CidrBlock"],
        "availabilityZone": found["AvailabilityZone"],
        "mapPublicIpOnLaunch": found["MapPublicIpOnLaunch"],
    }


def _lock(cloud: Cloud, props: Props) -> Props:
    """As in pulumi-aws: the same error for a bucket without Object Lock and for a missing bucket."""
    try:
        found = cloud.client("s3").get_object_lock_configuration(Bucket=props["bucket"])
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchBucket", "ObjectLockConfigurationNotFoundError"):
            raise Refused("reading S3 Bucket Object Lock Configuration: couldn't find resource") from None
        raise
    return {**props, "objectLockEnabled": found["ObjectLockConfiguration"].get("ObjectLockEnabled", "")}


FUNCTIONS: dict[str, Callable[[Cloud, Props], Props]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _identity,
    "aws:index/getPartition:getPartition": lambda *_: {
        "id": "aws",
        "partition": "aws",
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
    },
    "aws:index/getRegion:getRegion": lambda cloud, _: {
        "id": cloud.region,
        "name": cloud.region,
        "region": cloud.region,
        "description": "",
        "endpoint": f"ec2.{cloud.region}.amazonaws.com",
    },
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    "aws:ec2/getAmi:getAmi": _image,
    "aws:ec2/getSubnet:getSubnet": _subnet,
    "aws:s3/getBucketObjectLockConfiguration:getBucketObjectLockConfiguration": _lock,
}
