"""Every statement of the bucket policy means what it should, as evaluated by an engine that is not ours.

versitygw's IAM server is asked as its gateway asks it (`decide`), with the condition keys that AWS documents for each request. It reads
whole documents, NotResource and aws:PrincipalArn included. What it cannot tell is whether AWS's S3 really sends these keys.

Where a statement is enforced on real objects, and where it is only asked about:

| statement | versitygw, on objects | minio, on objects | asked |
| --- | --- | --- | --- |
| TlsOnly | yes | takes no request without TLS | yes |
| OnlyBreakGlassChangesTheBucket | yes | yes, for the actions that it knows | yes |
| OnlyBreakGlassChangesVersionsAndLocks | yes, for the actions that it knows | the same | yes |
| OnlyResticLocksAreDeleted | as an identity policy: its bucket policies know no NotResource | yes | yes |
| WritesAddAndNeverReplace | **no**: refuses a policy with these keys | **no**: the same | yes |
| NoOtherLockMode | no | yes | yes |
| NoLockBeyondTheCap | no | by s3:PutObjectRetention; not by headers | yes |
| NoKeyOfTheCaller, NoOtherStorageClass | no | yes | yes |
| NoOtherEncryption, NoOtherKey | no | refused, but without the statement it has no key service to use | yes |

So nobody here enforces WritesAddAndNeverReplace as a policy; that both refuse a second write when the header is sent is in test_prefixes.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from minio.error import MinioAdminException

from tests.enforced import attacks, documents
from tests.enforced.conftest import Make
from tests.enforced.servers import Identity, Minio, Server, Versity, s3_client
from tests.enforced.vault import OBJECTS, tried

BUCKET = "asked-about"
ARN = f"arn:aws:s3:::{BUCKET}"
PACK = f"{ARN}/web1/g1/data/ab/x"
SSE = "s3:x-amz-server-side-encryption"
DAYS, MODE, CLASS = "s3:object-lock-remaining-retention-days", "s3:object-lock-mode", "s3:x-amz-storage-class"
CREATES = {"s3:ObjectCreationOperation": "true"}
# statement, action, resource, what the request contains, whether it is denied
Case = tuple[str, str, str, Mapping[str, str], bool]
CASES: list[Case] = [
    ("TlsOnly", "s3:GetObject", PACK, {"aws:SecureTransport": "false"}, True),
    ("TlsOnly", "s3:ListBucket", ARN, {"aws:SecureTransport": "false"}, True),
    ("TlsOnly", "s3:GetObject", PACK, {"aws:SecureTransport": "true"}, False),
    ("OnlyBreakGlassChangesTheBucket", "s3:GetBucketVersioning", ARN, {}, False),
    ("OnlyBreakGlassChangesVersionsAndLocks", "s3:GetObjectVersion", PACK, {}, False),
    ("OnlyResticLocksAreDeleted", "s3:DeleteObject", PACK, {}, True),
    ("OnlyResticLocksAreDeleted", "s3:DeleteObject", f"{ARN}/web1/g1/config", {}, True),
    ("OnlyResticLocksAreDeleted", "s3:DeleteObject", f"{ARN}/locks/x", {}, True),
    ("OnlyResticLocksAreDeleted", "s3:DeleteObject", f"{ARN}/web1/g1/locks/x", {}, False),
    ("WritesAddAndNeverReplace", "s3:PutObject", PACK, CREATES, True),
    ("WritesAddAndNeverReplace", "s3:PutObject", PACK, {**CREATES, "s3:if-none-match": "*"}, False),
    ("WritesAddAndNeverReplace", "s3:PutObject", PACK, {"s3:ObjectCreationOperation": "false"}, False),
    ("NoOtherLockMode", "s3:PutObjectRetention", PACK, {MODE: "COMPLIANCE"}, True),
    ("NoOtherLockMode", "s3:PutObject", PACK, {MODE: "COMPLIANCE"}, True),
    ("NoOtherLockMode", "s3:PutObject", PACK, {MODE: "GOVERNANCE"}, False),
    ("NoOtherLockMode", "s3:PutObject", PACK, {}, False),
    ("NoLockBeyondTheCap", "s3:PutObject", PACK, {DAYS: "61"}, True),
    ("NoLockBeyondTheCap", "s3:PutObjectRetention", PACK, {DAYS: "36500"}, True),
    ("NoLockBeyondTheCap", "s3:PutObjectRetention", PACK, {DAYS: "60"}, False),
    ("NoLockBeyondTheCap", "s3:PutObject", PACK, {}, False),
    ("NoKeyOfTheCaller", "s3:PutObject", PACK, {f"{SSE}-customer-algorithm": "AES256"}, True),
    ("NoKeyOfTheCaller", "s3:PutObject", PACK, {}, False),
    ("NoOtherEncryption", "s3:PutObject", PACK, {SSE: "aws:kms"}, True),
    ("NoOtherEncryption", "s3:PutObject", PACK, {SSE: "AES256"}, False),
    ("NoOtherEncryption", "s3:PutObject", PACK, {}, False),
    ("NoOtherKey", "s3:PutObject", PACK, {f"{SSE}-aws-kms-key-id": "arn:aws:kms:::key/attacker"}, True),
    ("NoOtherKey", "s3:PutObject", PACK, {}, False),
    ("NoOtherStorageClass", "s3:PutObject", PACK, {CLASS: "DEEP_ARCHIVE"}, True),
    ("NoOtherStorageClass", "s3:PutObject", PACK, {CLASS: "STANDARD"}, False),
    ("NoOtherStorageClass", "s3:PutObject", PACK, {}, False),
]
GUARD = documents.guard(BUCKET)
STATEMENTS = {statement["Sid"]: statement for statement in GUARD["Statement"]}
for guarded, where in (
    ("OnlyBreakGlassChangesTheBucket", ARN),
    ("OnlyBreakGlassChangesVersionsAndLocks", PACK),
):
    CASES += [(guarded, action, where, {}, True) for action in STATEMENTS[guarded]["Action"]]
# What also binds break-glass.
FOR_ALL = {
    "TlsOnly",
    "NoOtherLockMode",
    "NoLockBeyondTheCap",
    "NoKeyOfTheCaller",
    "NoOtherEncryption",
    "NoOtherKey",
}
Asked = Callable[[str, str], Identity]


@pytest.fixture(scope="package")
def asked(versity: Versity) -> Asked:
    """`asked(sid, user)`: somebody with all rights, bound by that statement alone ("" by none); break-glass is the user break-glass here,
    since this server gives roles to web identities only."""
    made: dict[str, Identity] = {}

    def ask(sid: str, user: str) -> Identity:
        name = f"{user}{sid}"
        if name not in made:
            policies = [documents.EVERYTHING]
            if sid:
                one = documents.as_identity_policy({**GUARD, "Statement": [STATEMENTS[sid]]})
                arn = versity.arn(f"break-glass{sid}")
                policies.append(json.loads(json.dumps(one).replace(documents.BREAK_GLASS, arn)))
            made[name] = versity.add_identity(name, *policies)
        return made[name]

    return ask


def test_every_statement_is_tested_for_denial_and_permission() -> None:
    assert {case[0] for case in CASES if case[4]} == set(STATEMENTS)
    assert {case[0] for case in CASES if not case[4]} == set(STATEMENTS)


def test_r1_to_r5_each_statement_denies_what_it_should_and_nothing_else(
    versity: Versity, asked: Asked
) -> None:
    answers = [(case, versity.decide(asked(case[0], "admin"), *case[1:4])) for case in CASES]
    assert [(case, said) for case, said in answers if said != ("deny" if case[4] else "allow")] == []


def test_sabotage_without_its_statement_everything_is_allowed(versity: Versity, asked: Asked) -> None:
    assert {versity.decide(asked("", "admin"), *case[1:4]) for case in CASES} == {"allow"}


def test_only_break_glass_is_exempt_and_not_from_the_rules_for_all(versity: Versity, asked: Asked) -> None:
    denied = {
        case[0] for case in CASES if versity.decide(asked(case[0], "break-glass"), *case[1:4]) == "deny"
    }
    assert denied == FOR_ALL


def test_only_requests_with_tls_are_answered(versity: Versity, vault: Make) -> None:
    """The same objects on a port without TLS: an identity that works with TLS gets nothing there."""
    made = vault(versity)
    relay, key = made.relay("web1"), f"web1/{OBJECTS[0]}"
    plain = s3_client(versity.plain_endpoint, versity.ca, relay.access_key, relay.secret_key)
    made.set_policy(documents.taken(documents.guard(made.bucket), "versitygw"))
    assert tried(lambda: versity.client(relay).get_object(Bucket=made.bucket, Key=key)) == "done"
    assert tried(lambda: plain.get_object(Bucket=made.bucket, Key=key)) == "AccessDenied"
    assert tried(lambda: plain.put_object(Bucket=made.bucket, Key="web1/g1/x", Body=b"x")) == "AccessDenied"
    weaker = documents.without(documents.taken(documents.guard(made.bucket), "versitygw"), "TlsOnly")
    made.set_policy(weaker)
    assert tried(lambda: plain.get_object(Bucket=made.bucket, Key=key)) == "done"  # the sabotage


def limited(minio: Minio, name: str, statement: documents.Document | None, bucket: str) -> Any:
    """All rights, bound by one statement in minio's form."""
    own = [documents.EVERYTHING]
    if statement:
        one = documents.taken({**GUARD, "Statement": [statement]}, "minio")
        own.append(
            json.loads(json.dumps(documents.as_identity_policy(one, stranger=True)).replace(BUCKET, bucket))
        )
    return minio.client(minio.add_identity(name, *own))


def extends(s3: Any, bucket: str, days: float, mode: str = "GOVERNANCE") -> str:
    retention = {"Mode": mode, "RetainUntilDate": attacks.in_days(days)}
    return tried(lambda: s3.put_object_retention(Bucket=bucket, Key=attacks.MINE[0], Retention=retention))


def test_r5_even_an_identity_that_may_extend_locks_cannot_exceed_the_cap(minio: Minio, vault: Make) -> None:
    made = vault(minio)
    s3 = limited(minio, "extender", STATEMENTS["NoLockBeyondTheCap"], made.bucket)
    assert extends(s3, made.bucket, documents.CAP_DAYS - 1) == "done"
    assert extends(s3, made.bucket, documents.CAP_DAYS + 2) == "AccessDenied"
    assert extends(s3, made.bucket, 9999) == "AccessDenied"
    assert made.latest_lock().days <= documents.CAP_DAYS
    assert (
        extends(limited(minio, "extender2", None, made.bucket), made.bucket, 9999) == "done"
    )  # the sabotage
    assert made.latest_lock().days > 9000


def test_r5_nothing_is_written_with_a_lock_mode_that_nobody_can_undo(minio: Minio, vault: Make) -> None:
    """COMPLIANCE on a GOVERNANCE bucket would keep a test stack's objects."""
    made = vault(minio)
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": attacks.in_days(2)}
    key = {"Bucket": made.bucket, "Key": "web1/g1/data/ab/new", "Body": b"x"}
    s3 = limited(minio, "writer", STATEMENTS["NoOtherLockMode"], made.bucket)
    assert tried(lambda: s3.put_object(**key, **lock)) == "AccessDenied"
    assert tried(lambda: s3.put_object(**key, **{**lock, "ObjectLockMode": "GOVERNANCE"})) == "done"
    free = limited(minio, "writer2", None, made.bucket)
    assert tried(lambda: free.put_object(**key, **lock)) == "done"  # the sabotage


@pytest.mark.parametrize(
    ("sid", "headers", "unbound"),
    [
        ("NoKeyOfTheCaller", {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}, "done"),
        ("NoOtherStorageClass", {"StorageClass": "REDUCED_REDUNDANCY"}, "done"),
        ("NoOtherEncryption", {"ServerSideEncryption": "aws:kms"}, "NotImplemented"),
        ("NoOtherKey", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "attacker"}, "NotImplemented"),
    ],
)
def test_r3_nothing_is_written_that_only_an_attacker_could_read(
    minio: Minio, empty: Make, sid: str, headers: dict[str, str], unbound: str
) -> None:
    """Ransom by an attacker's key or by an archive class is refused. `unbound`: the answer without the statement (the sabotage)."""
    made = empty(minio)
    new = {"Bucket": made.bucket, "Key": "web1/g1/data/ab/new", "Body": b"x"}
    bound = limited(minio, f"b-{made.bucket}", STATEMENTS[sid], made.bucket)
    assert tried(lambda: bound.put_object(**new, **headers)) == "AccessDenied"
    assert made.versions() == []
    assert tried(lambda: bound.put_object(**new)) == "done"
    free = limited(minio, f"f-{made.bucket}", None, made.bucket)
    assert tried(lambda: free.put_object(**new, **headers)) == unbound


def test_what_is_left_out_for_a_server_is_what_it_refuses(server: Server, vault: Make) -> None:
    """Nothing is left out of the documents that the server would have accepted."""
    made = vault(server)
    left_out = documents.left_out(documents.guard(made.bucket), server.name)
    assert "WritesAddAndNeverReplace" in {one["Sid"] for one in left_out}
    for one in left_out:
        document = {"Version": "2012-10-17", "Statement": [one]}
        try:
            if isinstance(server, Minio):
                server.admin.policy_add("tried", policy=documents.as_identity_policy(document, stranger=True))
            else:
                made.set_policy(document)
        except (ClientError, MinioAdminException):
            continue
        pytest.fail(f"{server.name} takes {one['Sid']} for {one['Action']}")
