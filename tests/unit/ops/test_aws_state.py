"""A place for Pulumi's state on AWS, tested with moto, which emulates the control plane."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from ops.aws_state import ALIAS, make_state_backend
from ops.errors import LastcopyError

REGION, BUCKET = "eu-central-1", "example-lastcopy-state"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.Session()


def test_the_bucket_has_versions_no_public_access_and_tls_only_and_the_key_is_rotated(
    session: boto3.Session,
) -> None:
    assert make_state_backend(session, BUCKET, REGION) == [
        f"bucket {BUCKET}",
        "versioning",
        "policy",
        f"key {ALIAS}",
    ]
    s3, kms = session.client("s3", region_name=REGION), session.client("kms", region_name=REGION)
    assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] == REGION
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    assert '"aws:SecureTransport": "false"' in s3.get_bucket_policy(Bucket=BUCKET)["Policy"]
    assert kms.get_key_rotation_status(KeyId=kms.describe_key(KeyId=ALIAS)["KeyMetadata"]["KeyId"])[
        "KeyRotationEnabled"
    ]


def test_a_second_call_changes_nothing_and_completes_an_interrupted_one(session: boto3.Session) -> None:
    session.client("s3", region_name=REGION).create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    assert make_state_backend(session, BUCKET, REGION) == ["versioning", "policy", f"key {ALIAS}"]
    assert make_state_backend(session, BUCKET, REGION) == []


def test_the_only_region_that_may_not_be_named(session: boto3.Session) -> None:
    assert make_state_backend(session, BUCKET, "us-east-1")[0] == f"bucket {BUCKET}"


def test_a_bucket_of_somebody_else_is_never_used(
    session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto ignores the expected owner, so AWS's answer is simulated."""
    s3 = session.client("s3", region_name=REGION)
    with Stubber(s3) as answers:
        answers.add_client_error(
            "head_bucket", "403", expected_params={"Bucket": BUCKET, "ExpectedBucketOwner": "123456789012"}
        )
        client = session.client
        monkeypatch.setattr(
            session, "client", lambda name, **more: s3 if name == "s3" else client(name, **more)
        )
        with pytest.raises(LastcopyError, match="belongs to another account"):
            make_state_backend(session, BUCKET, REGION)
