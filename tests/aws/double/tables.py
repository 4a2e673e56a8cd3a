"""Every resource type that the double knows."""

from __future__ import annotations

from tests.aws.double import ec2, function, groups, iam, instance, s3, watch
from tests.aws.double.kinds import Kind

KINDS: dict[str, Kind] = {
    **s3.KINDS,
    **iam.KINDS,
    **ec2.KINDS,
    **groups.KINDS,
    **instance.KIND,
    **watch.KINDS,
    **function.KINDS,
}
