"""Checks what the catalogue says about checksums and conditional writes (components/storage/services.py), on the servers that run here.

Each way of uploading, with the rclone.conf that the program makes: a corrupted body is refused before it is stored, and so is a second write
of a name that outruns rclone's own check (S5), even if the condition is sent at the end of a multipart upload.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.relay.entry import rclone_config
from components.storage.service_facts import ChecksumChoice, StorageService
from components.storage.services import SERVICES
from sandbox.tools import tool
from tests.enforced.conftest import Make
from tests.enforced.relayed_repository import SERVICE
from tests.enforced.servers import Server
from tests.enforced.vault import Vault
from tests.integration.corrupter import Wire, wire_to_storage

SMALL, LARGE = 1 << 20, 17 << 20
RACERS = 4


@dataclass
class Way:
    """One way of uploading to one server, over a connection that can flip a bit."""

    vault: Vault
    service: StorageService
    wire: Wire
    folder: Path
    choice: ChecksumChoice

    def store(
        self, key: str, body: bytes, condition: str = "If-None-Match: *"
    ) -> subprocess.CompletedProcess[bytes]:
        """The upload that rclone makes in a session (`RcatSize`), without its preceding check of the name."""
        conf, ca = self.folder / "rclone.conf", self.vault.server.ca
        words = ["rcat", f"--config={conf}", f"--ca-cert={ca}", f"--size={len(body)}", "--retries=1"]
        words += ["--low-level-retries=1", "--header-upload", condition]
        words += rclone_config.upload_arguments(self.service.uploads(self.choice))
        return subprocess.run(
            [os.fspath(tool("rclone")), *words, f"lastcopy:{self.vault.bucket}/web1/g1/data/{key}"],
            input=body,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **rclone_config.ENVIRONMENT},
            capture_output=True,
            timeout=60,
            check=False,
        )

    def versions(self, key: str) -> int:
        return sum(one["Key"] == f"web1/g1/data/{key}" for one in self.vault.versions())

    def content(self, key: str) -> bytes:
        answer = self.vault.server.root.get_object(Bucket=self.vault.bucket, Key=f"web1/g1/data/{key}")
        return bytes(answer["Body"].read())


@pytest.fixture(params=["auto", "md5"])
def way(request: pytest.FixtureRequest, server: Server, empty: Make, tmp_path: Path) -> Iterator[Way]:
    vault, service = empty(server), SERVICES[SERVICE[server.name]]
    uploads = service.uploads(request.param)
    with wire_to_storage(server.folder / "certs", int(server.endpoint.rpartition(":")[2])) as wire:
        credentials = tmp_path / "credentials"
        (tmp_path / "rclone.conf").write_text(
            rclone_config.s3_conf(
                uploads=uploads,
                endpoint=f"https://127.0.0.1:{wire.port}",
                region="us-east-1",
                credentials_file=str(credentials),
            )
        )
        identity = vault.relay()
        credentials.write_text(
            rclone_config.s3_credentials(
                uploads=uploads, access_key_id=identity.access_key, secret_access_key=identity.secret_key
            )
        )
        yield Way(vault, service, wire, tmp_path, request.param)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_corrupted_body_is_refused_before_it_is_stored(way: Way, size: int) -> None:
    way.wire.flip = ("PUT", "/data/spoiled")
    done = way.store("spoiled", os.urandom(size))
    assert done.returncode != 0
    assert way.wire.spoiled().status == 400, way.wire.spoiled().answer
    assert way.versions("spoiled") == 0
    body = os.urandom(size)
    assert way.store("spoiled", body).returncode == 0
    assert way.content("spoiled") == body


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_s5_a_name_is_written_only_once_even_in_a_race(way: Way, size: int) -> None:
    bodies = [os.urandom(size) for _ in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as pool:
        done = list(pool.map(lambda body: way.store("raced", body), bodies))
    won = [body for body, one in zip(bodies, done, strict=True) if one.returncode == 0]
    assert len(won) == 1, [one.stderr for one in done]
    assert (way.versions("raced"), way.content("raced")) == (1, won[0])
    assert way.store("raced", os.urandom(size)).returncode != 0
    assert way.versions("raced") == 1


def test_s5_sabotage_without_the_condition_a_name_is_written_twice(way: Way) -> None:
    for _ in range(2):
        assert way.store("twice", os.urandom(SMALL), "X-Amz-Meta-Nothing: x").returncode == 0
    assert way.versions("twice") == 2
