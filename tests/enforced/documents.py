"""The generated documents in the form that each server accepts. What a server does not accept is reported, never silently dropped.

versitygw gets the bucket policy as a bucket policy. minio applies bucket policies only to anonymous callers, so its identities carry the same denials.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.vault.bucket.bucket_policy import bucket_policy
from components.vault.identities.identity_policy import identity_policy

BREAK_GLASS = "arn:aws:iam::000000000000:role/break-glass"
CAP_DAYS = 60
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}],
}
Document = dict[str, Any]

# Request headers that a server does not pass to its policies: it refuses a document with conditions on them.
_ENCRYPTION = "s3:x-amz-server-side-encryption"
_HEADERS = {
    "s3:if-none-match",
    "s3:ObjectCreationOperation",
    "s3:object-lock-mode",
    "s3:object-lock-remaining-retention-days",
    "s3:x-amz-storage-class",
    _ENCRYPTION,
    f"{_ENCRYPTION}-aws-kms-key-id",
    f"{_ENCRYPTION}-customer-algorithm",
}


@dataclass(frozen=True)
class Dialect:
    """What a server does not understand of an S3 policy."""

    actions: frozenset[str]
    keys: Mapping[str, frozenset[str]]  # condition key -> the actions with which it is refused; empty: all
    not_resource: bool = True

    def refuses(self, statement: Document, action: str) -> bool:
        if action in self.actions or ("NotResource" in statement and not self.not_resource):
            return True
        asked = {key for block in statement["Condition"].values() for key in block}
        return any(key in self.keys and action in (self.keys[key] or {action}) for key in asked)


_ODD = frozenset(
    {"s3:ObjectOwnerOverrideToBucketOwner", "s3:PutObjectVersionAcl", "s3:UpdateObjectEncryption"}
)
VERSITY = Dialect(
    _ODD | {"s3:ReplicateDelete", "s3:ReplicateObject"},
    dict.fromkeys(_HEADERS, frozenset()),
    not_resource=False,
)
MINIO = Dialect(
    _ODD
    | {
        "s3:PutBucketAcl",
        "s3:PutBucketOwnershipControls",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutIntelligentTieringConfiguration",
        "s3:PutObjectAcl",
    },
    {
        "s3:if-none-match": frozenset(),
        "s3:ObjectCreationOperation": frozenset(),
        "s3:object-lock-remaining-retention-days": frozenset({"s3:PutObject"}),
    },
)
DIALECTS = {"versitygw": VERSITY, "minio": MINIO}


def identity(bucket: str, source: str) -> Document:
    return identity_policy(bucket, f"{source}/")


def guard(bucket: str, mode: str = "GOVERNANCE") -> Document:
    """The bucket policy as `pulumi up` would set it."""
    assert mode in ("GOVERNANCE", "COMPLIANCE")
    return bucket_policy(bucket, break_glass=BREAK_GLASS, mode=mode, maximum_days=CAP_DAYS)  # type: ignore[arg-type]


def single(document: Document) -> Iterator[Document]:
    """Every statement split by actions."""
    for statement in document["Statement"]:
        for action in statement["Action"]:
            yield {**statement, "Action": [action]}


def taken(document: Document, server: str) -> Document:
    """The part of a bucket policy that the server understands, unchanged."""
    dialect = DIALECTS[server]
    kept = []
    for statement in document["Statement"]:
        actions = [action for action in statement["Action"] if not dialect.refuses(statement, action)]
        if actions:
            kept.append({**statement, "Action": actions})
    return {**document, "Statement": kept}


def left_out(document: Document, server: str) -> list[Document]:
    return [one for one in single(document) if DIALECTS[server].refuses(one, one["Action"][0])]


def as_identity_policy(document: Document, *, stranger: bool = False) -> Document:
    """The same denials for one identity. `stranger`: leave out the conditions on aws:PrincipalArn, which are true for everybody except break-glass."""
    made = copy.deepcopy(document)
    for statement in made["Statement"]:
        del statement["Principal"]
        if stranger:
            for operator, block in list(statement["Condition"].items()):
                block.pop("aws:PrincipalArn", None)
                if not block:
                    del statement["Condition"][operator]
            if not statement["Condition"]:
                del statement["Condition"]
    return made


def without(document: Document, sid: str) -> Document:
    """For sabotage: the document without one statement."""
    kept = [statement for statement in document["Statement"] if statement["Sid"] != sid]
    assert len(kept) == len(document["Statement"]) - 1
    return {**document, "Statement": kept}
