"""rclone as the relay runs it, in front of a server that records what it gets."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import toolchain
from attack_drill.http2 import Session
from components.relay.entry import rclone_config
from components.relay.entry import source_account_files as relay
from components.settings import Limits
from components.storage.service_facts import Uploads
from sandbox.certificates import make_certificates
from tests.uploads.recorder import Recorder, recording

KEY_ID, SECRET, PATH = "AKIAUPLOADS", "uploads-test-secret", "backups/web1/g1"


@dataclass
class Relay:
    """What `pulumi up` puts on a relay for one source, in a folder, and the server that rclone talks to."""

    folder: Path
    recorder: Recorder

    @property
    def conf(self) -> Path:
        return self.folder / "rclone.conf"

    @property
    def credentials(self) -> Path:
        return self.folder / "credentials"

    def furnish(self, uploads: Uploads, secret: str = SECRET) -> None:
        """Write rclone.conf and the key's file."""
        self.conf.write_text(
            rclone_config.s3_conf(
                uploads=uploads,
                endpoint=self.recorder.url,
                region="us-east-1",
                credentials_file=str(self.credentials),
            )
        )
        self.credentials.write_text(
            rclone_config.s3_credentials(uploads=uploads, access_key_id=KEY_ID, secret_access_key=secret)
        )

    def arguments(self, uploads: Uploads) -> list[str]:
        """rclone's arguments of serve.conf."""
        text = relay.serve_conf("web1", path=PATH, limits=Limits(), uploads=uploads, ca=True)
        here = {
            "/etc/lastcopy/relay/web1/rclone.conf": str(self.conf),
            relay.CA_FILE: str(self.recorder.ca),
        }
        found = [line.removeprefix("arg ") for line in text.splitlines() if line.startswith("arg ")]
        return [here.get(argument, argument) for argument in found]

    def words(self, uploads: Uploads, environment: Mapping[str, str] | None = None) -> list[str]:
        """The whole command line, in the environment that the wrapper gives rclone, or in another."""
        alone = rclone_config.ENVIRONMENT if environment is None else environment
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **alone}
        pairs = [f"{name}={text}" for name, text in variables.items()]
        rclone = str(toolchain.ensure("rclone")["rclone"].path)
        line = shlex.join(["env", "-i", *pairs, rclone, *self.arguments(uploads)])
        return ["sh", "-c", f"exec {line} 2>>{self.folder}/log"]

    def session(self, uploads: Uploads) -> Session:
        """One end of a forced command: HTTP/2 over its standard input and output."""
        return Session(self.words(uploads))

    def look(self, uploads: Uploads, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """One `lsf` of the repository in that environment, like the wrapper's check before a session."""
        words = self.words(uploads, environment)
        words[2] = words[2].replace("serve restic --stdio --append-only", "lsf --retries 1")
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    def store(self, uploads: Uploads, key: str, body: bytes) -> None:
        """Store one object by the function of rclone that a session uses (`RcatSize`), without HTTP/2 in Python, which is slow."""
        words = self.words(uploads)
        target = f" lastcopy:{PATH}"
        words[2] = words[2].replace("serve restic --stdio --append-only", f"rcat --size={len(body)}")
        words[2] = words[2].replace(f"{target}/", f"{target}/{key}")
        subprocess.run(words, input=body, capture_output=True, timeout=60, check=True)

    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder, "127.0.0.1")
    return folder


@pytest.fixture
def relayed(certificates: Path, tmp_path: Path) -> Iterator[Relay]:
    with recording(certificates) as recorder:
        yield Relay(tmp_path, recorder)
