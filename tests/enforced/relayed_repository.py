"""A source's restic over the relay's rclone, with the rclone.conf and arguments that the program puts on the relay."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from components.relay.entry import rclone_config
from components.relay.entry import source_account_files as relay
from components.settings import Limits
from components.storage.service_facts import ChecksumChoice, ServiceName
from components.storage.services import SERVICES
from sandbox.tools import tool
from tests.enforced.servers import Identity
from tests.enforced.vault import Vault

SERVICE: Mapping[str, ServiceName] = {"versitygw": "Versity", "minio": "Minio"}
ALONE = shlex.join(f"{name}={text}" for name, text in rclone_config.ENVIRONMENT.items())


class RelayedRepository:
    """One source's repository, reached as through a forced command: restic speaks to rclone's standard input and output."""

    def __init__(
        self,
        vault: Vault,
        source: str,
        identity: Identity,
        folder: Path,
        *,
        at: str = "",
        service: ServiceName | None = None,
        checksum: ChecksumChoice = "auto",
    ) -> None:
        """`at`: show the bucket as it was then, as in docs/runbook.md. `service`: the name of the storage service in the stack file."""
        self.folder, self.ca = folder, vault.server.ca
        self.folder.mkdir(parents=True, exist_ok=True)
        uploads = SERVICES[service or SERVICE[vault.server.name]].uploads(checksum)
        conf, key = folder / "rclone.conf", folder / "credentials"
        conf.write_text(
            rclone_config.s3_conf(
                uploads=uploads,
                endpoint=vault.server.endpoint,
                region="us-east-1",
                credentials_file=str(key),
            )
        )
        key.touch(mode=0o600)
        key.write_text(
            rclone_config.s3_credentials(
                uploads=uploads,
                access_key_id=identity.access_key,
                secret_access_key=identity.secret_key,
            )
        )
        path = relay.storage_path(vault.bucket, source, 1)
        text = relay.serve_conf(source, path=path, limits=Limits(), uploads=uploads, ca=True)
        arguments = [line.removeprefix("arg ") for line in text.splitlines() if line.startswith("arg ")]
        here = {f"/etc/lastcopy/relay/{source}/rclone.conf": str(conf), relay.CA_FILE: str(vault.server.ca)}
        arguments = [here.get(argument, argument) for argument in arguments]
        if at:
            arguments += ["--s3-version-at", at]
        line = shlex.join([os.fspath(tool("rclone")), *arguments])
        self.serve = folder / "serve"
        # 4>&2: to restic, the end of a program's stderr is the end of the program.
        self.serve.write_text(
            f"#!/bin/sh\nexec env -i PATH=/usr/bin:/bin HOME=/nonexistent {ALONE} {line} 4>&2 2>>{folder}/rclone.log\n"
        )
        self.serve.chmod(0o700)
        (folder / "password").write_text("correct horse\n")

    def restic(self, *argv: str, seconds: int = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                os.fspath(tool("restic")),
                *("-o", f"rclone.program={self.serve}", "-o", "rclone.args=serve", "-r", "rclone:"),
                *("--no-cache", "--password-file", str(self.folder / "password"), *argv),
            ],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "GOMAXPROCS": "4"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def rclone(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run rclone with the same rclone.conf, as whoever controls the relay could."""
        once = ("--retries", "1", "--low-level-retries", "1", "--config", str(self.folder / "rclone.conf"))
        return subprocess.run(
            [os.fspath(tool("rclone")), *argv, *once, "--ca-cert", str(self.ca)],
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **rclone_config.ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def ok(self, *argv: str) -> str:
        done = self.restic(*argv)
        assert done.returncode == 0, f"restic {argv}: {done.stderr[-1500:]}\n{self.log()}"
        return done.stdout

    def log(self) -> str:
        """rclone's messages; on a relay they are in the journal."""
        log = self.folder / "rclone.log"
        return log.read_text()[-1500:] if log.exists() else ""

    def snapshots(self, *options: str) -> list[str]:
        return [one["id"] for one in json.loads(self.ok("snapshots", "--json", *options))]


def make_tree(folder: Path, megabytes: int = 3) -> Path:
    """Something to back up: one large incompressible file and some small ones."""
    folder.mkdir(parents=True)
    (folder / "large").write_bytes(os.urandom(megabytes << 20))
    for number in range(5):
        (folder / f"small{number}").write_text(f"{number}\n" * 100)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def restored(repository: RelayedRepository, snapshot: str, tree: Path, target: Path, *options: str) -> bool:
    """Whether the restored snapshot is exactly the tree."""
    done = repository.restic("restore", f"{snapshot}:{tree}", "--target", str(target), *options)
    return done.returncode == 0 and digests(target) == digests(tree)
