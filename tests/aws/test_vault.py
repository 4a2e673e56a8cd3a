"""LockedBucket with the real engine: created, kept, adopted, refused. Without machines and objects: tests check the account's own records."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from components.vault.alarms import silence_check
from tests.aws.document import day_2
from tests.aws.double.faults import FAULTS
from tests.aws.double.function import zipped
from tests.aws.program import Program, real_plugin
from tests.aws.world import ACCOUNT, REGION, Moto, aws_environment

VAULT = """
    from components.vault.bucket.locked_bucket import LockedBucket, LockedBucketArgs
    vault = LockedBucket("vault", LockedBucketArgs(
        bucket=given["bucket"], region="us-east-1", lock_mode=given.get("mode", "COMPLIANCE"), lock_days=7, maximum_days=14,
        break_glass="arn:aws:iam::123456789012:role/break-glass", purpose=given.get("purpose", "production"),
        origin=given.get("origin", "new")), there)
"""


def up(program: Program, **given: Any) -> str:
    return program.up(VAULT, given)


def buckets(account: Moto) -> set[str]:
    return {one["Name"] for one in account.client("s3").list_buckets()["Buckets"]}


def has_policy(account: Moto, bucket: str) -> bool:
    try:
        account.client("s3").get_bucket_policy(Bucket=bucket)
    except ClientError:
        return False
    return True


def key_count(account: Moto, user: str) -> int:
    iam = account.client("iam")
    if user not in {found["UserName"] for found in iam.list_users()["Users"]}:
        return 0
    return len(iam.list_access_keys(UserName=user)["AccessKeyMetadata"])


def test_a_production_vault_survives_destroy_and_a_change_of_its_name(
    account: Moto, program: Program
) -> None:
    """A5: neither of them begins; nothing of the vault is touched."""
    up(program, bucket="example-kept")
    program.program(VAULT, {"bucket": "example-renamed"})
    renamed = program.pulumi("up", "--yes", "--skip-preview", check=False)
    assert renamed.returncode != 0
    assert "protect" in renamed.stdout
    destroyed = program.pulumi("destroy", "--yes", "--skip-preview", check=False)
    assert destroyed.returncode != 0
    assert "protect" in destroyed.stdout
    assert "example-kept" in buckets(account)
    assert "example-renamed" not in buckets(account)
    assert has_policy(account, "example-kept")


def test_sabotage_a_test_vault_is_destroyed(account: Moto, program: Program) -> None:
    """Sabotage of the test above: what is kept in production is deleted if the purpose is a test."""
    up(program, bucket="example-thrown", mode="GOVERNANCE", purpose="test")
    program.pulumi("destroy", "--yes", "--skip-preview")
    assert "example-thrown" not in buckets(account)


def test_an_existing_bucket_is_adopted_and_kept_when_the_stack_is_destroyed(
    account: Moto, program: Program
) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="example-adopted", ObjectLockEnabledForBucket=True)
    (key, value) = day_2("take a bucket that exists")[0].split(": ")
    up(program, bucket="example-adopted", **{key: value})
    lock = s3.get_object_lock_configuration(Bucket="example-adopted")["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"]["Mode"] == "COMPLIANCE"
    assert has_policy(account, "example-adopted")
    program.unchanged()
    program.pulumi("state", "unprotect", "--all", "--yes")
    program.pulumi("destroy", "--yes", "--skip-preview")
    assert "example-adopted" in buckets(account)
    assert has_policy(account, "example-adopted")


def test_an_existing_bucket_without_object_lock_is_refused_before_it_is_touched(
    account: Moto, program: Program
) -> None:
    account.client("s3").create_bucket(Bucket="example-unlocked")
    said = program.fails(VAULT, {"bucket": "example-unlocked", "origin": "adopted"})
    assert "example-unlocked has no Object Lock" in said
    assert "put-object-lock-configuration --bucket example-unlocked" in said
    assert "unprotect" not in said, "the engine's advice would lead to the loss of the bucket"
    assert "example-unlocked" in buckets(account)
    assert not has_policy(account, "example-unlocked")


def test_a_bucket_name_of_somebody_else_is_one_clear_error(account: Moto, program: Program) -> None:
    """And another name is all that the next run needs."""
    other = account.client("sts").assume_role(
        RoleArn="arn:aws:iam::999999999999:role/other", RoleSessionName="other"
    )["Credentials"]
    account.client(
        "s3", keys=(other["AccessKeyId"], other["SecretAccessKey"], other["SessionToken"])
    ).create_bucket(Bucket="example-taken")
    said = program.fails(VAULT, {"bucket": "example-taken"})
    assert "BucketAlreadyExists" in said
    assert "vault-bucket" in said
    up(program, bucket="example-free")
    assert "example-free" in buckets(account)


@pytest.mark.skipif(real_plugin() is not None, reason="only the double can be told what AWS refuses")
def test_a_missing_right_stops_the_run_before_any_key_exists(account: Moto, program: Program) -> None:
    """If the bucket's policy cannot be set, no identity is made; once the right is granted, the next run goes on."""
    text = (
        VAULT
        + """
    from components.vault.identities.source_identity import SourceIdentity, SourceIdentityArgs
    SourceIdentity("web1", SourceIdentityArgs(source="web1", bucket=given["bucket"], prefix="web1/"),
                   pulumi.ResourceOptions.merge(there, pulumi.ResourceOptions(depends_on=[vault])))
"""
    )
    faults = Path(program.environ[FAULTS])
    faults.write_text(
        json.dumps({"aws:s3/bucketPolicy:BucketPolicy": ["AccessDenied", "s3:PutBucketPolicy"]})
    )
    try:
        said = program.fails(text, {"bucket": "example-denied"})
    finally:
        faults.unlink()
    assert "AccessDenied: s3:PutBucketPolicy" in said.split("Diagnostics:")[1]
    assert key_count(account, "web1@example-denied") == 0
    program.up(text, {"bucket": "example-denied"})
    assert has_policy(account, "example-denied")
    assert key_count(account, "web1@example-denied") == 1


def test_credentials_of_another_account_are_refused(program: Program) -> None:
    said = program.fails(VAULT, {"bucket": "example-nowhere", "account": "210987654321"})
    assert ACCOUNT in said
    assert "not allowed" in said


def test_missing_credentials_are_one_clear_error(program: Program) -> None:
    said = program.fails(
        VAULT, {"bucket": "example-nowhere"}, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    )
    assert said.split("Diagnostics:")[1].count("No valid credential sources found") == 1


def test_an_identitys_secret_is_nowhere_in_plain_text(account: Moto, program: Program) -> None:
    """A2: not in the output and not in the state; only the stack's output shows it when asked for secrets."""
    text = """
        from components.vault.identities.source_identity import SourceIdentity, SourceIdentityArgs
        web1 = SourceIdentity("web1", SourceIdentityArgs(source="web1", bucket="example-identity", prefix="web1/"), there)
        pulumi.export("secret", web1.secret_access_key)
    """
    said = program.up(text)
    secret = program.outputs()["secret"]
    assert len(secret) == 40
    assert secret not in said
    assert secret not in program.state()
    assert json.loads(program.pulumi("stack", "output", "--json").stdout)["secret"] == "[secret]"
    users = account.client("iam").list_users()["Users"]
    assert [user["Path"] for user in users if user["UserName"] == "web1@example-identity"] == ["/lastcopy/"]


@pytest.fixture(autouse=True)
def _no_real_account(environ: dict[str, str]) -> None:
    assert environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")


ALARMS = """
    from components.vault.alarms.vault_alarms import VaultAlarms, VaultAlarmsArgs
    VaultAlarms("alarms", VaultAlarmsArgs(
        bucket=given["bucket"], account=given["account"], email="ops@example.com", silent_hours=given["hours"],
        snapshots={name: f"{name}/g1/snapshots/" for name in given["hours"]}), there)
"""


def test_a_function_reports_the_age_of_a_weekly_sources_newest_snapshot(
    account: Moto, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A8. The deployed file itself runs here, as in Lambda, against this account's own storage and metrics."""
    s3, functions, metrics = account.client("s3"), account.client("lambda"), account.client("cloudwatch")
    s3.create_bucket(Bucket="example-weekly")
    given = {"bucket": "example-weekly", "account": ACCOUNT, "hours": {"web1": 28, "db1": 172, "new1": 748}}
    program.up(ALARMS, given)
    [made] = functions.list_functions()["Functions"]
    file = Path(silence_check.__file__)
    packed = zipped({"assets": {file.name: {"path": str(file)}}})
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(packed).digest()).decode()
    assert made["Handler"] == f"{file.stem}.{silence_check.handler.__name__}"
    for name, value in {
        **made["Environment"]["Variables"],
        **aws_environment(account, tmp_path),
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    run = silence_check.handler

    s3.put_object(Bucket="example-weekly", Key="db1/g1/snapshots/aa", Body=b"x")
    s3.put_object(Bucket="example-weekly", Key="new1/g1/data/aa", Body=b"x")
    found = run({}, None)
    assert set(found) == {"db1", "new1"}, "the daily source has an alarm on events"
    assert 0 <= found["db1"] < 1
    assert found["new1"] is None
    told = metrics.list_metrics(Namespace="lastcopy")["Metrics"]
    db1 = [{"Name": "Bucket", "Value": "example-weekly"}, {"Name": "Source", "Value": "db1"}]
    assert [(one["MetricName"], one["Dimensions"]) for one in told] == [("HoursSinceSnapshot", db1)]
    [alarm] = [one for one in metrics.describe_alarms()["MetricAlarms"] if one.get("Dimensions") == db1]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["TreatMissingData"]) == (
        "HoursSinceSnapshot",
        172,
        "breaching",
    )

    # If one source cannot be listed, the others are still reported, and the run fails.
    monkeypatch.setenv("SOURCES", json.dumps({"gone": "gone/g1/snapshots/", "db1": "db1/g1/snapshots/"}))
    monkeypatch.setenv("BUCKET", "example-nobody-has")
    with pytest.raises(RuntimeError, match=r"gone: .*NoSuchBucket.*; db1: "):
        run({}, None)
    program.pulumi("destroy", "--yes", "--skip-preview")  # the next tests count what is in this account
