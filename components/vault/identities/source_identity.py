"""SourceIdentity: one source's identity in the vault on AWS, and its key."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from components.vault.identities.identity_policy import identity_policy

_POLICY_NAME = "room"  # another path would replace the policy of every existing stack


@dataclass(frozen=True, kw_only=True)
class SourceIdentityArgs:
    """``prefix`` is the source's prefix in the bucket, with its last slash. A higher ``generation`` makes a new key."""

    source: str
    bucket: str
    prefix: str
    generation: int = 1
    kms_key: str | None = None
    partition: str = "aws"


class SourceIdentity(pulumi.ComponentResource):
    """One source's key can only read and add objects below its own prefix and delete restic's locks there (R1, R2, R4, R8).

    Pulumi type ``lastcopy:vault:SourceIdentity``. Children: ``<name>-user`` (iam.User below /lastcopy/), ``<name>-policy`` (inline, so
    that it is never shared), ``<name>-key-g<generation>`` (iam.AccessKey). No key is made before its policy.
    Rotation without a gap: a new generation is a new resource, so the new key is made and passed on before the engine deletes the old one
    at the end of the same update. A run that is interrupted in between leaves both, and the next run goes on. IAM allows two keys per user:
    raise ``generation`` once per finished ``pulumi up``, or AWS answers LimitExceeded.
    Outputs: ``access_key_id``, ``secret_access_key`` (secret). The secret is kept in the state, encrypted, and on the relay.
    Create it with ``depends_on`` the locked bucket: no key may exist before the bucket is complete.
    Does not protect against a person who may edit IAM in this account: the bucket policy does that.
    """

    access_key_id: pulumi.Output[str]
    secret_access_key: pulumi.Output[str]

    def __init__(
        self, name: str, args: SourceIdentityArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(
            "lastcopy:vault:SourceIdentity",
            name,
            {
                "source": args.source,
                "room": args.prefix,
                "generation": args.generation,
            },  # as in existing states
            opts,
        )
        child = pulumi.ResourceOptions(parent=self)
        document = identity_policy(args.bucket, args.prefix, kms_key=args.kms_key, partition=args.partition)
        user = iam.User(
            f"{name}-user", name=user_name(args.bucket, args.source), path="/lastcopy/", opts=child
        )
        policy = iam.UserPolicy(
            f"{name}-policy", name=_POLICY_NAME, user=user.name, policy=json.dumps(document), opts=child
        )
        key = iam.AccessKey(
            f"{name}-key-g{args.generation}",
            user=user.name,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[policy], additional_secret_outputs=["secret"]
            ),
        )
        self.access_key_id = key.id
        self.secret_access_key = pulumi.Output.secret(key.secret)
        self.register_outputs({"accessKeyId": self.access_key_id})


def user_name(bucket: str, source: str) -> str:
    """``<source>@<bucket>``, unique in the account because bucket names are globally unique; shortened to IAM's 64 characters."""
    name = f"{source}@{bucket}"
    return name if len(name) <= 64 else f"{name[:51]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
