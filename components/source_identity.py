"""SourceIdentity: one source's identity in the vault on AWS, and its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam


@dataclass(frozen=True, kw_only=True)
class SourceIdentityArgs:
    """``room`` is the source's prefix in the bucket, with its last slash. A higher ``generation`` makes a new key."""

    source: str
    bucket: str
    room: str
    generation: int = 1
    kms_key: str | None = None
    after: Sequence[pulumi.Resource] = ()


class SourceIdentity(pulumi.ComponentResource):
    access_key_id: pulumi.Output[str]
    secret_access_key: pulumi.Output[str]
    ready: Sequence[pulumi.Resource]
