"""The account, region and credentials of one provider resource, and the sandbox behind it."""

from __future__ import annotations

import json
import os
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from tests.aws.double.refused import Refused
from tests.aws.double.wire import Props

SANDBOX = "LASTCOPY_AWS_DOUBLE_SANDBOX"
"""Names the folder of the sandbox that plays machines and object storage; without it, control plane only."""


class Cloud:
    """What one provider resource can reach."""

    def __init__(self, settings: Props) -> None:
        given = {key: _nested(value) for key, value in settings.items()}
        self.region: str = given.get("region") or os.environ.get("AWS_REGION") or ""
        self.default_tags: dict[str, str] = (given.get("defaultTags") or {}).get("tags") or {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.RLock()
        if not self.region:
            raise Refused("Missing region: set aws:region or the provider's region")
        self._session = self._log_in(given)
        self.account: str = self.client("sts").get_caller_identity()["Account"]
        allowed = given.get("allowedAccountIds")
        if allowed and self.account not in allowed:
            raise Refused(f"AWS account ID not allowed: {self.account}")

    def _log_in(self, given: Props) -> boto3.Session:
        try:
            session = boto3.Session(region_name=self.region, profile_name=given.get("profile"))
            found = session.get_credentials()
        except (ProfileNotFound, BotoCoreError) as error:
            raise Refused(f"Invalid credentials configured: {error}") from None
        if found is None:
            raise Refused("No valid credential sources found: no AWS profile, environment variable or role")
        for role in given.get("assumeRoles") or [one for one in [given.get("assumeRole")] if one]:
            try:
                got = session.client("sts").assume_role(RoleArn=role["roleArn"], RoleSessionName="double")
            except ClientError as error:
                raise Refused(f"Cannot assume IAM Role {role['roleArn']}: {error}") from None
            keys = got["Credentials"]
            session = boto3.Session(
                keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], self.region
            )
        return session

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client, created once, because that is slow and not thread-safe."""
        where = region or self.region
        with self._lock:
            if (service, where) not in self._clients:
                config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
                self._clients[service, where] = self._session.client(
                    service, region_name=where, config=config
                )
            return self._clients[service, where]

    @cached_property
    def sandbox(self) -> Path | None:
        folder = os.environ.get(SANDBOX)
        return Path(folder) if folder else None

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        return f"arn:aws:{service}:{self.region if regional else ''}:{self.account}:{resource}"

    def tags(self, props: Props) -> dict[str, str]:
        """A resource's tags, on top of the provider's default tags."""
        return {**self.default_tags, **(props.get("tags") or {})}


def _nested(value: Any) -> Any:
    """Provider settings that are not strings arrive as JSON text."""
    if isinstance(value, str) and value[:1] in ("{", "[", '"', "t", "f"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
