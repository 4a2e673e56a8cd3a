"""rclone's configuration for one identity of an S3 storage: how it logs in, and how it sends objects. Pure text, no engine.

The key is in a separate file in the format of the AWS SDK, because rclone enables the SDK's checksums only for a key that the SDK
itself reads (rclone 1.76.0: ``s3Connection`` calls the SDK's loader only for ``env_auth``). The file contains one profile, and rclone gets
its name: if the profile is missing, rclone ends with an error and looks for no other key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from components.storage.service_facts import Checksum, Uploads

REMOTE = "lastcopy"
PROFILE = "lastcopy"
WHOLE_OBJECT = "5Gi"  # the largest that S3 accepts in one request

# The environment of an rclone that uses only this configuration: no other file of the SDK, no identity of the machine.
ENVIRONMENT: Mapping[str, str] = {
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def s3_conf(
    *, uploads: Uploads, endpoint: str, region: str, credentials_file: str, remote: str = REMOTE
) -> str:
    """rclone.conf. ``credentials_file`` is the path of the file made by `s3_credentials`. Not a secret."""
    trailer, parts = uploads.checksum is Checksum.TRAILER, uploads.parts
    settings = {
        "type": "s3",
        "provider": uploads.rclone,
        "env_auth": "true",
        "profile": PROFILE,
        "shared_credentials_file": credentials_file,
        "endpoint": endpoint,
        "region": region,
        # The storage step has checked the bucket; rclone must neither look for it nor create it.
        "no_check_bucket": "true",
        "use_data_integrity_protections": "true" if trailer else "false",
        "use_unsigned_payload": "false" if trailer else "true",
        "upload_cutoff": WHOLE_OBJECT if parts is None else f"{parts.cutoff}Mi",
    }
    if parts is not None:
        settings |= {
            "chunk_size": f"{parts.size}Mi",
            "upload_concurrency": "1",
            # The storage has compared each part. The ETag of the whole is an MD5 of MD5s only on some services, and never under SSE-KMS.
            "use_multipart_etag": "false",
        }
    return section(settings, remote)


def s3_credentials(*, uploads: Uploads, access_key_id: str, secret_access_key: str) -> str:
    """The file that contains the key. A secret."""
    settings = {
        "aws_access_key_id": _key(access_key_id),
        "aws_secret_access_key": _key(secret_access_key),
        "request_checksum_calculation": "when_supported"
        if uploads.checksum is Checksum.TRAILER
        else "when_required",
        # restic verifies what it reads, and the SDK would write a line to the journal for every part of an object.
        "response_checksum_validation": "when_required",
    }
    # Without spaces: to the SDK " #" begins a comment.
    return f"[profile {PROFILE}]\n" + "".join(f"{name}={text}\n" for name, text in settings.items())


def upload_arguments(uploads: Uploads) -> tuple[str, ...]:
    """Arguments for every rclone that stores objects, for options that rclone.conf does not have."""
    return () if uploads.compares else ("--ignore-checksum",)


def section(settings: Mapping[str, str], remote: str = REMOTE) -> str:
    """One section of rclone.conf."""
    return f"[{remote}]\n" + "".join(f"{name} = {_value(name, text)}\n" for name, text in settings.items())


def _value(name: str, text: str) -> str:
    """A value that rclone reads back unchanged: its parser gives meaning to quotes, line breaks and ``%(``."""
    if (
        not text.isprintable()
        or text != text.strip()
        or text[:1] in ('"', "`", "'")
        or "%(" in text
        or text.endswith("\\")
    ):
        raise ValueError(
            f"rclone.conf cannot carry this {name}: it begins with a quote, ends with a backslash or a space, or holds %( or a line break"
        )
    return text


def _key(text: str) -> str:
    """A part of a key that the SDK reads back unchanged: without spaces, which could begin a comment, and without quotes around it."""
    if not re.fullmatch(r"[!-~]+", text) or text[0] in "\"'`":
        raise ValueError("a storage key is of visible ASCII characters, and does not begin with a quote")
    return text
