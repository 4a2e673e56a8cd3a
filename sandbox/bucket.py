"""Sets up the locked bucket and the sources' identities, with the storage's own root credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.vault.identities.identity_policy import identity_policy
from sandbox.errors import SandboxError
from sandbox.storage_server import REGION, root_credentials
from sandbox.waiting import becomes_true

LockMode = Literal["COMPLIANCE", "GOVERNANCE"]
READY_SECONDS = 30


@dataclass(frozen=True)
class SandboxBucket:
    """A bucket with versioning, Object Lock and a default retention in days."""

    name: str
    lock_mode: LockMode
    lock_days: int


def _pool(folder: Path, timeout: float) -> Any:
    import urllib3

    # Right after its start the server is ready but sometimes answers 503.
    busy = urllib3.Retry(
        total=None,
        connect=0,
        read=0,
        other=0,
        redirect=0,
        status=10,
        status_forcelist=[503],
        allowed_methods=None,
        backoff_factor=0.1,
        backoff_max=2,
        raise_on_status=False,
    )
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(timeout),
        cert_reqs="CERT_REQUIRED",
        ca_certs=str(folder / "certs" / "ca.crt"),
        retries=busy,
    )


def wait_ready(folder: Path, origin: str, alive: Any) -> None:
    """Wait until the server accepts requests. `alive` raises if it has ended."""
    import urllib3

    with _pool(folder, 3) as pool:

        def ready() -> bool:
            try:
                return bool(pool.request("GET", f"{origin}/minio/health/ready", retries=False).status == 200)
            except urllib3.exceptions.HTTPError:
                alive()
                return False

        if not becomes_true(ready, READY_SECONDS):
            raise SandboxError(
                f"the storage is not ready after {READY_SECONDS} s", where=str(folder / "server.log")
            )


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Raise the client's errors as ours; their text contains no secret."""
    import urllib3
    from minio.error import MinioAdminException, MinioException, S3Error

    try:
        yield
    except (S3Error, MinioException, MinioAdminException, urllib3.exceptions.HTTPError) as error:
        raise SandboxError(f"{what}: {error}", where="storage") from None


def ensure_bucket(folder: Path, origin: str, bucket: SandboxBucket) -> None:
    """Create the bucket, or give it exactly this lock. A bucket without Object Lock is refused, not replaced."""
    from minio import Minio
    from minio.commonconfig import ENABLED
    from minio.error import S3Error
    from minio.objectlockconfig import DAYS, ObjectLockConfig

    user, password = root_credentials(folder)
    with _translated(f"setting up bucket {bucket.name}"):
        client = Minio(
            origin.removeprefix("https://"), user, password, region=REGION, http_client=_pool(folder, 30)
        )
        if not client.bucket_exists(bucket.name):
            client.make_bucket(bucket.name, location=REGION, object_lock=True)
        if client.get_bucket_versioning(bucket.name).status != ENABLED:
            raise SandboxError(
                f"bucket {bucket.name} has no versioning",
                where="--bucket",
                fix="choose another name, or run storage-down first",
            )
        try:
            now = client.get_object_lock_config(bucket.name)
        except S3Error as error:
            raise SandboxError(
                f"bucket {bucket.name} has no Object Lock ({error.code})",
                where="--bucket",
                fix="choose another name, or run storage-down first",
            ) from None
        if (now.mode, now.duration, now.duration_unit) != (bucket.lock_mode, bucket.lock_days, DAYS):
            wanted = ObjectLockConfig(bucket.lock_mode, bucket.lock_days, DAYS)
            client.set_object_lock_config(bucket.name, wanted)


def _admin(folder: Path, origin: str) -> Any:
    from minio.credentials.providers import StaticProvider
    from minio.minioadmin import MinioAdmin

    provider = StaticProvider(*root_credentials(folder))
    host = origin.removeprefix("https://")
    return MinioAdmin(endpoint=host, credentials=provider, region=REGION, http_client=_pool(folder, 30))


def ensure_identity(
    folder: Path, origin: str, bucket: str, prefix: str, access_key: str, secret_key: str
) -> None:
    """Create a user with this secret and exactly a source's policy, or replace what it had before."""
    policy = f"source-{access_key}"
    with _translated(f"setting up identity {access_key}"):
        admin = _admin(folder, origin)
        admin.policy_add(policy, policy=identity_policy(bucket, prefix))
        admin.user_add(access_key, secret_key)
        attached = json.loads(admin.user_info(access_key)).get("policyName", "")
        others = [name for name in attached.split(",") if name and name != policy]
        if others:
            admin.detach_policy(others, user=access_key)
        if policy not in attached.split(","):
            admin.attach_policy([policy], user=access_key)


def remove_identity(folder: Path, origin: str, access_key: str) -> None:
    """Remove a user and its policy; its objects are kept."""
    with _translated(f"removing identity {access_key}"):
        admin = _admin(folder, origin)
        if access_key in json.loads(admin.user_list()):
            admin.user_remove(access_key)
        if f"source-{access_key}" in json.loads(admin.policy_list()):
            admin.policy_remove(f"source-{access_key}")
