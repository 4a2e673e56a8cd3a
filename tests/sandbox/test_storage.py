"""The storage: what it locks, and what a source's identity may do, tried with requests from the relay."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox import Sandbox, SandboxError, netns
from sandbox.bucket import SandboxBucket
from tests.sandbox.conftest import BUCKET, KEYS, cli
from tests.waiting import wait_until

REFUSED = {"AccessDenied", "InvalidRequest", "403"}


def client(box: Sandbox, access_key: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"https://{box.plan.storage}:9000",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        verify=str(box.storage_folder / "certs" / "ca.crt"),
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10),
    )


@contextmanager
def relay(box: Sandbox, source: str) -> Iterator[Any]:
    """A client with that source's identity whose requests come from the relay."""
    with box.driver.network_of("relay"):
        yield client(box, *KEYS[source])


@contextmanager
def root(box: Sandbox) -> Iterator[Any]:
    with box.storage_admin() as (_, _, access_key, secret):
        yield client(box, access_key, secret)


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The error code of the refusal; a call that succeeds fails the test."""
    with pytest.raises(ClientError) as caught:
        call(Bucket=BUCKET.name, **arguments)
    return str(caught.value.response["Error"]["Code"])


def test_a_source_works_below_its_own_prefix(box: Sandbox) -> None:
    with relay(box, "web1") as s3:
        s3.put_object(Bucket=BUCKET.name, Key="web1/g1/data/aa/1", Body=b"pack")
        s3.put_object(Bucket=BUCKET.name, Key="web1/g1/locks/1", Body=b"lock")
        assert s3.get_object(Bucket=BUCKET.name, Key="web1/g1/data/aa/1")["Body"].read() == b"pack"
        assert s3.list_objects_v2(Bucket=BUCKET.name, Prefix="web1/g1/data/")["KeyCount"] == 1
        s3.delete_object(Bucket=BUCKET.name, Key="web1/g1/locks/1")
        upload = s3.create_multipart_upload(Bucket=BUCKET.name, Key="web1/g1/data/aa/2")["UploadId"]
        s3.abort_multipart_upload(Bucket=BUCKET.name, Key="web1/g1/data/aa/2", UploadId=upload)
        assert s3.get_bucket_versioning(Bucket=BUCKET.name)["Status"] == "Enabled"
        lock = s3.get_object_lock_configuration(Bucket=BUCKET.name)["ObjectLockConfiguration"]
        assert lock["Rule"]["DefaultRetention"] == {"Mode": "COMPLIANCE", "Days": 1}
        assert (
            refusal(s3.put_object, Key="web1/g1/data/aa/1", Body=b"other", IfNoneMatch="*")
            == "PreconditionFailed"
        )


def test_a_source_is_refused_outside_its_prefix(box: Sandbox) -> None:
    with relay(box, "db1") as s3:
        s3.put_object(Bucket=BUCKET.name, Key="db1/g1/data/bb/1", Body=b"other's")
    with relay(box, "web1") as s3:
        assert refusal(s3.get_object, Key="db1/g1/data/bb/1") in REFUSED
        assert refusal(s3.put_object, Key="db1/g1/data/bb/2", Body=b"x") in REFUSED
        assert refusal(s3.put_object, Key="web10/g1/data/bb/2", Body=b"x") in REFUSED
        assert refusal(s3.delete_object, Key="db1/g1/locks/1") in REFUSED
        for prefix in ("", "db1/", "web1", "web10/"):
            assert refusal(s3.list_objects_v2, Prefix=prefix) in REFUSED
        with pytest.raises(ClientError):
            s3.create_bucket(Bucket="another")


def test_a_source_cannot_delete_data_or_versions(box: Sandbox) -> None:
    with relay(box, "web1") as s3:
        version = s3.put_object(Bucket=BUCKET.name, Key="web1/g1/data/cc/1", Body=b"keep")["VersionId"]
        lock = s3.put_object(Bucket=BUCKET.name, Key="web1/g1/locks/2", Body=b"lock")["VersionId"]
        for key in ("config", "keys/1", "data/cc/1", "index/1", "snapshots/1"):
            assert refusal(s3.delete_object, Key=f"web1/g1/{key}") in REFUSED
        for key, which in (("web1/g1/data/cc/1", version), ("web1/g1/locks/2", lock)):
            assert refusal(s3.delete_object, Key=key, VersionId=which) in REFUSED
            assert (
                refusal(s3.delete_object, Key=key, VersionId=which, BypassGovernanceRetention=True) in REFUSED
            )
        both = s3.delete_objects(
            Bucket=BUCKET.name, Delete={"Objects": [{"Key": "web1/g1/data/cc/1", "VersionId": version}]}
        )
        assert both.get("Deleted") is None
        assert both["Errors"][0]["Code"] in REFUSED
        assert s3.get_object(Bucket=BUCKET.name, Key="web1/g1/data/cc/1")["Body"].read() == b"keep"


def test_a_source_cannot_change_retention_or_bucket_settings(box: Sandbox) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": soon}
    with relay(box, "web1") as s3:
        key = "web1/g1/data/dd/1"
        s3.put_object(Bucket=BUCKET.name, Key=key, Body=b"keep")
        assert refusal(s3.put_object_retention, Key=key, Retention=retention) in REFUSED
        decades = soon + datetime.timedelta(days=9999)
        headers = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": decades}
        assert refusal(s3.put_object, Key="web1/g1/data/dd/2", Body=b"x", **headers) in REFUSED
        assert refusal(s3.put_object_legal_hold, Key=key, LegalHold={"Status": "ON"}) in REFUSED
        assert refusal(s3.put_bucket_versioning, VersioningConfiguration={"Status": "Suspended"}) in REFUSED
        lifecycle = {
            "Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]
        }
        assert refusal(s3.put_bucket_lifecycle_configuration, LifecycleConfiguration=lifecycle) in REFUSED
        lock = {"ObjectLockEnabled": "Enabled"}
        assert refusal(s3.put_object_lock_configuration, ObjectLockConfiguration=lock) in REFUSED
        assert refusal(s3.put_bucket_policy, Policy='{"Version":"2012-10-17","Statement":[]}') in REFUSED
        assert refusal(s3.delete_bucket) in REFUSED


def test_the_lock_is_compliance_and_binds_even_the_storages_root(box: Sandbox) -> None:
    with root(box) as s3:
        key = "web1/g1/data/ee/1"
        version = s3.put_object(Bucket=BUCKET.name, Key=key, Body=b"locked")["VersionId"]
        kept = s3.get_object_retention(Bucket=BUCKET.name, Key=key, VersionId=version)["Retention"]
        assert kept["Mode"] == "COMPLIANCE"
        left = kept["RetainUntilDate"] - datetime.datetime.now(datetime.UTC)
        assert datetime.timedelta(hours=23) < left <= datetime.timedelta(hours=24)
        assert (
            refusal(s3.delete_object, Key=key, VersionId=version, BypassGovernanceRetention=True) in REFUSED
        )
        shorter = {
            "Mode": "COMPLIANCE",
            "RetainUntilDate": kept["RetainUntilDate"] - datetime.timedelta(hours=1),
        }
        assert refusal(s3.put_object_retention, Key=key, VersionId=version, Retention=shorter) in REFUSED
        s3.delete_object(Bucket=BUCKET.name, Key=key)  # a delete marker hides it; the version is kept
        assert s3.list_object_versions(Bucket=BUCKET.name, Prefix=key)["DeleteMarkers"][0]["IsLatest"]
        assert s3.get_object(Bucket=BUCKET.name, Key=key, VersionId=version)["Body"].read() == b"locked"


def test_sabotage_the_lock_check_fails_on_a_bucket_without_a_lock(box: Sandbox) -> None:
    with root(box) as s3:
        s3.create_bucket(Bucket="unlocked")
        s3.put_bucket_versioning(Bucket="unlocked", VersioningConfiguration={"Status": "Enabled"})
        version = s3.put_object(Bucket="unlocked", Key="x", Body=b"x")["VersionId"]
        s3.delete_object(Bucket="unlocked", Key="x", VersionId=version)  # succeeds
        assert "Versions" not in s3.list_object_versions(Bucket="unlocked")
    with pytest.raises(SandboxError, match="no Object Lock"):
        box.storage_up(SandboxBucket("unlocked", "COMPLIANCE", 1))
    assert box.storage_up(BUCKET)["bucket"] == BUCKET.name


def test_sabotage_the_identity_check_fails_with_a_wider_policy(box: Sandbox) -> None:
    """With a policy for all keys nothing is refused, and identity-up restores the refusals."""
    from sandbox.bucket import _admin

    wide = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
    with box.storage_admin() as (origin, *_):
        admin = _admin(box.storage_folder, origin)
        admin.policy_add("source-web1key", policy={"Version": "2012-10-17", "Statement": [wide]})
    with relay(box, "web1") as s3:
        s3.put_object(Bucket=BUCKET.name, Key="db1/g1/snapshots/forged", Body=b"x")
    box.identity_up("web1", "web1/", *KEYS["web1"])
    with relay(box, "web1") as s3:
        assert refusal(s3.put_object, Key="db1/g1/snapshots/forged", Body=b"x") in REFUSED


def test_a_rotated_identity_works_and_the_old_one_does_not(box: Sandbox) -> None:
    def works(access_key: str, secret: str) -> bool:
        with box.driver.network_of("relay"):
            try:
                client(box, access_key, secret).list_objects_v2(Bucket=BUCKET.name, Prefix="rot/")
            except ClientError:
                return False
            return True

    call = ["identity-up", "--dir", str(box.directory), "--source", "rot", "--prefix", "rot/", "--access-key"]
    first = cli(*call, "rotkey1", stdin="first-secret-123\n")
    assert json.loads(first.stdout) == {"access_key": "rotkey1", "prefix": "rot/"}
    assert "first-secret" not in first.stdout + first.stderr
    assert works("rotkey1", "first-secret-123")
    cli(*call, "rotkey1", stdin="second-secret-123\n")
    assert works("rotkey1", "second-secret-123")
    assert not works("rotkey1", "first-secret-123")
    cli(*call, "rotkey2", stdin="third-secret-123")
    assert works("rotkey2", "third-secret-123")
    assert not works("rotkey1", "second-secret-123")
    box.identity_down("rot")
    assert not works("rotkey2", "third-secret-123")
    assert box.identity_down("rot") == {"source": "rot", "removed": False}


def test_an_invalid_identity_is_refused_with_its_reason_and_without_the_secret(box: Sandbox) -> None:
    call = [
        "identity-up",
        "--dir",
        str(box.directory),
        "--source",
        "web2",
        "--prefix",
        "web1/x/",
        "--access-key",
        "k2k",
    ]
    done = cli(*call, stdin="a-good-secret-1\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "overlaps 'web1/' of web1" in done.stderr
    assert "a-good-secret" not in done.stderr


def test_the_server_runs_unprivileged_and_its_secret_is_not_in_its_arguments_or_environment(
    box: Sandbox,
) -> None:
    known = json.loads((box.storage_folder / "process.json").read_text())
    status = Path(f"/proc/{known['pid']}/status").read_text()
    assert "\nUid:\t65400\t65400\t65400\t65400\n" in status
    assert "\nCapEff:\t0000000000000000\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    with box.storage_admin() as (_, _, _, secret):
        pass
    for file in ("cmdline", "environ"):
        assert secret not in Path(f"/proc/{known['pid']}/{file}").read_text()
    assert (box.storage_folder / "root.env").stat().st_mode & 0o777 == 0o600


def test_tls_is_verified_only_against_the_given_ca(box: Sandbox) -> None:
    facts = box.storage_up(BUCKET)
    address = (str(box.plan.storage), 9000)
    with box.driver.network_of("relay"):
        trusted = ssl.create_default_context(cadata=facts["ca_certificate"])
        with (
            socket.create_connection(address, timeout=3) as plain,
            trusted.wrap_socket(plain, server_hostname=address[0]),
        ):
            pass
        with (
            socket.create_connection(address, timeout=3) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            ssl.create_default_context().wrap_socket(plain, server_hostname=address[0])
    assert "PRIVATE" not in facts["ca_certificate"]


def test_objects_and_identities_survive_a_killed_server(box: Sandbox) -> None:
    with relay(box, "db1") as s3:
        s3.put_object(Bucket=BUCKET.name, Key="db1/g1/data/ff/1", Body=b"stays")
    known = json.loads((box.storage_folder / "process.json").read_text())
    subprocess.run(["kill", "-9", str(known["pid"])], check=True)
    box.storage_up(BUCKET)
    assert netns.mounted(box.plan.storage_ns)
    with relay(box, "db1") as s3:

        def content() -> bytes | None:
            """Right after its start the server is ready, but sometimes still answers 503."""
            try:
                return bytes(s3.get_object(Bucket=BUCKET.name, Key="db1/g1/data/ff/1")["Body"].read())
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 503:
                    raise
                return None

        wait_until(lambda: content() is not None)
        assert content() == b"stays"
