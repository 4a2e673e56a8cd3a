"""The contents of the storage itself: every version and delete marker, read as the storage's own root, without the relay."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

from sandbox import Sandbox
from tests.integration.checkout import Running

BUCKET = "backups"


@contextmanager
def open_store(running: Running) -> Iterator[Any]:
    """An S3 client with the storage root's key."""
    with Sandbox(running.machines.directory).storage_admin() as (origin, ca, access_key, secret):
        yield boto3.client(
            "s3",
            endpoint_url=origin,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            verify=ca,
            config=Config(retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=20),
        )


def versions(running: Running, *, contents: bool = True) -> dict[tuple[str, str], str]:
    """(key, version id) -> SHA-256 of the version, or "marker"; locks are left out, they come and go by design."""
    with open_store(running) as s3:
        found: dict[tuple[str, str], str] = {}
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
            for version in page.get("Versions", []):
                key = version["Key"]
                if "/locks/" in key:
                    continue
                body = b""
                if contents:
                    body = s3.get_object(Bucket=BUCKET, Key=key, VersionId=version["VersionId"])[
                        "Body"
                    ].read()
                found[key, version["VersionId"]] = hashlib.sha256(body).hexdigest()
            for marker in page.get("DeleteMarkers", []):
                if "/locks/" not in marker["Key"]:
                    found[marker["Key"], marker["VersionId"]] = "marker"
    return found
