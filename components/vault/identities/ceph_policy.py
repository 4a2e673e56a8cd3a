"""The bucket policy that lets sources into a bucket of a Ceph RADOS Gateway, whose users have no policies of their own at most services.

Generated for the documentation and tried on the real server (tests/gates/test_ceph.py); the program sets no policy there.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.vault.identities.identity_policy import identity_policy
from components.vault.policy_documents import Document, document

# In Ceph the writer of an object owns it, and may do all of this with it unless denied by name.
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
    """Each source as ``identity_policy`` has it, but for the listing and for what it owns; the bucket's owner everything.

    ``sources``: the ARN of each source's user, by the source's name. ``owner``: the ARN of the user that owns the bucket, which recovery uses: it
    does not own what others write there, and reads it by this policy like anybody else.
    The listing has no condition on the prefix: Ceph before its pull request 68577 answers 403 in place of 404 to whoever has one, and restic
    cannot tell a new name from a refusal then. So each source's key sees the names of all sources' objects (R8).
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
