"""The whole chain through the gate of each service that the preview accepts: init, backup, check and restore, with the program's rclone.conf and arguments.

For the effect of each rule on software that does not handle it, see test_rules.py. The storage step: tests/scripts/relay/test_storage_gates.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from components.storage.service_facts import ServiceName
from components.storage.services import SERVICES
from components.vault.identities.ceph_policy import ceph_bucket_policy
from tests.ceph import Ceph
from tests.enforced import documents
from tests.enforced.relayed_repository import RelayedRepository, make_tree, restored
from tests.enforced.servers import Identity, Minio
from tests.enforced.vault import Vault
from tests.gates.gate import Gate, opened
from tests.gates.harness import repository_behind
from tests.gates.rules import ChecksumDemanded, ConflictBetweenWriters, EtagIsNoDigest, MissingKeyIs403, Rule
from tests.gates.services import GATES


def works(repository: RelayedRepository, folder: Path) -> None:
    """Create a repository, fill it, check it to its last byte, and restore it."""
    tree = make_tree(folder / "tree", megabytes=1)
    repository.ok("init")
    repository.ok("backup", str(tree), "--pack-size", "4")
    repository.ok("check", "--read-data")
    assert restored(repository, "latest", tree, folder / "out"), repository.log()


def nothing_was_written_twice(vault: Vault) -> None:
    keys = [version["Key"] for version in vault.versions()]
    assert keys
    assert len(keys) == len(set(keys))


def identity(minio: Minio, bucket: str, rules: list[Rule]) -> Identity:
    """web1's identity. Behind a gate that hides missing names from whoever may not list the whole bucket, its policy is the documented one for that."""
    policy = documents.identity(bucket, "web1")
    if any(isinstance(rule, MissingKeyIs403) for rule in rules):
        ceph = ceph_bucket_policy(bucket, {"web1": "web1"}, "owner")["Statement"][1:-1]
        policy = {
            **policy,
            "Statement": [{k: v for k, v in one.items() if k != "Principal"} for one in ceph],
        }
    return minio.add_identity(f"web1-{bucket}"[:20], policy)


@pytest.mark.parametrize(
    "service", [name for name in GATES if name != "AWS" and not SERVICES[name].cannot_work]
)
def test_the_chain_works_through_the_gate(minio: Minio, tmp_path: Path, service: ServiceName) -> None:
    vault = Vault(minio, f"chain-{service.lower()}")
    minio.make_bucket(vault.bucket, "COMPLIANCE", 1)
    rules = list(GATES[service]())
    with opened(Gate(minio.endpoint, minio.ca.parent, rules)) as gate:
        repository = repository_behind(
            gate, vault, identity(minio, vault.bucket, rules), tmp_path / "repository", service
        )
        works(repository, tmp_path)
        assert [seen.refused for seen in gate.seen if seen.refused] == []
    nothing_was_written_twice(vault)


def test_the_chain_works_on_amazon_with_a_kms_key_and_two_writers_at_each_name(
    minio: Minio, tmp_path: Path
) -> None:
    """Amazon's gate at its worst: ETags are not digests, and the first write of each pack and snapshot must be retried (409)."""
    vault = Vault(minio, "chain-kms")
    minio.make_bucket(vault.bucket, "COMPLIANCE", 1)
    conflict = ConflictBetweenWriters(first=lambda key: "/data/" in key or "/snapshots/" in key)
    rules: list[Rule] = [ChecksumDemanded(), EtagIsNoDigest(), conflict]
    with opened(Gate(minio.endpoint, minio.ca.parent, rules)) as gate:
        works(repository_behind(gate, vault, vault.relay(), tmp_path / "repository", "AWS"), tmp_path)
        assert {seen.refused for seen in gate.seen} == {"", "ConditionalRequestConflict"}
    assert len(conflict.told) >= 2
    nothing_was_written_twice(vault)


def test_the_chain_works_on_a_real_ceph_under_its_documented_policy(ceph: Ceph, tmp_path: Path) -> None:
    vault, user = Vault(ceph, "chain"), ceph.add_user("chain")
    ceph.make_bucket(vault.bucket, "COMPLIANCE", 1)
    ceph.set_policy(
        vault.bucket,
        ceph_bucket_policy(vault.bucket, {"web1": ceph.arn("chain")}, ceph.arn("root")),
    )
    works(RelayedRepository(vault, "web1", user, tmp_path / "repository", service="Ceph"), tmp_path)
    nothing_was_written_twice(vault)
