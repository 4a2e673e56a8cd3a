"""rclone's configuration for one identity of an S3 storage: how it logs in, and how it sends what it stores. Pure text, no engine.

The key is in a file of its own, in the format of the AWS SDK, because rclone switches the SDK's checksums on only for a key that the SDK
itself reads (rclone 1.76.0: ``s3Connection`` calls the SDK's loader for ``env_auth`` alone). The file names one profile, and rclone is told
that profile: where it is missing, rclone ends with an error and looks for no other key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from components.storage.service_facts import Checksum, Uploads

REMOTE = "lastcopy"
PROFILE = "lastcopy"
WHOLE_OBJECT = "5Gi"  # the most that S3 takes in one request

# The environment of an rclone that is to use this configuration and nothing else: no other file of the SDK, no identity of the machine.
ENVIRONMENT: Mapping[str, str] = {
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def s3_conf(
    *, uploads: Uploads, endpoint: str, region: str, credentials_file: str, remote: str = REMOTE
) -> str:
    """rclone.conf; ``credentials_file`` is where `s3_credentials` will be. Not a secret."""
    trailer, parts = uploads.checksum is Checksum.TRAILER, uploads.parts
    settings = {
        "type": "s3",
        "provider": uploads.rclone,
        "env_auth": "true",
        "profile": PROFILE,
        "shared_credentials_file": credentials_file,
        "endpoint": endpoint,
        "region": region,
        # The bucket was checked by the storage step; rclone must neither look for it nor make one.
        "no_check_bucket": "true",
        "use_data_integrity_protections": "true" if trailer else "false",
        "use_unsigned_payload": "false" if trailer else "true",
        "upload_cutoff": WHOLE_OBJECT if parts is None else f"{parts.cutoff}Mi",
    }
    if parts is not None:
        settings |= {
            "chunk_size": f"{parts.size}Mi",
            "upload_concurrency": "1",
            # The storage compared each part; the ETag of the whole is an MD5 of MD5s on some services only, and on none under SSE-KMS.
            "use_multipart_etag": "false",
        }
    return section(settings, remote)


def s3_credentials(*, uploads: Uploads, access_key_id: str, secret_access_key: str) -> str:
    """The file that holds the key. A secret."""
    settings = {
        "aws_access_key_id": _key(access_key_id),
        "aws_secret_access_key": _key(secret_access_key),
        "request_checksum_calculation": "when_supported"
        if uploads.checksum is Checksum.TRAILER
        else "when_required",
        # restic verifies what it reads; the SDK would write a line to the journal for every part of an object.
        "response_checksum_validation": "when_required",
    }
    # Without spaces: the SDK takes " #" for the beginning of a comment.
    return f"[profile {PROFILE}]\n" + "".join(f"{name}={text}\n" for name, text in settings.items())


def upload_arguments(uploads: Uploads) -> tuple[str, ...]:
    """What no line of rclone.conf can say: arguments for every rclone that stores objects."""
    return () if uploads.compares else ("--ignore-checksum",)


def section(settings: Mapping[str, str], remote: str = REMOTE) -> str:
    """One section of rclone.conf."""
    return f"[{remote}]\n" + "".join(f"{name} = {_value(name, text)}\n" for name, text in settings.items())


def _value(name: str, text: str) -> str:
    """A value that rclone reads back as it is: its parser gives meaning to quotes, line breaks and ``%(``."""
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
    """A part of a key that the SDK reads back as it is: no space, which could begin a comment, and no quotes around it."""
    if not re.fullmatch(r"[!-~]+", text) or text[0] in "\"'`":
        raise ValueError("a storage key is of visible ASCII characters, and does not begin with a quote")
    return text
