"""LockedBucket: the bucket on AWS that keeps what it gets, and the policy that nobody but break-glass changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi

# Narrow on purpose: the whole of pulumi_aws is large. This module is imported only where a stack asks for AWS.
from pulumi_aws import s3

from components.render import aws_policies as render
from components.render.aws_policies import Mode, Transition

__all__ = ["LockedBucket", "LockedBucketArgs", "Transition"]


@dataclass(frozen=True, kw_only=True)
class LockedBucketArgs:
    """``lock_days`` is what every new object is locked for; ``maximum_days`` what anybody, break-glass too, may ask for at most.

    ``break_glass`` is the ARN of the one role that the bucket policy spares. ``purpose`` test: destroy takes the objects along; then
    ``break_glass`` must be the role that deploys, or the destroy is refused like anybody's. ``prefix`` is "" or ends with a slash.
    """

    bucket: str
    region: str
    lock_mode: Mode
    lock_days: int
    maximum_days: int
    break_glass: str
    kms_key: str | None = None
    transitions: Sequence[Transition] = ()
    origin: Literal["new", "adopted"] = "new"
    purpose: Literal["production", "test"] = "production"
    prefix: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.lock_days <= self.maximum_days:
            raise ValueError(
                f"lock of {self.lock_days} days, capped at {self.maximum_days}: must be 1 to the cap"
            )
        if self.purpose == "test" and (self.lock_mode != "GOVERNANCE" or self.origin != "new"):
            raise ValueError(
                "only a bucket that this program made, in mode GOVERNANCE, may be destroyed with its objects"
            )


class LockedBucket(pulumi.ComponentResource):
    """What was written stays for the lock's time, whoever asks for its deletion: relay's root, deployer, administrator (R1 to R5, A5)."""

    bucket_name: pulumi.Output[str]
    arn: pulumi.Output[str]
    endpoint: str
    ready: Sequence[pulumi.Resource]

    def __init__(self, name: str, args: LockedBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:vault:LockedBucket", name, {"bucket": args.bucket}, opts)
        raise NotImplementedError
