"""S3's data plane: mirrors buckets, Object Lock and IAM users' keys to the sandbox's minio. Does nothing without a sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from sandbox import Sandbox
from sandbox.bucket import _pool
from tests.aws.double.cloud import Cloud
from tests.aws.double.refused import Refused
from tests.aws.double.wire import Props

if TYPE_CHECKING:  # imported late: slow to load, and not needed without a sandbox
    from minio import Minio
    from minio.minioadmin import MinioAdmin


@contextmanager
def storage_of(box: Sandbox) -> Iterator[tuple[Minio, MinioAdmin]]:
    """The sandbox's storage as its root. Within the block this thread connects from the storage's network, in which moto cannot be reached."""
    from minio import Minio
    from minio.credentials.providers import StaticProvider
    from minio.minioadmin import MinioAdmin

    with box.storage_admin() as (origin, _, user, password):
        pool, host = _pool(box.storage_folder, 30), origin.removeprefix("https://")
        settings = (box.storage_folder / "root.env").read_text().splitlines()
        (region,) = [line.partition("=")[2] for line in settings if line.startswith("MINIO_REGION=")]
        admin = MinioAdmin(
            endpoint=host, credentials=StaticProvider(user, password), region=region, http_client=pool
        )
        yield Minio(host, user, password, region=region, http_client=pool), admin


@contextmanager
def _storage(cloud: Cloud) -> Iterator[tuple[Minio, MinioAdmin] | None]:
    if cloud.sandbox is None:
        yield None
        return
    with storage_of(Sandbox(cloud.sandbox)) as there:
        yield there


def bucket_made(cloud: Cloud, name: str, *, locked: bool) -> None:
    with _storage(cloud) as there:
        if there and not there[0].bucket_exists(name):
            there[0].make_bucket(name, object_lock=locked)


def lock_set(cloud: Cloud, name: str, retention: Props | None) -> None:
    """The default retention of new objects, as in S3."""
    with _storage(cloud) as there:
        if not there:
            return
        from minio.objectlockconfig import DAYS, YEARS, ObjectLockConfig

        if not retention:
            there[0].delete_object_lock_config(name)
            return
        days, unit = (retention["days"], DAYS) if retention.get("days") else (retention["years"], YEARS)
        there[0].set_object_lock_config(name, ObjectLockConfig(retention["mode"], days, unit))


def bucket_gone(cloud: Cloud, name: str, *, force: bool) -> None:
    """With `force` every version is deleted, bypassing GOVERNANCE, like the provider's `forceDestroy`; COMPLIANCE prevents it."""
    with _storage(cloud) as there:
        if not there or not there[0].bucket_exists(name):
            return
        client = there[0]
        found = list(client.list_objects(name, recursive=True, include_version=True))
        if found and not force:
            raise Refused(
                "api error BucketNotEmpty: The bucket you tried to delete is not empty. You must delete all versions in the bucket."
            )
        if found:
            from minio.deleteobjects import DeleteObject

            wanted = [DeleteObject(one.object_name, one.version_id) for one in found]
            stuck = list(client.remove_objects(name, wanted, bypass_governance_mode=True))
            if stuck:
                raise Refused(f"{len(stuck)} object versions stay: {stuck[0].code}: {stuck[0].message}")
        client.remove_bucket(name)


def key_made(cloud: Cloud, access_key: str, secret: str) -> None:
    """Without a policy the key has no rights yet."""
    with _storage(cloud) as there:
        if there:
            there[1].user_add(access_key, secret)


def key_gone(cloud: Cloud, access_key: str) -> None:
    with _storage(cloud) as there:
        if there and access_key in json.loads(there[1].user_list()):
            there[1].user_remove(access_key)
            if _policy(access_key) in json.loads(there[1].policy_list()):
                there[1].policy_remove(_policy(access_key))


def rights_changed(cloud: Cloud, user: str) -> None:
    """Give every key of the user exactly the S3 rights of its inline policies."""
    if cloud.sandbox is None:
        return
    # Before the block, not within.
    keys, statements = _keys(cloud, user), _statements(cloud, user)
    with _storage(cloud) as there:
        if not there:
            return
        admin, known = there[1], json.loads(there[1].user_list())
        for key in keys:
            if key not in known:
                continue
            attached = json.loads(admin.user_info(key)).get("policyName", "").split(",")
            if statements:
                admin.policy_add(_policy(key), policy={"Version": "2012-10-17", "Statement": statements})
                if _policy(key) not in attached:
                    admin.attach_policy([_policy(key)], user=key)
            elif _policy(key) in attached:
                admin.detach_policy([_policy(key)], user=key)


def _policy(access_key: str) -> str:
    return f"iam-{access_key}"


def _keys(cloud: Cloud, user: str) -> list[str]:
    try:
        listed = cloud.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    except ClientError:
        return []
    return [one["AccessKeyId"] for one in listed if one["Status"] == "Active"]


def _statements(cloud: Cloud, user: str) -> list[Any]:
    """The statements about S3 alone: minio has no KMS keys of AWS."""
    iam, found = cloud.client("iam"), []
    for name in iam.list_user_policies(UserName=user)["PolicyNames"]:
        document = iam.get_user_policy(UserName=user, PolicyName=name)["PolicyDocument"]
        for statement in document["Statement"]:
            actions = statement["Action"]
            actions = [actions] if isinstance(actions, str) else actions
            if all(action.startswith("s3:") for action in actions):
                found.append({key: value for key, value in statement.items() if key != "Sid"})
    return found
