"""A real minio with a COMPLIANCE lock on loopback, repositories made by the real restic, and an attacker with the storage's root key."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from pydantic import SecretStr
from pyrage.x25519 import Identity

from attack_drill.forged_objects import cheap_key
from ops.kit.kit import Kit, KitSource, commands, how_to_get_identities
from ops.kit.sealed import seal
from ops.recover.recovery import Recovery, open_recovery
from ops.restic.repository import Repository, Tools, open_workspace
from ops.storage.access import Access, RepositoryRecord, StorageKey, StorageLocation
from ops.storage.client import Storage
from sandbox.bucket import SandboxBucket, ensure_bucket
from sandbox.storage_server import root_credentials
from tests.servers import MinioServer, run_minio
from tests.unit.ops.history.model import named

BUCKET = SandboxBucket("backups", "COMPLIANCE", 1)
PASSPHRASE = "six random words are easy to write down"
PASSWORD = "the-repository-password-of-this-test"


@dataclass(frozen=True)
class Vault(MinioServer):
    """The storage server, with the credentials of its root."""

    @property
    def key(self) -> StorageKey:
        user, secret = root_credentials(self.folder)
        return StorageKey.read({"accessKeyId": user, "secretAccessKey": secret}, "root")

    @property
    def where(self) -> StorageLocation:
        return StorageLocation.read(
            {
                "endpoint": self.origin,
                "region": "us-east-1",
                "bucket": BUCKET.name,
                "prefix": "team/backups",
                "provider": "Minio",
                "caCertificate": self.ca.read_text(),
            },
            "test",
        )


@contextmanager
def vault_in(folder: Path) -> Iterator[Vault]:
    """A storage server with the one bucket."""
    with run_minio(folder) as server:
        ensure_bucket(folder, server.origin, BUCKET)
        yield Vault(server.folder, server.port, server.process)


@dataclass(frozen=True)
class Bed:
    """One source's repository with two snapshots of a known tree, and everything needed to attack and recover it."""

    vault: Vault
    tools: Tools
    folder: Path
    access: Access
    first_tree: str
    tree: str

    @property
    def source_tree(self) -> Path:
        """The path of the tree when it was backed up."""
        return (self.folder / "tree").resolve()

    def came_back(self, target: Path) -> str:
        """The digest of what a restore wrote below ``target``."""
        return digest_of(target / str(self.source_tree).lstrip("/"))

    @cached_property
    def s3(self) -> Any:
        """The storage's root, which the attacker of the R rows would like to be."""
        return Storage(self.access, self.vault.ca)._s3

    @property
    def prefix(self) -> str:
        return f"{self.access.path}/"

    def put(self, name: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET.name, Key=self.prefix + name, Body=body)

    def hide(self, name: str) -> None:
        self.s3.delete_object(Bucket=BUCKET.name, Key=self.prefix + name)

    def names(self) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET.name, Prefix=self.prefix)
        return [row["Key"].removeprefix(self.prefix) for page in pages for row in page.get("Contents", [])]

    def versions(self) -> set[tuple[str, str]]:
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET.name, Prefix=self.prefix)
        return {(row["Key"], row["VersionId"]) for page in pages for row in page.get("Versions", [])}

    @contextmanager
    def recovery(self, access: Access | None = None, *, ahead: bool = True) -> Iterator[Recovery]:
        """The repository as restore and rebuild open it."""
        with open_recovery(access or self.access, self.tools, lambda _: None, ahead=ahead) as found:
            yield found

    @contextmanager
    def restic(self, key_hint: str | None = None) -> Iterator[Repository]:
        """restic on the repository as it is now."""
        with open_workspace(self.access) as folder:
            yield Repository(
                access=self.access, tools=self.tools, folder=folder, served=None, key_hint=key_hint
            )

    def back_up(self) -> None:
        with self.restic(key_hint=self.access.record.key_id) as live:
            done = live.ask("backup", str(self.source_tree))
            assert done.ok, done.words

    def kit(self, key: StorageKey | None = None) -> tuple[Path, Path]:
        """A kit of only this repository, and the file with its passphrase."""
        file, phrase = self.folder / "kit.age", self.folder / "passphrase"
        file.write_bytes(seal(self._kit(key).text(), recipients=(), passphrase=PASSPHRASE))
        phrase.touch(0o600)
        phrase.write_text(PASSPHRASE + "\n")
        return file, phrase

    def kit_words(self) -> list[str]:
        """The options for a kit that opens with a key: a passphrase takes more than half a second of CPU time each time."""
        file, identity, mine = self.folder / "kit.age", self.folder / "identity", Identity.generate()
        file.write_bytes(
            seal(self._kit(self.vault.key).text(), recipients=(str(mine.to_public()),), passphrase=None)
        )
        identity.touch(0o600)
        identity.write_text(f"{mine}\n")
        return ["--kit", str(file), "--identity", str(identity)]

    def _kit(self, key: StorageKey | None) -> Kit:
        record = KitSource(**self.access.record.model_dump(), password=self.access.password)
        return Kit(
            made="2026-11-24T12:00:00Z",
            stack="test",
            where=self.access.where,
            storage_key=key,
            how_to_get_identities=how_to_get_identities(self.access.where),
            sources=(record,),
            tools={"restic": "0.19.1", "rclone": "1.76.0"},
            commands=commands(self.access.where, (record,)),
        )


def digest_of(tree: Path) -> str:
    """Names, types, modes, links, times and contents of everything below."""
    rows = []
    for path in sorted(tree.rglob("*")):
        info = path.lstat()
        content = b""
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        time = 0 if path.is_dir() else info.st_mtime_ns
        rows.append((os.fsencode(path.relative_to(tree)), info.st_mode, time, content))
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def make_tree(tree: Path, seed: int) -> None:
    (tree / "odd names").mkdir(parents=True, exist_ok=True)
    (tree / "empty").mkdir(exist_ok=True)
    for number in range(20):
        body = hashlib.shake_256(f"{seed} {number}".encode()).digest(number * 9001 + 1)
        (tree / f"{seed}-{number}.bin").write_bytes(body)
    (tree / "odd names" / "new\nline \x1b[31m*?[a]").write_text(f"{seed}")
    if not (tree / "link").is_symlink():
        (tree / "link").symlink_to("../nowhere")


def make_master(vault: Vault, folder: Path) -> Bed:
    """The repository from which tests get copies: restic needs seconds to make one."""
    tools = Tools.get()
    folder.mkdir()
    access = Access(
        where=vault.where, record=RepositoryRecord(name="master"), key=vault.key, password=SecretStr(PASSWORD)
    )
    tree = folder / "tree"
    make_tree(tree, 1)
    bed = Bed(vault, tools, folder, access, digest_of(tree), "")
    with bed.restic() as live:
        made = live.ask("init")
        assert made.ok, made.words
    bed = with_a_cheap_key(bed)
    bed.back_up()
    make_tree(tree, 2)
    bed.back_up()
    return replace(bed, tree=digest_of(tree))


def with_a_cheap_key(bed: Bed) -> Bed:
    """The same repository with such a key in place of the one that restic made."""
    (own,) = (name for name in bed.names() if name.startswith("keys/"))
    name, text = cheap_key(
        bed.s3.get_object(Bucket=BUCKET.name, Key=bed.prefix + own)["Body"].read(), PASSWORD
    )
    bed.put(f"keys/{name}", text)
    bed.hide(own)
    return replace(
        bed, access=replace(bed.access, record=bed.access.record.model_copy(update={"key_id": name}))
    )


def make_bed(master: Bed, source: str, folder: Path) -> Bed:
    """A copy below a repository prefix of its own, written in the order of a backup: snapshots last, one at a time."""
    folder.mkdir()
    (folder / "tree").symlink_to(master.folder / "tree")
    record = master.access.record.model_copy(update={"name": source})
    bed = replace(master, folder=folder, access=replace(master.access, record=record))
    entries = master.s3.list_objects_v2(Bucket=BUCKET.name, Prefix=master.prefix)["Contents"]
    entries.sort(key=lambda row: row["LastModified"])
    names = [row["Key"].removeprefix(master.prefix) for row in entries if "/locks/" not in row["Key"]]

    def copy(name: str) -> None:
        origin = {"Bucket": BUCKET.name, "Key": master.prefix + name}
        bed.s3.copy_object(Bucket=BUCKET.name, Key=bed.prefix + name, CopySource=origin)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(copy, [name for name in names if not name.startswith("snapshots/")]))
    for name in names:
        if name.startswith("snapshots/"):
            copy(name)
    return bed


def bogus_keys(bed: Bed, number: int = 25) -> None:
    """Well-formed keys that open nothing, with names that sort before the good key's."""
    good = bed.access.record.key_id
    assert good is not None
    real = bed.s3.get_object(Bucket=BUCKET.name, Key=f"{bed.prefix}keys/{good}")["Body"].read()
    made = 0
    for count in range(10**6):
        body = json.dumps(
            {**json.loads(real), "hostname": f"\x1b]0;evil{count}\x07", "data": base64.b64encode(bytes(200)).decode()}
        ).encode()  # fmt: skip
        name = hashlib.sha256(body).hexdigest()
        if name < good:
            bed.put(f"keys/{name}", body)
            made += 1
            if made == number:
                return
    raise AssertionError("the good key's name is too small for this test; run it again")


def malformed_keys(bed: Bed) -> None:
    bed.put(f"keys/{'0' * 64}", b"{ not JSON")
    bed.put("keys/\x1b[2Jnot-a-name", b"x")
    with suppress(ClientError):  # this storage refuses such a name; others accept it
        bed.put("keys/../../../../etc/cron.d/evil", b"* * * * * root true\n")


def garbage(bed: Bed) -> None:
    """Bogus snapshots, indexes and packs, with names that fit their content as restic demands."""
    for place in ("snapshots", "index"):
        for number in range(5):
            body = f"garbage {place} {number}".encode() * 20
            bed.put(f"{place}/{hashlib.sha256(body).hexdigest()}", body)
    bed.put(named("data", 4711), b"garbage pack")


def overwrite_all(bed: Bed) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bed.put(name, b"overwritten " + name.encode()), bed.names()))


def delete_all(bed: Bed) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bed.hide, bed.names()))


def whole_attack(bed: Bed) -> None:
    """Every attack of the R rows, with the storage's own root; a lock refuses some of it, the rest succeeds."""
    overwrite_all(bed)
    delete_all(bed)
    bogus_keys_from_memory(bed)
    malformed_keys(bed)
    garbage(bed)
    versions = bed.versions()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda one: refuses_to_delete(bed, *one), versions))


def refuses_to_delete(bed: Bed, key: str, version: str) -> bool:
    try:
        bed.s3.delete_object(Bucket=BUCKET.name, Key=key, VersionId=version, BypassGovernanceRetention=True)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDenied", "InvalidRequest")
    return False


def bogus_keys_from_memory(bed: Bed) -> None:
    for number in range(25):
        body = json.dumps({"hostname": "evil", "data": "AAAA", "number": number}).encode()
        bed.put(f"keys/{hashlib.sha256(body).hexdigest()}", body)


def now() -> datetime:
    return datetime.now(UTC)
