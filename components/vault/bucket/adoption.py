"""Adoption: an existing bucket is taken over only if Object Lock is enabled. Checked before anything is registered."""

from __future__ import annotations

import pulumi
from pulumi_aws import s3

from components.settings.problems import Problem

WHERE = "lastcopy:storage.aws.bucket"
# What pulumi-aws and S3 report for a bucket without Object Lock. pulumi-aws reports the first for a missing bucket, too.
NO_LOCK = ("couldn't find resource", "ObjectLockConfigurationNotFound")
MISSING = ("NoSuchBucket",)
DENIED = ("AccessDenied", "Forbidden", "not authorized")


def refuse_unless_locked(bucket: str, parent: pulumi.Resource) -> None:
    """Raise an error unless the bucket has Object Lock (A5). Otherwise the engine would try to replace it, and advise to unprotect it for that."""
    try:
        found = s3.get_bucket_object_lock_configuration(
            bucket=bucket, opts=pulumi.InvokeOptions(parent=parent)
        )
    except Exception as error:
        said = str(error)
        if any(word in said for word in MISSING):
            raise _refusal(_missing(bucket)) from None
        if any(word in said for word in NO_LOCK):
            raise _refusal(_unlocked(bucket)) from None
        if any(word in said for word in DENIED):
            raise _refusal(_denied(bucket)) from None
        raise
    if found.object_lock_enabled != "Enabled":
        raise _refusal(_unlocked(bucket))


def _refusal(problem: Problem) -> pulumi.RunError:
    return pulumi.RunError(f"The bucket was not adopted; nothing was changed.\n\n{problem}")


def _unlocked(bucket: str) -> Problem:
    return Problem(
        where=WHERE,
        what=f"{bucket} has no Object Lock, or there is no such bucket in this account and region",
        allowed="with origin adopted: a bucket with versioning and Object Lock on",
        fix=f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled\n"
        f"aws s3api put-object-lock-configuration --bucket {bucket} --object-lock-configuration ObjectLockEnabled=Enabled\n"
        "or let the program make one: another name, and `pulumi config set --path 'lastcopy:storage.aws.origin' new`",
    )


def _missing(bucket: str) -> Problem:
    return Problem(
        where=WHERE,
        what=f"there is no bucket {bucket}",
        allowed="with origin adopted: a bucket that exists, with versioning and Object Lock on",
        fix="correct the name, or let the program make it: `pulumi config set --path 'lastcopy:storage.aws.origin' new`",
    )


def _denied(bucket: str) -> Problem:
    return Problem(
        where=WHERE,
        what=f"whether {bucket} has Object Lock may not be asked by this identity",
        allowed="with origin adopted: s3:GetBucketObjectLockConfiguration on it, and the bucket in lastcopy:aws.account",
        fix=f"allow the deploying role s3:GetBucketObjectLockConfiguration on arn:aws:s3:::{bucket} (docs/aws.md, Two roles)",
    )
