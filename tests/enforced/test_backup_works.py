"""Under all of the generated documents, on a COMPLIANCE bucket, the relay's rclone serves restic: init, backup, check, restore.

With the rclone.conf and the arguments that the program puts on the relay (room.py). And R3: whatever a thief of the relay's identity writes,
what was there before restores from a look at the bucket as it was.
"""

from __future__ import annotations

import datetime
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.enforced import documents
from tests.enforced.conftest import Make
from tests.enforced.room import Room, digests, make_tree, restored
from tests.enforced.servers import Identity, Minio, Server, Versity
from tests.enforced.vault import Vault

READER = [
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetBucketVersioning",
]


def bound_relay(vault: Vault, source: str, less: str = "") -> Identity:
    """The relay's identity under both documents at once. `less`: an action that its own policy lacks, for sabotage."""
    own = documents.identity(vault.bucket, source)
    for statement in own["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action != less]
    own["Statement"] = [statement for statement in own["Statement"] if statement["Action"]]
    policy = documents.taken(documents.guard(vault.bucket, "COMPLIANCE"), vault.server.name)
    if isinstance(vault.server, Versity):
        vault.set_policy(policy)
        return vault.server.add_identity(f"{source}-{vault.bucket}{less[3:6]}", own)
    name = f"{source}-{vault.bucket}{less[3:6]}"
    return vault.server.add_identity(name, own, documents.as_identity_policy(policy, stranger=True))


def test_backup_check_and_restore_work_under_all_documents(
    server: Server, empty: Make, tmp_path: Path
) -> None:
    made, tree = empty(server), make_tree(tmp_path / "tree")
    room = Room(made, "web1", bound_relay(made, "web1"), tmp_path / "room")
    room.ok("init")
    room.ok("backup", str(tree), "--pack-size", "4")
    (tree / "small0").write_text("changed\n")
    room.ok("backup", str(tree))
    room.ok("check", "--read-data")
    snapshots = room.snapshots()
    assert len(snapshots) == 2
    assert restored(room, snapshots[1], tree, tmp_path / "out")
    assert not restored(room, snapshots[0], tree, tmp_path / "older")  # the comparison sees a difference
    keys = [version["Key"] for version in made.versions()]
    assert {key.split("/")[2] for key in keys} == {"config", "data", "index", "keys", "locks", "snapshots"}
    assert len(keys) == len(set(keys))  # nothing was ever written twice
    listed = made.server.root.list_objects_v2(Bucket=made.bucket, Prefix="web1/g1/locks/")
    assert listed["KeyCount"] == 0


def test_restics_removals_are_refused_and_nothing_is_gone(
    server: Server, empty: Make, tmp_path: Path
) -> None:
    """By the storage: rclone runs without --append-only here, as its thief would run it (S3, R1)."""
    made, tree = empty(server), make_tree(tmp_path / "tree", megabytes=1)
    identity = bound_relay(made, "web1")
    room = Room(made, "web1", identity, tmp_path / "room")
    room.ok("init")
    room.ok("backup", str(tree))
    before = made.state()
    thief = Room(made, "web1", identity, tmp_path / "thief", append_only=False)
    done = thief.restic("forget", room.snapshots()[0], "--retry-lock", "0s", seconds=100)
    assert done.returncode != 0
    assert {name: what for name, what in made.state().items() if "/locks/" not in name} == {
        name: what for name, what in before.items() if "/locks/" not in name
    }
    assert restored(room, room.snapshots()[0], tree, tmp_path / "out")


@pytest.mark.parametrize("less", ["s3:PutObject", "s3:ListBucket"])
def test_sabotage_a_narrower_identity_does_not_work(
    server: Server, empty: Make, tmp_path: Path, less: str
) -> None:
    made = empty(server)
    room = Room(made, "web1", bound_relay(made, "web1", less), tmp_path / "room")
    assert room.restic("init").returncode != 0
