"""The documents that the tests of this folder speak of, with the names that they are made for."""

from __future__ import annotations

from typing import Any

from components.vault.bucket import bucket_policy as rendered
from components.vault.identities.identity_policy import identity_policy
from components.vault.policy_documents import Document

BUCKET = "example-backups-prod"
ARN = f"arn:aws:s3:::{BUCKET}"
PREFIX = "web1/"
BREAK_GLASS = "arn:aws:iam::123456789012:role/break-glass"
DEPLOYER = "arn:aws:iam::123456789012:role/deploy"
RELAY = "arn:aws:iam::123456789012:user/lastcopy/web1"
ROOT = "arn:aws:iam::123456789012:root"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def bucket_policy(**changes: Any) -> Document:
    given = {"break_glass": BREAK_GLASS, "mode": "COMPLIANCE", "maximum_days": 60, **changes}
    return rendered.bucket_policy(given.pop("bucket", BUCKET), **given)


def identity(**changes: Any) -> Document:
    return identity_policy(changes.pop("bucket", BUCKET), changes.pop("prefix", PREFIX), **changes)
