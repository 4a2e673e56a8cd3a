"""The instance profile with which the relay's machine accepts sessions of AWS Systems Manager."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pulumi
from pulumi_aws import iam

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


def create_ssm_profile(
    name: str, tags: Mapping[str, str], opts: pulumi.ResourceOptions
) -> iam.InstanceProfile:
    """It allows only what the SSM agent needs: to register and to keep sessions."""
    role = iam.Role(f"{name}-role", assume_role_policy=json.dumps(_TRUST), tags=tags, opts=opts)
    iam.RolePolicyAttachment(
        f"{name}-role-ssm",
        role=role.name,
        policy_arn="arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
        opts=opts,
    )
    return iam.InstanceProfile(f"{name}-profile", role=role.name, tags=tags, opts=opts)
