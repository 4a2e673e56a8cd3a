"""The publishers of releases, and the step in a private view of this machine (own /usr/local, /run, PATH)."""

from __future__ import annotations

import bz2
import functools
import hashlib
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.host.program_texts import script_text
from components.host.tool_release import release_values

FAKE = '#!/bin/sh\necho "{tool} {version} compiled with love"\n'
TOOLS = {"rclone": "1.76.0", "restic": "0.19.1"}


@dataclass(frozen=True)
class Answer:
    code: int
    facts: dict[str, str]
    changed: list[str]
    words: str


class Makers:
    """The publishers of releases: a folder behind HTTP, and a key."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.holds: threading.Event | None = None
        self.url = f"http://127.0.0.1:{port}"
        self.home = folder.with_name("makers-gnupg")
        self.home.mkdir(mode=0o700)
        self.fingerprint = self.new_key("makers")
        (folder / "KEYS").write_text(self.gpg("--armor", "--export", self.fingerprint))

    def gpg(self, *words: str) -> str:
        argv = [
            "gpg",
            "--homedir",
            str(self.home),
            "--batch",
            "--yes",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            *words,
        ]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def new_key(self, name: str) -> str:
        self.gpg("--quick-generate-key", f"{name}@example.net", "ed25519", "sign", "never")
        listed = self.gpg("--with-colons", "--list-keys", f"{name}@example.net")
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))

    def publish(
        self, tool: str, version: str, *, signer: str = "", program: str | None = None, arch: str = "amd64"
    ) -> None:
        text = (
            program or FAKE.format(tool=tool, version=("v" if tool == "rclone" else "") + version)
        ).encode()
        if tool == "restic":
            name = f"restic_linux_{arch}.bz2"
            (self.folder / name).write_bytes(bz2.compress(text))
        else:
            name = f"rclone-linux-{arch}.deb"
            self._deb(self.folder / name, text)
        sums = self.folder / "SHA256SUMS"
        digest = hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
        sums.write_text(f"{'0' * 64}  other.zip\n{digest}  {name}\n")
        who = ("--local-user", signer or self.fingerprint)
        if tool == "restic":
            self.gpg(*who, "--armor", "--output", f"{sums}.asc", "--detach-sign", str(sums))
        else:
            self.gpg(*who, "--output", f"{sums}.signed", "--clearsign", str(sums))
            Path(f"{sums}.signed").replace(sums)

    def _deb(self, target: Path, program: bytes) -> None:
        tree = self.folder.with_name("deb")
        (tree / "usr/bin").mkdir(parents=True, exist_ok=True)
        (tree / "DEBIAN").mkdir(exist_ok=True)
        (tree / "usr/bin/rclone").write_bytes(program)
        (tree / "usr/bin/rclone").chmod(0o755)
        (tree / "DEBIAN/control").write_text(
            "Package: rclone\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
        )
        subprocess.run(
            ["dpkg-deb", "-b", "--root-owner-group", str(tree), str(target)], check=True, capture_output=True
        )

    def values(self, tool: str, **changes: str) -> dict[str, str]:
        archive = "restic_linux_{arch}.bz2" if tool == "restic" else "rclone-linux-{arch}.deb"
        return {
            **release_values(tool),
            "ARCHIVE": f"{self.url}/{archive}",
            "SUMS": f"{self.url}/SHA256SUMS",
            "SIGNATURE": f"{self.url}/SHA256SUMS.asc" if tool == "restic" else "inline",
            "KEYS": f"{self.url}/nowhere {self.url}/KEYS",
            "FINGERPRINT": self.fingerprint,
            **changes,
        }


@contextmanager
def serve_releases(folder: Path) -> Iterator[Makers]:
    """Serve the releases in this folder, on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            if made.holds is not None and self.path.endswith((".bz2", ".deb")):
                self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100000)
                self.wfile.flush()
                made.holds.wait(30)
                return
            super().do_GET()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    made = Makers(folder, server.server_address[1])
    try:
        yield made
    finally:
        subprocess.run(["gpgconf", "--homedir", str(made.home), "--kill", "all"], check=False)
        server.shutdown()
        server.server_close()


def argv(view: Path, mode: str, *, hide: str = "", memory: str = "20m", record: str = "") -> list[str]:
    """A shell in its own mount namespace, where `view` is mounted as /usr/local, and /run is as small as on a small host.

    ``record``: the size of a separate file system in which tools are installed.
    """
    mounts = f"mount --bind {view} /usr/local && mount -t tmpfs -o size={memory} tmpfs /run"
    if record:
        mounts += f" && mkdir -p /usr/local/lib && mount -t tmpfs -o size={record} tmpfs /usr/local/lib"
    # A tool in this machine's own /usr/bin is not part of the test.
    for name in ("rclone", "restic", *hide.split()):
        mounts += f" && {{ [ ! -e /usr/bin/{name} ] || mount --bind /dev/null /usr/bin/{name}; }}"
    return [
        "unshare",
        "--mount",
        "--propagation",
        "slave",  # a private copy would keep mounts that others remove meanwhile
        "sh",
        "-c",
        f"{mounts} && exec sh -s -- {mode}",
    ]


def run(view: Path, values: dict[str, str], mode: str = "apply", **kind: str) -> Answer:
    """Run the step inside the view."""
    done = subprocess.run(
        argv(view, mode, **kind),
        input=script_text("host_tool", values),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": os.environ["PATH"]},
    )
    line = (
        json.loads(done.stdout.strip().splitlines()[-1])
        if done.stdout.strip()
        else {"facts": {}, "changed": []}
    )
    return Answer(done.returncode, line["facts"], line["changed"], done.stderr)


def put(view: Path, tool: str, version: str) -> None:
    path = view / "bin" / tool
    path.write_text(FAKE.format(tool=tool, version=version))
    path.chmod(0o755)
