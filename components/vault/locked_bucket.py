"""LockedBucket: the bucket on AWS that keeps what it gets, and the policy that nobody but break-glass changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import pulumi

# Narrow on purpose: the whole of pulumi_aws is large, and a stack without AWS must not import this module at all.
from pulumi_aws import s3

from components.vault import aws_policies as render
from components.vault.adoption import refuse_unless_locked
from components.vault.aws_policies import Mode, Transition

__all__ = ["LockedBucket", "LockedBucketArgs", "Transition"]


@dataclass(frozen=True, kw_only=True)
class LockedBucketArgs:
    """``lock_days`` is what every new object is locked for; ``maximum_days`` what anybody, break-glass too, may ask for at most.

    ``break_glass``: ARN of the one role that the bucket policy spares. ``prefix``: "" or words that each end with a slash.
    ``origin`` adopted: the bucket stands already, with Object Lock on; it is imported, its settings are converged, also its policy and
    lifecycle, and it stays when the stack goes. ``purpose`` test: destroy takes the objects along, and ``break_glass`` must then be the
    role that deploys, or the destroy is refused like anybody's.
    """

    bucket: str
    region: str
    lock_mode: Mode
    lock_days: int
    maximum_days: int
    break_glass: str
    kms_key: str | None = None
    transitions: Sequence[Transition] = ()
    origin: Literal["new", "adopted"] = "new"
    purpose: Literal["production", "test"] = "production"
    prefix: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.lock_days <= self.maximum_days:
            raise ValueError(
                f"a lock of {self.lock_days} days with a cap of {self.maximum_days}: must be 1 to the cap"
            )
        if self.purpose == "test" and (self.lock_mode, self.origin) != ("GOVERNANCE", "new"):
            raise ValueError(
                "only a bucket that this program made, in mode GOVERNANCE, may go with its objects"
            )


class LockedBucket(pulumi.ComponentResource):
    """What was written stays for the lock's time, whoever asks for its removal: relay's root, deployer, administrator (R1 to R5, A5).

    Pulumi type ``lastcopy:vault:LockedBucket``. Children, each after the one before it (S3 refuses two changes of one bucket at a time):
    ``<name>-bucket`` (Object Lock on from the start), ``<name>-versioning``, ``<name>-lock`` (default retention), ``<name>-owner``
    (owner-enforced: no ACLs), ``<name>-private`` (public access block), ``<name>-encryption``, ``<name>-lifecycle``, and last
    ``<name>-policy``. From then on the identity that deployed is refused every change of these by the policy it has set: a later change is
    ``pulumi up`` as break-glass (docs/decisions/0006). A run without changes writes nothing, and reads are not refused.
    Outputs: ``bucket_name``, ``arn``, ``endpoint``; ``ready``: what must stand before anybody gets a key to it.
    Production and adopted buckets are never deleted, emptied or loosened by Pulumi: protected, and kept when they leave the program.
    Errors: an adopted bucket that is missing, has no Object Lock or may not be looked at is refused before anything is registered
    (``components/vault/adoption.py``): the engine would want to replace it, and advise to unprotect it for that.
    Does not protect from the account's root user, who may lift the policy but not a COMPLIANCE lock, from the closing of the account, nor,
    with ``kms_key``, from whoever may delete that key: what it encrypted is lost with it, locked or not.
    """

    bucket_name: pulumi.Output[str]
    arn: pulumi.Output[str]
    endpoint: str
    ready: Sequence[pulumi.Resource]

    def __init__(self, name: str, args: LockedBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "lastcopy:vault:LockedBucket",
            name,
            {"bucket": args.bucket, "purpose": args.purpose, "origin": args.origin},
            opts,
        )
        keep = args.purpose == "production"
        self._last: pulumi.Resource | None = None

        def option(**more: Any) -> pulumi.ResourceOptions:
            # Said outright on each child: an inherited option is lost from sight, and protect must survive a forgetful parent.
            return pulumi.ResourceOptions(
                parent=self,
                protect=keep,
                retain_on_delete=keep,
                depends_on=[] if self._last is None else [self._last],
                **more,
            )

        adopted = args.origin == "adopted"
        if adopted:
            refuse_unless_locked(args.bucket, self)
        policy = render.bucket_policy(
            args.bucket,
            break_glass=args.break_glass,
            mode=args.lock_mode,
            maximum_days=args.maximum_days,
            kms_key=args.kms_key,
            partition=args.break_glass.split(":")[1],
        )
        rules = render.lifecycle(lock_days=args.lock_days, prefix=args.prefix, transitions=args.transitions)
        bucket = s3.Bucket(
            f"{name}-bucket",
            bucket=args.bucket,
            object_lock_enabled=True,
            # pulumi-aws deletes every version then and bypasses GOVERNANCE for it; nothing else in this program can.
            force_destroy=None if keep else True,
            opts=option(
                **(
                    {"import_": args.bucket, "ignore_changes": ["tags", "tagsAll", "forceDestroy"]}
                    if adopted
                    else {}
                )
            ),
        )
        self._last = bucket
        self._last = s3.BucketVersioning(
            f"{name}-versioning",
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=option(),
        )
        self._last = lock = s3.BucketObjectLockConfiguration(
            f"{name}-lock",
            bucket=bucket.bucket,
            object_lock_enabled="Enabled",
            rule={"default_retention": {"mode": args.lock_mode, "days": args.lock_days}},
            opts=option(),
        )
        self._last = s3.BucketOwnershipControls(
            f"{name}-owner",
            bucket=bucket.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=option(),
        )
        self._last = s3.BucketPublicAccessBlock(
            f"{name}-private",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=option(),
        )
        self._last = s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}
                    if args.kms_key is None
                    else {"sse_algorithm": "aws:kms", "kms_master_key_id": args.kms_key},
                    # One call to KMS per stretch of time instead of one per object.
                    "bucket_key_enabled": args.kms_key is not None,
                    # S3 sets this for new buckets by itself. Said here, or each refresh would find a difference that only break-glass may write.
                    "blocked_encryption_types": ["SSE-C"],
                }
            ],
            opts=option(),
        )
        self._last = s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.bucket,
            rules=cast("Sequence[s3.BucketLifecycleConfigurationRuleArgs]", rules),
            opts=option(),
        )
        self._last = s3.BucketPolicy(
            f"{name}-policy", bucket=bucket.bucket, policy=json.dumps(policy), opts=option()
        )
        self.ready = (lock, self._last)
        self.bucket_name = bucket.bucket
        self.arn = bucket.arn
        self.endpoint = f"https://s3.{args.region}.{render.domain(args.break_glass.split(':')[1])}"
        self.register_outputs({"bucketName": self.bucket_name, "arn": self.arn, "endpoint": self.endpoint})
