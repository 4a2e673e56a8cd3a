"""Under all of the generated documents, on a COMPLIANCE bucket, the relay's rclone serves restic: init, backup, check, restore.

It uses the rclone.conf and the arguments that the program puts on the relay (relayed_repository.py). And R3: whatever an attacker with the relay's
identity writes, the earlier data can be restored from a view of the bucket as it was.
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import pytest

from tests.enforced import documents
from tests.enforced.conftest import Make
from tests.enforced.relayed_repository import RelayedRepository, make_tree, restored
from tests.enforced.servers import Identity, Minio, Server, Versity
from tests.enforced.vault import OBJECTS, Vault, damage

LEFT = "lastcopy-probe-1795825977-ed86ce5f037fa566"
READER = [
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetBucketVersioning",
]


def bound_relay(vault: Vault, source: str) -> Identity:
    """The relay's identity under both documents at once."""
    own = documents.identity(vault.bucket, source)
    policy = documents.taken(documents.guard(vault.bucket, "COMPLIANCE"), vault.server.name)
    name = f"{source}-{vault.bucket}"
    if isinstance(vault.server, Versity):
        vault.set_policy(policy)
        return vault.server.add_identity(name, own)
    return vault.server.add_identity(name, own, documents.as_identity_policy(policy, stranger=True))


def test_backup_check_and_restore_work_under_all_documents(
    server: Server, empty: Make, tmp_path: Path
) -> None:
    made, tree = empty(server), make_tree(tmp_path / "tree")
    repository = RelayedRepository(made, "web1", bound_relay(made, "web1"), tmp_path / "repository")
    # Left by a killed storage step; restic ignores it.
    left = f"web1/g1/locks/{LEFT}"
    made.server.root.put_object(Bucket=made.bucket, Key=left, Body=b"left")
    repository.ok("init")
    repository.ok("backup", str(tree), "--pack-size", "4")
    (tree / "small0").write_text("changed\n")
    repository.ok("backup", str(tree))
    repository.ok("check", "--read-data")
    snapshots = repository.snapshots()
    assert len(snapshots) == 2
    assert restored(repository, snapshots[1], tree, tmp_path / "out")
    assert not restored(
        repository, snapshots[0], tree, tmp_path / "older"
    )  # the comparison sees a difference
    keys = [version["Key"] for version in made.versions()]
    assert {key.split("/")[2] for key in keys} == {"config", "data", "index", "keys", "locks", "snapshots"}
    assert len(keys) == len(set(keys))  # no name was ever written twice
    listed = made.server.root.list_objects_v2(Bucket=made.bucket, Prefix="web1/g1/locks/")
    assert [one["Key"] for one in listed["Contents"]] == [left]


@pytest.mark.parametrize("verb", ["delete", "purge", "cleanup", "backend cleanup-hidden"])
def test_r1_r2_rclone_itself_removes_nothing(server: Server, vault: Make, tmp_path: Path, verb: str) -> None:
    """The attacker's own rclone with the relay's rclone.conf: every way in which it can remove objects or versions."""
    made = vault(server, mode="COMPLIANCE")
    repository = RelayedRepository(made, "web1", bound_relay(made, "web1"), tmp_path / "repository")
    before = made.state()
    done = repository.rclone(*verb.split(), f"lastcopy:{made.bucket}/web1/g1")
    assert damage(before, made.state()) == []
    assert done.returncode != 0 or verb != "delete", done.stderr


def test_sabotage_without_documents_rclone_hides_everything(
    server: Server, vault: Make, tmp_path: Path
) -> None:
    made = vault(server, mode="COMPLIANCE")
    repository = RelayedRepository(made, "web1", made.careless(None), tmp_path / "repository")
    before = made.state()
    assert repository.rclone("delete", f"lastcopy:{made.bucket}/web1/g1").returncode == 0
    assert len(damage(before, made.state())) == len(OBJECTS)


def test_r3_earlier_data_restores_whatever_the_attacker_wrote(
    minio: Minio, empty: Make, tmp_path: Path
) -> None:
    """Objects are overwritten with the relay's own identity, garbage is added, and everything is hidden by somebody with all rights and no policy."""
    made, tree = empty(minio), make_tree(tmp_path / "tree", megabytes=1)
    relay = made.relay("web1")
    repository = RelayedRepository(made, "web1", relay, tmp_path / "repository")
    repository.ok("init")
    repository.ok("backup", str(tree))
    snapshot = repository.snapshots()[0]
    time.sleep(1.1)  # some of the storage's answers give the time only in whole seconds
    then = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    time.sleep(1.1)
    spoil(made, minio.client(relay))
    hide(made, minio.client(made.careless(None)))
    now = RelayedRepository(made, "web1", relay, tmp_path / "now")
    assert (
        now.rclone("lsf", "-R", "--files-only", f"lastcopy:{made.bucket}/web1/g1").stdout == ""
    )  # without the view of the past everything is gone
    past = RelayedRepository(made, "web1", reader(made), tmp_path / "past", at=then)
    assert past.snapshots("--no-lock") == [snapshot]
    past.ok("check", "--read-data", "--no-lock")
    assert restored(past, snapshot, tree, tmp_path / "out", "--no-lock")


def test_r3_sabotage_without_versions_the_attacker_succeeds(minio: Minio, tmp_path: Path) -> None:
    """The same on a bucket without versions and lock: the view of the past contains no good snapshot."""
    made, tree = Vault(minio, "plain-bucket"), make_tree(tmp_path / "tree", megabytes=1)
    minio.root.create_bucket(Bucket=made.bucket)
    relay = made.relay("web1")
    repository = RelayedRepository(made, "web1", relay, tmp_path / "repository")
    repository.ok("init")
    repository.ok("backup", str(tree))
    time.sleep(1.1)
    then = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    time.sleep(1.1)
    spoil(made, minio.client(relay))
    past = RelayedRepository(made, "web1", reader(made), tmp_path / "past", at=then)
    listed = past.rclone(
        "lsf", "-R", "--files-only", "--s3-version-at", then, f"lastcopy:{made.bucket}/web1/g1"
    )
    assert "snapshots" not in listed.stdout


def spoil(made: Vault, s3: Any) -> None:
    """Overwrite every object and add garbage, without conditions, as an attacker would."""
    for version in made.versions():
        s3.put_object(Bucket=made.bucket, Key=version["Key"], Body=b"garbage")
    for kind in ("data/ff", "index", "snapshots", "keys"):
        s3.put_object(Bucket=made.bucket, Key=f"web1/g1/{kind}/{'ff' * 32}", Body=b"garbage")


def hide(made: Vault, s3: Any) -> None:
    for key in {version["Key"] for version in made.versions()}:
        s3.delete_object(Bucket=made.bucket, Key=key)


def reader(made: Vault) -> Identity:
    """An identity for restores, which can only read versions."""
    of_bucket = f"arn:aws:s3:::{made.bucket}"
    allow = {"Effect": "Allow", "Action": READER, "Resource": [of_bucket, f"{of_bucket}/*"]}
    return made.server.add_identity(f"r-{made.bucket}", {"Version": "2012-10-17", "Statement": [allow]})
