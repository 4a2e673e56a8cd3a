"""LockedBucket: the bucket on AWS that keeps everything written to it, and the policy that only break-glass can change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi

# Imported by module: all of pulumi_aws is large. A stack without AWS must not import this module at all.
from pulumi_aws import s3

from components.vault.bucket.adoption import refuse_unless_locked
from components.vault.bucket.bucket_policy import LockMode, bucket_policy
from components.vault.bucket.lifecycle import Transition, lifecycle
from components.vault.policy_documents import domain


@dataclass(frozen=True, kw_only=True)
class LockedBucketArgs:
    """``lock_days`` is the lock of every new object; ``maximum_days`` the longest lock that anybody, even break-glass, may set.

    ``break_glass``: ARN of the only role exempt from the bucket policy. ``prefix``: "" or words that each end with a slash.
    ``origin`` adopted: the bucket already exists with Object Lock. It is imported, its settings including policy and
    lifecycle are converged, and it is kept when the stack is destroyed. ``purpose`` test: a destroy deletes the objects, and ``break_glass`` must then be the
    role that deploys, otherwise the destroy is refused.
    """

    bucket: str
    region: str
    lock_mode: LockMode
    lock_days: int
    maximum_days: int
    break_glass: str
    kms_key: str | None = None
    transitions: Sequence[Transition] = ()
    origin: Literal["new", "adopted"] = "new"
    purpose: Literal["production", "test"] = "production"
    prefix: str = ""

    @property
    def partition(self) -> str:
        """The AWS partition of the account, usually ``aws``."""
        return self.break_glass.split(":")[1]

    def __post_init__(self) -> None:
        # Settings already refuse this with a better error. It is checked again here because it decides whether objects may be deleted with the bucket.
        if self.purpose == "test" and (self.lock_mode, self.origin) != ("GOVERNANCE", "new"):
            raise ValueError(
                "only a bucket that this program made, in mode GOVERNANCE, may go with its objects"
            )


class LockedBucket(pulumi.ComponentResource):
    """What was written is kept for the lock's time, even from root on the relay, the deployer and an administrator (R1 to R5, A5).

    Pulumi type ``lastcopy:vault:LockedBucket``. Children, each after the previous one (S3 refuses simultaneous changes of a bucket):
    ``<name>-bucket`` (Object Lock enabled from the start), ``<name>-versioning``, ``<name>-lock`` (default retention), ``<name>-owner``
    (owner-enforced: no ACLs), ``<name>-private`` (public access block), ``<name>-encryption``, ``<name>-lifecycle``, and last
    ``<name>-policy``. From then on the policy refuses every change of these, even to the identity that set it: a later change is a
    ``pulumi up`` as break-glass (docs/decisions/0006). A run without changes writes nothing, and reads are not refused.
    Outputs: ``bucket_name``, ``arn``, ``endpoint``. Nobody may get a key to the bucket before it is complete: depend on the component.
    Pulumi never deletes, empties or loosens production and adopted buckets: they are protected, and kept when they leave the program.
    Errors, before anything is registered: an adopted bucket that is missing, has no Object Lock or cannot be inspected
    (``components/vault/bucket/adoption.py``); the engine would try to replace it, and advise to unprotect it for that.
    The account's root user can remove the policy, but not a COMPLIANCE lock. Does not protect against that, against the closing of the account, or,
    with ``kms_key``, against whoever may delete that key: everything that it encrypted is then lost, locked or not.
    """

    bucket_name: pulumi.Output[str]
    arn: pulumi.Output[str]
    endpoint: str

    def __init__(self, name: str, args: LockedBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "lastcopy:vault:LockedBucket",
            name,
            {"bucket": args.bucket, "purpose": args.purpose, "origin": args.origin},
            opts,
        )
        self._name, self._args = name, args
        if args.origin == "adopted":
            refuse_unless_locked(args.bucket, self)
        bucket = self._create_bucket()
        self.bucket_name, self.arn = bucket.bucket, bucket.arn
        self.endpoint = f"https://s3.{args.region}.{domain(args.partition)}"
        last: pulumi.Resource = bucket
        for create in (
            self._create_versioning,
            self._create_lock,
            self._create_ownership,
            self._create_public_access_block,
            self._create_encryption,
            self._create_lifecycle,
            self._create_policy,
        ):
            last = create(bucket.bucket, self._options(after=last))
        self.register_outputs({"bucketName": self.bucket_name, "arn": self.arn, "endpoint": self.endpoint})

    def _options(self, after: pulumi.Resource | None = None) -> pulumi.ResourceOptions:
        # Set explicitly on each child, because an inherited option is easily overlooked, and protection must survive a mistake in the parent.
        keep = self._args.purpose == "production"
        return pulumi.ResourceOptions(
            parent=self, protect=keep, retain_on_delete=keep, depends_on=[] if after is None else [after]
        )

    def _create_bucket(self) -> s3.Bucket:
        args, options = self._args, self._options()
        if args.origin == "adopted":
            options.import_ = args.bucket
            options.ignore_changes = ["tags", "tagsAll", "forceDestroy"]
        return s3.Bucket(
            f"{self._name}-bucket",
            bucket=args.bucket,
            object_lock_enabled=True,
            # With this option pulumi-aws deletes every version and bypasses GOVERNANCE for it; nothing else in this program can do that.
            force_destroy=True if args.purpose == "test" else None,
            opts=options,
        )

    def _create_versioning(
        self, bucket: pulumi.Output[str], options: pulumi.ResourceOptions
    ) -> pulumi.Resource:
        return s3.BucketVersioning(
            f"{self._name}-versioning",
            bucket=bucket,
            versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=options,
        )

    def _create_lock(self, bucket: pulumi.Output[str], options: pulumi.ResourceOptions) -> pulumi.Resource:
        retention = s3.BucketObjectLockConfigurationRuleDefaultRetentionArgs(
            mode=self._args.lock_mode, days=self._args.lock_days
        )
        return s3.BucketObjectLockConfiguration(
            f"{self._name}-lock",
            bucket=bucket,
            object_lock_enabled="Enabled",
            rule=s3.BucketObjectLockConfigurationRuleArgs(default_retention=retention),
            opts=options,
        )

    def _create_ownership(
        self, bucket: pulumi.Output[str], options: pulumi.ResourceOptions
    ) -> pulumi.Resource:
        return s3.BucketOwnershipControls(
            f"{self._name}-owner",
            bucket=bucket,
            rule=s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=options,
        )

    def _create_public_access_block(
        self, bucket: pulumi.Output[str], options: pulumi.ResourceOptions
    ) -> pulumi.Resource:
        return s3.BucketPublicAccessBlock(
            f"{self._name}-private",
            bucket=bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=options,
        )

    def _create_encryption(
        self, bucket: pulumi.Output[str], options: pulumi.ResourceOptions
    ) -> pulumi.Resource:
        return s3.BucketServerSideEncryptionConfiguration(
            f"{self._name}-encryption",
            bucket=bucket,
            rules=[_encryption_rule(self._args.kms_key)],
            opts=options,
        )

    def _create_lifecycle(
        self, bucket: pulumi.Output[str], options: pulumi.ResourceOptions
    ) -> pulumi.Resource:
        args = self._args
        return s3.BucketLifecycleConfiguration(
            f"{self._name}-lifecycle",
            bucket=bucket,
            rules=lifecycle(lock_days=args.lock_days, prefix=args.prefix, transitions=args.transitions),
            opts=options,
        )

    def _create_policy(self, bucket: pulumi.Output[str], options: pulumi.ResourceOptions) -> pulumi.Resource:
        args = self._args
        policy = bucket_policy(
            args.bucket,
            break_glass=args.break_glass,
            mode=args.lock_mode,
            maximum_days=args.maximum_days,
            kms_key=args.kms_key,
            partition=args.partition,
        )
        return s3.BucketPolicy(f"{self._name}-policy", bucket=bucket, policy=json.dumps(policy), opts=options)


def _encryption_rule(kms_key: str | None) -> s3.BucketServerSideEncryptionConfigurationRuleArgs:
    by_default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs
    return s3.BucketServerSideEncryptionConfigurationRuleArgs(
        apply_server_side_encryption_by_default=by_default(sse_algorithm="AES256")
        if kms_key is None
        else by_default(sse_algorithm="aws:kms", kms_master_key_id=kms_key),
        # One call to KMS per period of time instead of one per object.
        bucket_key_enabled=kms_key is not None,
        # S3 sets this for new buckets by default. It is set explicitly, or each refresh would find a difference that only break-glass may write.
        blocked_encryption_types=["SSE-C"],
    )
