"""Who notices a flipped bit, place by place: checks the table of docs/decisions/0005-data-path.md with the real parts.

rclone runs with the product's own rclone.conf and arguments, restic and the storage are real; a proxy in between flips a bit.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from minio import Minio
from urllib3 import PoolManager

import toolchain
from components.relay.entry import rclone_config
from components.relay.entry.source_account_files import serve_conf
from components.settings import Limits
from components.storage.service_facts import ChecksumChoice
from components.storage.services import SERVICES
from sandbox.bucket import SandboxBucket, ensure_bucket, ensure_identity
from sandbox.storage_server import root_credentials
from tests.integration.checkout import Running
from tests.integration.corrupter import Wire, tap_to, wire_to_storage
from tests.servers import run_minio

BUCKET, SOURCE, SECRET = "backups", "web1", "corruption-test-identity"
CLEAN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
Done = subprocess.CompletedProcess[str]


@dataclass
class Storage:
    """A locked bucket on loopback, with one source's identity as the sandbox makes it."""

    folder: Path
    port: int

    def versions(self, key: str) -> int:
        """The number of this object's versions in the storage, including delete markers."""
        with PoolManager(ca_certs=str(self.folder / "certs" / "ca.crt")) as pool:
            client = Minio(
                f"127.0.0.1:{self.port}", *root_credentials(self.folder), region="us-east-1", http_client=pool
            )
            return len(list(client.list_objects(BUCKET, prefix=key, recursive=True, include_version=True)))


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    folder = tmp_path_factory.mktemp("storage")
    with run_minio(folder) as server:
        ensure_bucket(folder, server.origin, SandboxBucket(BUCKET, "COMPLIANCE", 1))
        ensure_identity(folder, server.origin, BUCKET, f"{SOURCE}/", "src-web1", SECRET)
        yield Storage(folder, server.port)


@dataclass
class Chain:
    """restic, the product's rclone command line, the corrupting proxy, and the storage."""

    folder: Path
    wire: Wire
    restic_program: Path

    def words(self) -> list[str]:
        """restic's command line without the command."""
        return [
            str(self.restic_program),
            f"-o=rclone.program={self.folder / 'serve'}",
            "-o=rclone.args=",
            "--repo=rclone:",
            "--insecure-no-password",
            "--no-cache",
            "--retry-lock=0s",
        ]

    def environment(self) -> dict[str, str]:
        return {**CLEAN, "HOME": str(self.folder), "TMPDIR": str(self.folder)}

    def restic(self, *words: str) -> Done:
        return subprocess.run(
            [*self.words(), *words],
            env=self.environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def succeeds(self, *words: str) -> str:
        done = self.restic(*words)
        assert done.returncode == 0, (
            f"restic {words[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def backup_with_flip(self, *more: str) -> Done:
        """Back up with one bit flipped in the first pack on its way to the storage."""
        self.wire.flip = ("PUT", "/data/")
        return self.restic("backup", "tree", "--quiet", *more)

    def spoiled_key(self) -> str:
        return self.wire.spoiled().path.partition("?")[0].removeprefix(f"/{BUCKET}/")

    def restores_the_same(self) -> bool:
        target = self.folder / "restored"
        shutil.rmtree(target, ignore_errors=True)
        done = self.restic("restore", "latest:/tree", "--target", str(target))
        names = sorted(path.name for path in (self.folder / "tree").iterdir())
        return done.returncode == 0 and all(
            (target / name).read_bytes() == (self.folder / "tree" / name).read_bytes() for name in names
        )


Make = Callable[..., Chain]


@pytest.fixture
def chain(tmp_path: Path, storage: Storage) -> Iterator[Make]:
    """Make the chain with its own repository; ``more`` are additional arguments."""
    tools = toolchain.ensure("rclone", "restic")
    (tmp_path / "tree").mkdir()
    for number in range(3):
        (tmp_path / "tree" / f"{number}").write_bytes(os.urandom(3 << 20))
    with wire_to_storage(storage.folder / "certs", storage.port) as wire:

        def make(*more: str, checksum: ChecksumChoice = "auto", conf: str = "") -> Chain:
            uploads = SERVICES["Minio"].uploads(checksum)
            conf = conf or rclone_config.s3_conf(
                uploads=uploads,
                endpoint=f"https://127.0.0.1:{wire.port}",
                region="us-east-1",
                credentials_file=str(tmp_path / "credentials"),
            )
            (tmp_path / "rclone.conf").write_text(conf.replace("PORT", str(wire.port)))
            (tmp_path / "credentials").write_text(
                rclone_config.s3_credentials(
                    uploads=uploads, access_key_id="src-web1", secret_access_key=SECRET
                )
            )
            path = f"{BUCKET}/{SOURCE}/{tmp_path.name}"
            serve = serve_conf(SOURCE, path=path, limits=Limits(), uploads=uploads, ca=True)
            arguments = [line.removeprefix("arg ") for line in serve.splitlines() if line.startswith("arg ")]
            arguments[arguments.index("--config") + 1] = str(tmp_path / "rclone.conf")
            arguments[arguments.index("--ca-cert") + 1] = str(storage.folder / "certs" / "ca.crt")
            words = shlex.join([str(tools["rclone"].path), *arguments, *more])
            alone = shlex.join(f"{name}={text}" for name, text in rclone_config.ENVIRONMENT.items())
            # 4>&2: to restic, the end of a program's stderr is the end of the program.
            (tmp_path / "serve").write_text(
                "#!/bin/sh\n"
                f"exec env -i PATH=/usr/bin:/bin HOME=/nonexistent {alone} {words} 4>&2 2>>{tmp_path}/relay.log\n"
            )
            (tmp_path / "serve").chmod(0o755)
            made = Chain(tmp_path, wire, tools["restic"].path)
            made.succeeds("init")
            return made

        yield make


# rclone.conf as it was before uploads carried a checksum: it contains the keys, so the SDK sends no checksum.
OF_BEFORE = f"""\
[lastcopy]
type = s3
provider = Minio
env_auth = false
access_key_id = src-web1
secret_access_key = {SECRET}
endpoint = https://127.0.0.1:PORT
region = us-east-1
no_check_bucket = true
"""


@pytest.mark.parametrize(
    ("checksum", "pack", "code"),
    [
        ("trailer", 16, b"XAmzContentChecksumMismatch"),
        ("trailer", 64, b"BadDigest"),
        ("md5", 64, b"BadDigest"),
    ],
    ids=["trailer", "trailer, in parts", "md5"],
)
def test_the_storage_refuses_a_bit_flip_before_it_and_the_backup_succeeds(
    chain: Make, storage: Storage, checksum: ChecksumChoice, pack: int, code: bytes
) -> None:
    product = chain(checksum=checksum)
    if pack > 16:
        (product.folder / "tree" / "more").write_bytes(os.urandom(9 << 20))
    done = product.backup_with_flip(f"--pack-size={pack}")
    assert product.wire.spoiled().status == 400
    assert code in product.wire.spoiled().answer
    assert done.returncode == 0, f"sent again, and then taken: {done.stderr}"
    assert storage.versions(product.spoiled_key()) == 1, "the corrupted object was never stored"
    product.succeeds("check", "--read-data")
    assert product.restores_the_same()


def test_sabotage_without_the_checksum_a_bit_flip_is_stored_and_found_only_by_reading_all_data(
    chain: Make,
) -> None:
    blind = chain("--ignore-checksum", conf=OF_BEFORE)
    done = blind.backup_with_flip()
    assert blind.wire.spoiled().status == 200, "the storage has nothing to compare with"
    assert done.returncode == 0, "nobody noticed"
    blind.succeeds("check")  # checks only the structure: still nobody notices
    read = blind.restic("check", "--read-data")
    assert read.returncode != 0
    assert "contains 2 errors" in read.stderr
    assert not blind.restores_the_same()
    blind.succeeds(
        "backup", "tree", "--quiet", "--force"
    )  # the blobs are in the index, so nothing is sent again
    assert blind.restic("check", "--read-data").returncode != 0


def stored(
    product: Chain, storage: Storage, name: str, size: int, *more: str, port: int | None = None
) -> Done:
    """Store one object by the same function of rclone that a session uses. ``port``: directly to the storage, without the proxy."""
    conf = product.folder / "rclone.conf"
    if port is not None:
        conf.write_text(conf.read_text().replace(f":{product.wire.port}", f":{port}"))
    words = [f"--config={conf}", f"--ca-cert={storage.folder / 'certs' / 'ca.crt'}", f"--size={size}"]
    target = f"lastcopy:{BUCKET}/{SOURCE}/g1/data/{name}"
    done = subprocess.run(
        [toolchain.ensure("rclone")["rclone"].path, "rcat", *words, *more, target],
        input=os.urandom(size),
        env={**CLEAN, **rclone_config.ENVIRONMENT},
        capture_output=True,
        check=False,
    )
    return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_if_only_rclone_compares_a_bit_flip_is_reported_but_stored_and_locked(
    chain: Make, storage: Storage
) -> None:
    """What remains with a service that ignores a trailer (`compares` in components/storage/service_facts.py): a late but clear error."""
    late = chain(conf=OF_BEFORE)
    late.wire.flip = ("PUT", "/data/")
    done = stored(late, storage, "late", 1 << 20, "--retries=1")
    assert late.wire.spoiled().status == 200
    assert done.returncode != 0
    assert "hashes differ" in done.stderr
    assert storage.versions(late.spoiled_key()) == 1, "the identity that stored it cannot hide it"


def test_the_local_storage_accepts_no_chunk_above_16_mib_so_it_gets_parts(
    chain: Make, storage: Storage
) -> None:
    product = chain()
    # Directly to the storage: it hangs up in the middle of such a body, which the proxy cannot pass on.
    ways = {"in-parts": [], "whole": ["--s3-upload-cutoff=5Gi"]}
    done = {
        name: stored(product, storage, name, 64 << 20, *more, port=storage.port)
        for name, more in ways.items()
    }
    assert done["in-parts"].returncode == 0, done["in-parts"].stderr
    assert done["whole"].returncode != 0
    assert {name: storage.versions(f"{SOURCE}/g1/data/{name}") for name in ways} == {
        "in-parts": 1,
        "whole": 0,
    }


def test_a_bit_flip_on_the_way_back_is_noticed_and_the_data_read_again(chain: Make) -> None:
    product = chain()
    product.succeeds("backup", "tree", "--quiet")
    product.wire.flip = ("answer to GET", "/data/")
    assert product.restores_the_same()
    assert product.wire.spoiled().status in (200, 206)


@pytest.mark.parametrize("flip_at", [3 << 20, None], ids=["flipped", "whole"])
def test_ssh_ends_a_session_whose_stream_was_changed(
    running: Running, tmp_path: Path, flip_at: int | None
) -> None:
    def read(path: str) -> str:
        return running.machines.run("db1", "cat", path).stdout

    client = read("/etc/lastcopy/ssh_config")
    found = {
        word: line.split()[1]
        for line in client.splitlines()
        for word in ("HostName", "Port")
        if word in line.split()[:1]
    }
    for name in ("id_ed25519", "known_hosts"):
        (tmp_path / name).write_text(read(f"/etc/lastcopy/{name}"))
        (tmp_path / name).chmod(0o600)
    (tmp_path / "password").write_text(read("/etc/lastcopy/password"))
    (tmp_path / "tree").write_bytes(os.urandom(8 << 20))
    with tap_to(found["HostName"], int(found["Port"]), flip_at) as tap:
        client = client.replace(f"HostName {found['HostName']}", "HostName 127.0.0.1").replace(
            "/etc/lastcopy/", f"{tmp_path}/"
        )
        client = client.replace(f"Port {found['Port']}", f"Port {tap.port}")
        (tmp_path / "ssh_config").write_text(client)
        done = subprocess.run(
            [
                toolchain.ensure("restic")["restic"].path,
                f"-o=rclone.program=ssh -F {tmp_path / 'ssh_config'} relay",
                "-o=rclone.args=serve",
                "--repo=rclone:",
                f"--password-file={tmp_path / 'password'}",
                "--no-cache",
                "backup",
                "--quiet",
                "--dry-run" if flip_at is None else "--tag=corruption",
                str(tmp_path / "tree"),
            ],
            env={**CLEAN, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    if flip_at is None:
        assert done.returncode == 0, (
            done.stderr
        )  # the same connection without the flip: the flip is what ends it
    else:
        assert tap.passed > flip_at
        assert done.returncode != 0
        running.machines.run(
            "db1", "restic-backup", "unlock", "--remove-all"
        )  # only its lock was left behind
        running.machines.run("db1", "restic-backup", "check", "--read-data")
