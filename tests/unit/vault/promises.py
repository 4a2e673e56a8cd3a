"""What the two documents guarantee together, as requests and answers: one table for the tests that check it and those that break it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from components.vault.bucket.bucket_policy import GUARDED_BUCKET_ACTIONS, GUARDED_OBJECT_ACTIONS
from tests.unit.vault.documents import ARN, BREAK_GLASS, DEPLOYER, KEY, RELAY, ROOT
from tests.unit.vault.iam import Document, effects

PACK = f"{ARN}/web1/g1/data/ab/abcd"
LOCK = f"{ARN}/web1/g1/locks/0123"
OTHER = f"{ARN}/db1/g1/data/ab/abcd"
SSE = "s3:x-amz-server-side-encryption"
NEW = {"s3:if-none-match": "*", "s3:ObjectCreationOperation": "true"}


@dataclass(frozen=True)
class Request:
    """One request; ``who`` is the ARN that AWS knows the caller by, "" for nobody."""

    row: str
    action: str
    resource: str
    who: str = RELAY
    context: Mapping[str, str] = field(default_factory=dict)

    def asked(self) -> dict[str, str]:
        who = {"aws:PrincipalArn": self.who} if self.who else {}
        return {"aws:SecureTransport": "true", **who, **self.context}


def put(row: str, who: str = RELAY, resource: str = PACK, **more: str) -> Request:
    """A conditional upload with more headers than that; ``-`` in a name is written ``_``."""
    names = {f"s3:{name.replace('_', '-')}": value for name, value in more.items()}
    return Request(row, "s3:PutObject", resource, who, {**NEW, **names})


# The bucket's policy refuses these, whatever else the caller is allowed.
REFUSED = [
    *(
        Request("R4", action, ARN, who)
        for action in GUARDED_BUCKET_ACTIONS
        for who in (RELAY, DEPLOYER, ROOT, "")
    ),
    *(
        Request("R2", action, one, who)
        for action in GUARDED_OBJECT_ACTIONS
        for one in (PACK, LOCK)
        for who in (RELAY, DEPLOYER, ROOT, "")
    ),
    *(
        Request("R1", "s3:DeleteObject", f"{ARN}/{key}", who)
        for who in (RELAY, DEPLOYER, ROOT, "")
        for key in (
            "web1/g1/config",
            "web1/g1/data/ab/abcd",
            "web1/g1/index/1",
            "web1/g1/keys/1",
            "web1/g1/snapshots/1",
            "locks/1",
            "x",
        )
    ),
    *(
        Request("S5", "s3:PutObject", one, who, {"s3:ObjectCreationOperation": "true"})
        for one in (PACK, LOCK)
        for who in (RELAY, DEPLOYER)
    ),
    *(
        put("R5", who, object_lock_mode="COMPLIANCE", object_lock_remaining_retention_days="61")
        for who in (RELAY, BREAK_GLASS)
    ),
    *(
        Request(
            "R5",
            "s3:PutObjectRetention",
            PACK,
            who,
            {"s3:object-lock-mode": "COMPLIANCE", "s3:object-lock-remaining-retention-days": "36500"},
        )
        for who in (RELAY, BREAK_GLASS)
    ),
    *(
        Request("R2", "s3:PutObjectRetention", PACK, who, {"s3:object-lock-mode": "GOVERNANCE"})
        for who in (RELAY, BREAK_GLASS)
    ),
    # Months of backups that only work as long as the attacker lends the key.
    *(
        put("R3", who, x_amz_server_side_encryption_customer_algorithm="AES256")
        for who in (RELAY, BREAK_GLASS)
    ),
    *(
        put(
            "R3", who, x_amz_server_side_encryption="aws:kms", x_amz_server_side_encryption_aws_kms_key_id=KEY
        )
        for who in (RELAY, BREAK_GLASS)
    ),
    put("R3", x_amz_server_side_encryption="aws:kms"),
    put("R3", x_amz_server_side_encryption_aws_kms_key_id=KEY),
    put("R3", x_amz_storage_class="DEEP_ARCHIVE"),
    *(
        Request("A1", action, one, who, {**NEW, "aws:SecureTransport": "false"})
        for who in (RELAY, BREAK_GLASS)
        for action, one in (("s3:GetObject", PACK), ("s3:PutObject", PACK), ("s3:ListBucket", ARN))
    ),
]

# The bucket's policy allows these: what a backup does, what a run of Pulumi reads, what break-glass is for.
LET_BE = [
    put("backup"),
    put("backup", resource=LOCK),
    put("backup", x_amz_server_side_encryption="AES256", x_amz_storage_class="STANDARD"),
    # Parts and the start of a multipart upload carry no condition.
    Request("backup", "s3:PutObject", PACK, context={"s3:ObjectCreationOperation": "false"}),
    Request("backup", "s3:DeleteObject", LOCK),
    Request("backup", "s3:GetObject", PACK),
    Request("backup", "s3:ListBucket", ARN, context={"s3:prefix": "web1/"}),
    *(
        Request("refresh", f"s3:{action}", ARN, DEPLOYER)
        for action in (
            "GetBucketPolicy",
            "GetBucketVersioning",
            "GetBucketObjectLockConfiguration",
            "GetLifecycleConfiguration",
            "GetEncryptionConfiguration",
            "GetBucketPublicAccessBlock",
            "GetBucketOwnershipControls",
            "GetBucketTagging",
            "ListBucket",
            "PutBucketTagging",
            "PutBucketNotification",
        )
    ),
    *(Request("break-glass", action, ARN, BREAK_GLASS) for action in GUARDED_BUCKET_ACTIONS),
    *(
        Request("break-glass", action, PACK, BREAK_GLASS)
        for action in (*GUARDED_OBJECT_ACTIONS, "s3:DeleteObject")
    ),
    Request("break-glass", "s3:PutObject", PACK, BREAK_GLASS, {"s3:ObjectCreationOperation": "true"}),
    Request(
        "break-glass",
        "s3:PutObjectRetention",
        PACK,
        BREAK_GLASS,
        {"s3:object-lock-mode": "COMPLIANCE", "s3:object-lock-remaining-retention-days": "60"},
    ),
]

# web1's own policy allows these and no other.
GRANTED = [
    Request("backup", "s3:GetBucketVersioning", ARN),
    Request("backup", "s3:GetBucketObjectLockConfiguration", ARN),
    *(Request("A10", f"s3:GetObject{what}", LOCK) for what in ("Retention", "Version")),
    Request("A10", "s3:GetLifecycleConfiguration", ARN),
    Request("backup", "s3:ListBucket", ARN, context={"s3:prefix": "web1/g1/snapshots/"}),
    # Asked by S3 itself for an object that is missing: allowed, the answer is 404; else 403, and no upload could begin.
    Request("backup", "s3:ListBucket", ARN, context={"s3:prefix": "web1/g1/data/ab/abcd"}),
    *(Request("backup", f"s3:{verb}", PACK) for verb in ("GetObject", "PutObject", "AbortMultipartUpload")),
    Request("backup", "s3:DeleteObject", LOCK),
]
NOT_GRANTED = [
    Request("R8", "s3:ListBucket", ARN),
    *(
        Request("R8", "s3:ListBucket", ARN, context={"s3:prefix": prefix})
        for prefix in ("", "db1/", "web1", "web10/", "web")
    ),
    *(
        Request("R8", f"s3:{verb}", one)
        for verb in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")
        for one in (
            OTHER,
            f"{ARN}/db1/g1/locks/1",
            f"{ARN}/web10/g1/locks/1",
            f"{ARN}/web1",
            "arn:aws:s3:::example-backups-prod2/web1/g1/locks/1",
        )
    ),
    # Objects named like a folder of the repository: a listing may hide what is in that folder.
    *(
        Request("S4", "s3:PutObject", f"{ARN}/web1/{folder}")
        for folder in ("g1", "g1/data", "g1/keys", "g1/index", "g1/snapshots", "g1/locks")
    ),
    *(
        Request("R1", "s3:DeleteObject", f"{ARN}/web1/g1/{key}")
        for key in ("config", "data/ab/abcd", "index/1", "keys/1", "snapshots/1")
    ),
    *(
        Request("R2", action, PACK)
        for action in (*GUARDED_OBJECT_ACTIONS, "s3:GetObjectRetention", "s3:GetObjectVersion")
    ),
    *(Request("R4", action, ARN) for action in GUARDED_BUCKET_ACTIONS),
    *(
        Request("R4", action, "*")
        for action in ("iam:CreateAccessKey", "sts:AssumeRole", "kms:Decrypt", "s3:ListAllMyBuckets")
    ),
]


def broken(document: Document, *, deny: bool) -> Iterator[Request]:
    """The promises that a bucket's policy (deny) or an identity's does not keep."""
    effect, held, left = ("Deny", REFUSED, LET_BE) if deny else ("Allow", GRANTED, NOT_GRANTED)
    for requests, wanted in ((held, {effect}), (left, set[str]())):
        yield from (r for r in requests if effects(document, r.action, r.resource, r.asked()) != wanted)
