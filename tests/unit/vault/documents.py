"""The documents that the tests of this folder speak of, with the names that they are made for."""

from __future__ import annotations

from typing import Any

from components.vault import aws_policies as render

BUCKET = "example-backups-prod"
ARN = f"arn:aws:s3:::{BUCKET}"
ROOM = "web1/"
BREAK_GLASS = "arn:aws:iam::123456789012:role/break-glass"
DEPLOYER = "arn:aws:iam::123456789012:role/deploy"
RELAY = "arn:aws:iam::123456789012:user/lastcopy/web1"
ROOT = "arn:aws:iam::123456789012:root"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def bucket_policy(**changes: Any) -> render.Document:
    given = {"break_glass": BREAK_GLASS, "mode": "COMPLIANCE", "maximum_days": 60, **changes}
    return render.bucket_policy(given.pop("bucket", BUCKET), **given)


def identity(**changes: Any) -> render.Document:
    return render.source_identity(changes.pop("bucket", BUCKET), changes.pop("room", ROOM), **changes)
