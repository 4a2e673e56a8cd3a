"""Settings of the vault: where the objects are stored, and for how long nobody can delete them."""

from __future__ import annotations

import re
import ssl
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, StrictInt, StrictStr

from components.settings.form import Form
from components.settings.model import Model
from components.settings.problems import SECRET, Finding, Fix, refuse
from components.settings.reference import Hint
from components.settings.values import (
    AccessKeyId,
    Bucket,
    Egress,
    Endpoint,
    LockDays,
    LockMode,
    Prefix,
    RemotePath,
    SecretAccessKey,
    is_carried_by_rclone,
)
from components.storage.service_facts import ChecksumChoice, ServiceName, rows_lost
from components.storage.services import SERVICES, USABLE


def _certificate(value: str) -> str:
    allowed = "certificates in PEM form only: -----BEGIN CERTIFICATE----- and so on, line breaks kept"
    if "PRIVATE KEY" in value:
        say = "remove the private key; if this file was ever shared or committed, make a new one:"
        raise refuse("holds a private key", allowed=allowed, fix=Fix(say=say, remove=True))
    blocks = re.fullmatch(
        r"(\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+", value, re.ASCII
    )
    if blocks is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=value)
        except (ssl.SSLError, ValueError):
            blocks = None
    if blocks is None:
        raise refuse("is not a certificate", allowed=allowed)
    return value.strip() + "\n"


Certificate = Annotated[StrictStr, AfterValidator(_certificate)]

HOW_TO_GET_A_SECTION = (
    "`rclone config show REMOTE | tail -n +2 >section.conf`, and remove that file afterwards:"
)
# Backends that need a second section, keep nothing, or keep it where root on the relay can delete it.
_UNFIT = {
    "alias": "wraps another remote",
    "cache": "wraps another remote",
    "chunker": "wraps another remote",
    "combine": "wraps other remotes",
    "compress": "wraps another remote",
    "crypt": "wraps another remote",
    "hasher": "wraps another remote",
    "union": "wraps other remotes",
    "http": "cannot write",
    "memory": "forgets everything when it ends",
    "local": "keeps the backups on the relay's own disk",
}


def _section(value: SecretStr) -> SecretStr:
    """The body of one rclone.conf section. Nothing of it is ever repeated: any word may be a secret."""
    allowed = "the lines below one [section] header of rclone.conf, `key = value` each, with a `type`"
    found: list[str] = []
    kind = None
    for number, line in enumerate(value.get_secret_value().splitlines(), start=1):
        if not line.replace("\t", " ").isprintable():
            raise refuse(f"holds a control character in line {number}", allowed=allowed)
        if line.lstrip().startswith("["):
            raise refuse(f"has a [section] header in line {number}", allowed=allowed)
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        pair = re.fullmatch(r"\s*([a-z0-9_]+)\s*=\s*(.*?)\s*", line, re.ASCII)
        if pair is None:
            raise refuse(f"is not `key = value` in line {number}", allowed=allowed)
        if not is_carried_by_rclone(pair[2]):
            what = f"begins with a quote, ends with a backslash or holds %( in line {number}"
            raise refuse(what, allowed=allowed)
        found.append(pair[1])
        kind = pair[2] if pair[1] == "type" else kind
    if any(count > 1 for count in Counter(found).values()):
        raise refuse("sets one key twice", allowed=allowed)
    if not kind:
        raise refuse("has no `type = …` line", allowed=allowed)
    if kind in _UNFIT:
        raise refuse(
            f"is of a type that {_UNFIT[kind]}", allowed="a remote that stores objects on another machine"
        )
    return value


class Identity(Model):
    """An access key of the storage. Its identity may delete only below `locks/` of its own prefix."""

    EXAMPLE: ClassVar[object] = {"accessKeyId": "AKIAEXAMPLE", "secretAccessKey": SECRET}

    access_key_id: AccessKeyId = Field(description="The storage's access key id.", examples=["AKIAEXAMPLE"])
    secret_access_key: SecretAccessKey = Field(
        description="Secret: the storage's secret access key.", examples=[SECRET]
    )


class ObjectLock(Model):
    """What the bucket must already guarantee; checked before anything is written."""

    mode: LockMode = Field(
        "COMPLIANCE",
        description="COMPLIANCE: nobody can shorten the lock. GOVERNANCE: whoever has the permission can.",
    )
    minimum_days: LockDays = Field(
        30, description="Minimum default retention of the bucket, in days, 1 to 36500."
    )


# s3.REGION, s3-REGION, s3.dualstack.REGION, BUCKET.s3.REGION and so on; of an interface endpoint NAME.s3.REGION.vpce.
_AWS_HOST = re.compile(
    r"https://(?:[^/]*\.)?s3[a-z0-9-]*?[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-[0-9])(?:\.vpce)?\.amazonaws\.com(?:\.cn)?(?::443)?/?"
)


def _aws_region(endpoint: str) -> str:
    """The region of one of AWS's own endpoints, or "" for any other. The endpoint without a region in its name is that of us-east-1."""
    if re.fullmatch(r"https://s3\.amazonaws\.com(?::443)?/?", endpoint):
        return "us-east-1"
    found = _AWS_HOST.fullmatch(endpoint)
    return found[1] if found else ""


# The rows whose loss the storage step refuses (components/relay/storage_check/storage_check.sh). It only warns of other losses.
Loss = Literal["R1", "R2", "R4", "S5"]


class S3Bucket(Model):
    """An existing bucket with versioning and Object Lock at any S3-compatible endpoint."""

    EXAMPLE: ClassVar[object] = {
        "endpoint": "https://s3.example.com",
        "region": "us-east-1",
        "bucket": "example-backups",
    }

    endpoint: Endpoint = Field(
        description="https://host or https://host:port of the S3 service.",
        examples=["https://s3.example.com"],
    )
    region: Annotated[
        StrictStr, Form(r"[a-z0-9-]{1,32}", "1 to 32 of a-z 0-9 -, such as us-east-1, or auto")
    ] = Field(
        description="The bucket's region; us-east-1 or auto if the service has none.",
        examples=["us-east-1"],
    )
    bucket: Bucket = Field(description="The bucket's name.", examples=["example-backups"])
    prefix: Prefix = Field(
        "", description="Path inside the bucket that contains all sources; empty: the bucket itself."
    )
    provider: ServiceName = Field(
        "Other",
        description="The service: AWS, Minio, Versity, Ceph, Hetzner, Wasabi, Backblaze or Other.",
    )
    checksum: ChecksumChoice = Field(
        "auto",
        description="The checksum of each upload, which the storage compares before it stores: auto (the service's own way),"
        " trailer (x-amz-checksum-crc32 after the body) or md5 (Content-MD5 on the parts of a multipart upload).",
    )
    ca_certificate: Annotated[Certificate | None, Hint(file="ca.pem")] = Field(
        None,
        description="PEM certificates that sign the endpoint's certificate, if they are not in the system's store.",
        examples=["-----BEGIN CERTIFICATE-----…"],
    )
    lock: ObjectLock = Field(ObjectLock(), description="What the bucket's Object Lock must guarantee.")
    identity: Identity | None = Field(
        None,
        description="Storage identity shared by sources without their own; only the relay keeps them apart.",
    )

    accepted_losses: tuple[Loss, ...] = Field(
        (),
        description="Rows of docs/threat-model.md (R1, R2, R4, S5) that this storage does not meet: the storage step "
        "warns on every run instead of refusing it.",
        examples=[["R4"]],
    )

    def rules(self) -> Iterator[Iterator[Finding]]:
        yield self._require_region_of_endpoint()
        yield self._refuse_service_without_lock()

    def _require_region_of_endpoint(self) -> Iterator[Finding]:
        of = _aws_region(self.endpoint)
        if of and self.region != of:
            what = f"is {self.region}, and lastcopy:storage.s3.endpoint is AWS's endpoint of region {of}"
            say = "set the region that the bucket is in, and the endpoint of that region:"
            allowed = f"the region of the bucket and of the endpoint, such as {of}"
            yield Finding(("region",), what, allowed, Fix(value=of, say=say))

    def _refuse_service_without_lock(self) -> Iterator[Finding]:
        """A service that cannot meet the design at all is refused by name, with the consequences."""
        service = SERVICES[self.provider]
        if service.cannot_work:
            what = (
                f"{service.name} cannot work: {service.cannot_work}, so whoever controls the relay could destroy every "
                f"backup (rows {', '.join(rows_lost(service))} of docs/threat-model.md)"
            )
            say = "make a bucket with Object Lock at a service that has it, name it in lastcopy:storage.s3, and:"
            yield Finding(("provider",), what, ", ".join(USABLE), Fix(value="Other", say=say))


class RcloneRemoteSection(Model):
    """Any rclone remote, without Object Lock: whoever controls the relay can delete the backups."""

    EXAMPLE: ClassVar[object] = {
        "section": SECRET,
        "path": "backups",
        "egress": ["storage.example.com:443"],
        "withoutObjectLock": "accepted",
    }

    section: Annotated[
        SecretStr, AfterValidator(_section), Hint(file="section.conf", how=HOW_TO_GET_A_SECTION)
    ] = Field(
        description="Secret: the body of one rclone.conf section, `type = …` and so on.",
        examples=[SECRET],
    )
    path: RemotePath = Field(
        description="Bucket or folder of the remote that contains all sources.", examples=["backups"]
    )
    egress: Annotated[tuple[Egress, ...], Field(min_length=1)] = Field(
        description="host:port of everything that the relay must reach for this storage; everything else is blocked.",
        examples=[["storage.example.com:443"]],
    )
    without_object_lock: Literal["accepted"] = Field(
        description="The word accepted, as a reminder: whoever controls the relay can delete every backup.",
        examples=["accepted"],
    )


class SandboxVault(Model):
    """A storage with Object Lock that `sandbox/` makes on this workstation."""

    EXAMPLE: ClassVar[object] = {}

    lock_mode: LockMode = Field(
        "COMPLIANCE", description="Object Lock mode of the sandbox's bucket: COMPLIANCE or GOVERNANCE."
    )
    lock_days: Annotated[StrictInt, Field(ge=1, le=30)] = Field(
        1, description="Default retention of the sandbox's bucket, in days, 1 to 30."
    )
