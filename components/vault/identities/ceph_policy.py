"""The bucket policy that admits sources to a bucket of a Ceph RADOS Gateway, whose users have no policies of their own with most services.

It is generated for the documentation and tried on the real server (tests/gates/test_ceph.py); the program sets no policy there.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.vault.identities.identity_policy import identity_policy
from components.vault.policy_documents import Document, document

# In Ceph the writer of an object owns it, and may do all of this with it unless it is explicitly denied.
OWNERS_ACTIONS = (
    "s3:BypassGovernanceRetention",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectVersionTagging",
    "s3:PutObjectAcl",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionAcl",
    "s3:PutObjectVersionTagging",
)


def ceph_bucket_policy(bucket: str, sources: Mapping[str, str], owner: str, *, prefix: str = "") -> Document:
    """Each source has the rights of ``identity_policy``, except for listing and for objects that it owns; the bucket's owner has all rights.

    ``sources``: the ARN of each source's user, by source name. ``owner``: the ARN of the user that owns the bucket and is used for recovery: it
    does not own the objects that others write there, and can read them only by this policy.
    Listing has no condition on the prefix: with a condition, Ceph before its pull request 68577 answers 403 instead of 404, and restic
    cannot tell a new name from a refusal then. So each source's key can see the names of all sources' objects (R8).
    """
    everything = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statements: list[Document] = [_of(owner, {"Effect": "Allow", "Action": ["s3:*"], "Resource": everything})]
    own = {"Effect": "Deny", "Action": list(OWNERS_ACTIONS), "Resource": everything[1:]}
    for name, user in sources.items():
        for statement in identity_policy(bucket, f"{prefix}{name}/")["Statement"]:
            listing = statement["Action"] == ["s3:ListBucket"]
            kept = {key: value for key, value in statement.items() if not (listing and key == "Condition")}
            statements.append(_of(user, kept))
        statements.append(_of(user, own))
    return document(statements)


def _of(user: str, statement: Document) -> Document:
    return {**statement, "Principal": {"AWS": [user]}}
