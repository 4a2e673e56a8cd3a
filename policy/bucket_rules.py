"""Rules about the vault: every bucket of a stack is a vault. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from policy.documents import Statement, one_identity, statements
from policy.graph import UNKNOWN, Graph, GraphRule, Node, NodeRule, Rule

BUCKET = "aws:s3/bucket:Bucket"
LOCK = "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
PUBLIC = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
OWNER = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
POLICY = "aws:s3/bucketPolicy:BucketPolicy"
OLD_NAMES = {one.replace(":Bucket", "V2:Bucket") + "V2" for one in (BUCKET, LOCK, VERSIONING, ENCRYPTION)}
IDENTITY_POLICIES = {
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/groupPolicy:GroupPolicy",
    "aws:iam/policy:Policy",
}
ATTACHMENTS = {
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
    "aws:iam/policyAttachment:PolicyAttachment",
}
# Allows the machine's agent to open sessions, and nothing in S3.
HARMLESS = {"arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"}
# Only a test stack has a lock this weak: there the settings require it and refuse a stronger one.
TEST_DAYS = 7

OF_OBJECTS = (
    "s3:BypassGovernanceRetention",
    "s3:DeleteObjectVersion",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
)
OF_BUCKET = (
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration",
)
_ONLY_LOCKS = re.compile(r":::[^*?/]+/(?:.*/)?locks/\*\Z")
# Objects that a source's identity may and may not delete.
DATA, LOCKS = "prefix/web1/g1/data/ab/abcd", "prefix/web1/g1/locks/abcd"


def is_test(node: Node) -> bool:
    """Whether a default retention is that of a test stack: GOVERNANCE for at most a week."""
    mode, days = node.get("rule", "defaultRetention", "mode"), node.get("rule", "defaultRetention", "days")
    return mode == "GOVERNANCE" and isinstance(days, int | float) and days <= TEST_DAYS


def beside(graph: Graph, bucket: Node, type_: str) -> list[Node]:
    """The resources of a type that refer to a bucket."""
    name = bucket.get("bucket")
    return [
        node
        for node in graph
        if node.type == type_
        and (
            bucket.name in node.refers.get("bucket", ())
            or (isinstance(name, str) and node.get("bucket") == name)
        )
    ]


def is_test_vault(graph: Graph, bucket: Node) -> bool:
    """Whether a bucket is a test stack's. Only the lock decides, so that a bucket that keeps data for longer is never treated as a test."""
    return any(is_test(node) for node in beside(graph, bucket, LOCK))


def _buckets(graph: Graph) -> list[Node]:
    return [node for node in graph if node.type == BUCKET]


def _one_each(type_: str, word: str) -> GraphRule:
    def check(graph: Graph) -> Iterator[tuple[Node, str]]:
        for bucket in _buckets(graph):
            if len(found := beside(graph, bucket, type_)) != 1:
                yield (
                    bucket,
                    f"has {len(found)} resources that set its {word}; it must have exactly one {type_}",
                )

    return GraphRule(
        name=f"vault-has-{word.replace(' ', '-')}",
        promise=f"Every bucket has its {word} set by the stack.",
        check=check,
    )


def _lock(node: Node) -> Iterator[str]:
    if node.type == BUCKET and node.get("objectLockEnabled") is not True:
        yield "objectLockEnabled must be true: without Object Lock nothing protects what is stored"
    if node.type == LOCK:
        if node.get("objectLockEnabled") not in (None, "Enabled"):
            yield "objectLockEnabled is not Enabled"
        mode, days = (
            node.get("rule", "defaultRetention", "mode"),
            node.get("rule", "defaultRetention", "days"),
        )
        years = node.get("rule", "defaultRetention", "years")
        if mode not in ("COMPLIANCE", "GOVERNANCE"):
            yield f"the default retention's mode is {mode!r}; it must be COMPLIANCE or GOVERNANCE"
        if not any(isinstance(span, int | float) and span >= 1 for span in (days, years)):
            yield "there is no default retention in days, so that objects would not be locked"


def _versioning(node: Node) -> Iterator[str]:
    if node.type == VERSIONING and node.get("versioningConfiguration", "status") != "Enabled":
        yield "versioningConfiguration.status is not Enabled"


def _destroyable(graph: Graph) -> Iterator[tuple[Node, str]]:
    for bucket in _buckets(graph):
        if is_test_vault(graph, bucket):
            continue
        if bucket.get("forceDestroy") not in (None, False):
            yield (
                bucket,
                "forceDestroy also deletes locked objects; only a test vault (GOVERNANCE, at most 7 days) may have it",
            )
        if not bucket.protect:
            yield bucket, "is not protected; production needs lastcopy:protect: true"


def _public(node: Node) -> Iterator[str]:
    if node.type == PUBLIC:
        for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
            if node.get(name) is not True:
                yield f"{name} is not true"


def _owner(node: Node) -> Iterator[str]:
    if node.type == OWNER and node.get("rule", "objectOwnership") != "BucketOwnerEnforced":
        yield "rule.objectOwnership is not BucketOwnerEnforced"


def _encryption(node: Node) -> Iterator[str]:
    if node.type == ENCRYPTION and node.get(
        "rules", "applyServerSideEncryptionByDefault", "sseAlgorithm"
    ) not in ("AES256", "aws:kms", "aws:kms:dsse"):
        yield "rules[0].applyServerSideEncryptionByDefault.sseAlgorithm is none of AES256, aws:kms, aws:kms:dsse"


def _read(node: Node) -> tuple[Sequence[Statement], str]:
    document = node.get("policy")
    if document is UNKNOWN:
        # An update judges it again when it is known. Our own documents are written from settings, so they are known at once.
        return (), "the document is not known before the update; write it from settings, not from outputs"
    try:
        return statements(document), ""
    except (ValueError, AttributeError, TypeError) as error:
        return (), f"the document cannot be read: {error}"


def _weakening(node: Node) -> Iterator[str]:
    if node.type != POLICY:
        return
    found, unreadable = _read(node)
    if unreadable:
        yield unreadable
        return
    bucket, spared = _bucket_arn(found), set[str]()
    wanted = [(action, bucket) for action in OF_BUCKET]
    wanted += [(action, f"{bucket}/{DATA}") for action in (*OF_OBJECTS, "s3:DeleteObject")]
    for action, resource in wanted:
        holds = [
            one.spares()
            for one in found
            if one.effect == "Deny" and one.everybody and one.covers(action, resource)
        ]
        always = [one for one in holds if one is not None]
        if not always:
            yield f"{action} is not denied to everybody except break-glass"
            continue
        shortest = min(always, key=len)
        spared |= set(shortest)
    if len(spared) > 1 or not all(map(one_identity, spared)):
        yield f"exempts {', '.join(sorted(spared))}: only one break-glass role, named in full, may be exempt"
    for one in found:
        if one.effect == "Allow" and one.everybody:
            yield "allows something to everybody"


def _bucket_arn(found: Sequence[Statement]) -> str:
    """The bucket that a bucket policy refers to: the one resource that is not an object."""
    for one in found:
        for resource in (*one.resources, *one.not_resources):
            if resource != "*":
                return resource.split("/", 1)[0]
    return "arn:aws:s3:::unnamed"


def _tls(node: Node) -> Iterator[str]:
    if node.type != POLICY:
        return
    found, unreadable = _read(node)
    if unreadable:
        return  # vault-not-weakened reports it
    bucket = _bucket_arn(found)
    for resource in (bucket, f"{bucket}/{DATA}", f"{bucket}/{LOCKS}"):
        if not any(_refuses_plain_http(one, resource) for one in found):
            yield f"requests without TLS are not denied on {resource.replace(bucket, 'BUCKET')}"


def _refuses_plain_http(one: Statement, resource: str) -> bool:
    conditions = {
        operator: {key.lower(): values for key, values in tests.items()}
        for operator, tests in one.conditions.items()
    }
    return (
        one.effect == "Deny"
        and one.everybody
        and one.covers("s3:GetObject", resource)
        and one.covers("s3:PutBucketPolicy", resource)
        and conditions == {"Bool": {"aws:securetransport": ("false",)}}
    )


def _identities(node: Node) -> Iterator[str]:
    if node.type in ATTACHMENTS and node.get("policyArn") not in HARMLESS:
        yield f"attaches {node.get('policyArn')}, which this pack does not know"
    if node.type not in IDENTITY_POLICIES:
        return
    found, unreadable = _read(node)
    if unreadable:
        yield unreadable
        return
    for one in found:
        for action in (*OF_OBJECTS, *OF_BUCKET, "s3:DeleteObject"):
            if one.effect != "Allow" or not one.speaks_of(action):
                continue
            # Whatever else limits such a permission: only the deletion of restic's locks is ever needed.
            if action == "s3:DeleteObject" and one.resources and all(map(_ONLY_LOCKS.search, one.resources)):
                continue
            yield f"allows {action}"


def _current_names(node: Node) -> Iterator[str]:
    if node.type in OLD_NAMES:
        yield "the rules do not read the deprecated …V2 types; use the current one"


RULES: tuple[Rule, ...] = (
    NodeRule(name="vault-locked", promise="Object Lock is on, with a default retention.", check=_lock),
    NodeRule(name="vault-versioned", promise="Versioning is on.", check=_versioning),
    NodeRule(name="vault-private", promise="All four public access blocks are on.", check=_public),
    NodeRule(name="vault-owner-enforced", promise="ACLs are off: the bucket owner owns all.", check=_owner),
    NodeRule(name="vault-encrypted", promise="Objects are encrypted at rest.", check=_encryption),
    NodeRule(
        name="vault-not-weakened",
        promise="Nobody but one break-glass role may weaken the vault, delete versions or data.",
        check=_weakening,
    ),
    NodeRule(name="vault-tls", promise="Requests without TLS are refused.", check=_tls),
    NodeRule(
        name="identity-adds-only",
        promise="No identity that the stack makes may delete data, versions or protections.",
        check=_identities,
    ),
    NodeRule(
        name="vault-current-types",
        promise="Buckets are declared by types that these rules judge.",
        check=_current_names,
    ),
    _one_each(LOCK, "lock"),
    _one_each(VERSIONING, "versioning"),
    _one_each(PUBLIC, "public access block"),
    _one_each(OWNER, "ownership"),
    _one_each(ENCRYPTION, "encryption"),
    _one_each(POLICY, "policy"),
    GraphRule(
        name="vault-stays",
        promise="A production vault is protected and cannot be destroyed with its objects.",
        check=_destroyable,
    ),
)
