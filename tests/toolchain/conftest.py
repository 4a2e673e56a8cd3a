"""A release site on loopback, new keys and a fake `go`: no test contacts another machine."""

from __future__ import annotations

import bz2
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from toolchain import fetch, progress
from toolchain.pins import load, this_machine
from toolchain.toolchain import Toolchain

HOST = """
[alpha.host]
arch = { amd64 = "amd64", arm64 = "arm64", armhf = "arm-v7", i386 = "386" }
free_mib = 1
"""
PROGRAM = b"#!/bin/sh\necho alpha v1.2.3\n"
FAKE_GO = """#!/bin/sh
case $1 in
env)
    printf '%s\\n' "${FAKE_GO_VERSION:-go1.26.3}" "$GOTOOLCHAIN"
    printf '%s\\n' "${GOMODCACHE:-$HOME/go/pkg/mod}" "${GOCACHE:-$HOME/.gocache}" ;;
build)
    echo build >>"$HOME/go-calls"
    echo "$GOOS $GOARCH $GOARM" >"$HOME/go-target"
    echo "$GOMODCACHE" >"$HOME/go-modcache"
    printf '%s\\n' "$@" >"$HOME/go-arguments"
    echo 'go: downloading example.test/alpha v1.2.3' >&2
    ${FAKE_GO_BUILD:-true} || exit 1
    while [ "$1" != -o ]; do shift; done
    mkdir -p "$GOMODCACHE" "$GOCACHE"
    printf '#!/bin/sh\\necho alpha v1.2.3 built\\n' >"$2"
    chmod +x "$2" ;;
esac
"""


class Site(http.server.ThreadingHTTPServer):
    """Serves `files`; `cut` ends an answer after this many bytes, once per entry; `asked` lists the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, list[int]] = {}
        self.stall: dict[str, threading.Event] = {}
        self.asked: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed on purpose is no error."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, span = self.path.lstrip("/"), self.headers.get("Range", "")
        self.server.asked.append((self.command, path, span))
        data = self.server.files.get(path)
        if data is None:
            self.send_error(404)
            return
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        if span and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.cut.get(path):
            self.wfile.write(data[start : start + self.server.cut[path].pop(0)])
            self.wfile.flush()
            if path in self.server.stall:
                self.server.stall[path].wait(30)
            self.close_connection = True
            return
        self.wfile.write(data[start:])

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    for event in server.stall.values():
        event.set()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Keys:
    """Two signers with their own keyring: the project's, and somebody else's."""

    home: str
    prints: dict[str, str] = field(default_factory=dict)

    def gpg(self, *arguments: str, data: bytes = b"") -> bytes:
        base = [
            "gpg",
            "--homedir",
            self.home,
            "--batch",
            "--no-tty",
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
        ]
        return subprocess.run([*base, *arguments], input=data, capture_output=True, check=True).stdout

    def make(self, who: str) -> None:
        self.gpg("--quick-gen-key", f"{who}@example.test", "ed25519", "sign", "never")
        listing = self.gpg("--with-colons", "--list-keys", f"{who}@example.test").decode()
        self.prints[who] = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))

    def public(self, *who: str) -> bytes:
        return self.gpg("--armor", "--export", *(self.prints[one] for one in who))

    def inline(self, text: bytes, who: str = "good") -> bytes:
        return self.gpg("--local-user", self.prints[who], "--clearsign", data=text)

    def detached(self, text: bytes, who: str = "good") -> bytes:
        return self.gpg("--local-user", self.prints[who], "--armor", "--detach-sign", data=text)


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    home = tempfile.mkdtemp(prefix="lc-test-")  # short, because gpg's sockets fail in a long path
    made = Keys(home)
    made.make("good")
    made.make("other")
    yield made
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, capture_output=True)
    shutil.rmtree(home)


def packed(kind: str, program: bytes = PROGRAM) -> bytes:
    """The program as a project would publish it."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as bundle:
            bundle.writestr("alpha-v1.2.3/README", "not wanted")
            bundle.writestr("alpha-v1.2.3/alpha", program)
    elif kind == "tar.gz":
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            for name in ("alpha/../../escaped", "alpha/alpha"):
                entry = tarfile.TarInfo(name)
                entry.size = len(program)
                tar.addfile(entry, io.BytesIO(program))
    else:
        return bz2.compress(program) if kind == "bz2" else program
    return out.getvalue()


@dataclass
class Bench:
    """A made-up tool `alpha` 1.2.3, its release on the site, and a machine with an empty home."""

    site: Site
    keys: Keys
    tmp: Path
    kind: str = "zip"
    proof: str = "inline"
    fingerprint: str = ""
    extra: str = ""
    hosts: bool = False
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home, self.bin = self.tmp / "home", self.tmp / "bin"
        for folder in (self.home, self.bin, self.tmp / "go" / "alpha", self.tmp / "standins"):
            folder.mkdir(parents=True)
        (self.tmp / "standins" / "main.go").write_text("package main\n")
        self.environ = {
            "HOME": str(self.home),
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "LASTCOPY_CACHE": str(self.cache),
        }

    @property
    def cache(self) -> Path:
        return self.tmp / "cache"

    @property
    def archive(self) -> str:
        return f"alpha-1.2.3.{self.kind}"

    def archive_of(self, arch: str) -> str:
        return f"alpha-1.2.3-{arch}.{self.kind}" if self.hosts else self.archive

    def publish(self, program: bytes = PROGRAM, signer: str = "good", arch: str = "") -> None:
        """Put a complete, genuine release on the site; with ``arch`` in addition to the existing ones."""
        data, name = packed(self.kind, program), self.archive_of(arch or this_machine()[1])
        self.site.files[name] = data
        archives = [one for one in self.site.files if one.startswith("alpha-")] if arch else [name]
        lines = [f"{hashlib.sha256(self.site.files[one]).hexdigest()}  {one}\n" for one in archives]
        sums = f"{'0' * 64}  other.zip\n{''.join(lines)}".encode()
        self.site.files["KEYS"] = self.keys.public("other", "good")
        self.site.files["SUMS"] = self.keys.inline(sums, signer) if self.proof == "inline" else sums
        if self.proof == "detached":
            self.site.files["SUMS.asc"] = self.keys.detached(sums, signer)

    def pins_file(self) -> Path:
        url, digest = self.site.url, hashlib.sha256(packed(self.kind)).hexdigest()
        proofs = {
            "inline": f'sums = "{url}/SUMS"\nsignature = "inline"',
            "detached": f'sums = "{url}/SUMS"\nsignature = "{url}/SUMS.asc"',
            "sums": f'sums = "{url}/SUMS"',
            "pinned": f'[alpha.release.sha256]\n{"-".join(this_machine())} = "{digest}"',
        }
        fingerprint = self.fingerprint or self.keys.prints["good"]
        signed = f'fingerprint = "{fingerprint}"\nkeys = ["{url}/gone", "{url}/KEYS"]'
        text = f"""
[go]
oldest = "1.26.0"
free_gib = 0.01
hosts = {{ amd64 = "GOARCH=amd64", arm64 = "GOARCH=arm64", armhf = "GOARCH=arm GOARM=7", i386 = "GOARCH=386" }}
[alpha]
version = "1.2.3"
ask = "version"
why = "ADVISORY-1"
{self.extra}
[alpha.build]
package = "example.test/alpha"
{HOST if self.hosts else ""}
[alpha.release]
archive = "{url}/alpha-{{version}}{"-{arch}" if self.hosts else ""}.{self.kind}"
members = ["alpha"]
{signed if self.proof in ("inline", "detached") else ""}
{proofs[self.proof]}
"""
        path = self.tmp / "versions.toml"
        path.write_text(text)
        return path

    def toolchain(self) -> Toolchain:
        return Toolchain(load(self.pins_file()), self.environ, self.tmp)

    def with_go(self, **settings: str) -> None:
        """Add a `go` that would build the tool at once."""
        self.program("go", FAKE_GO)
        self.environ.update(settings)

    def program(self, name: str, text: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def builds(self) -> int:
        calls = self.home / "go-calls"
        return calls.read_text().count("build") if calls.exists() else 0

    def installed(self) -> list[Path]:
        return sorted(path for path in (self.cache / "tools").rglob("*") if path.is_file())

    def until(self, condition: Callable[[], bool]) -> None:
        wait_until(condition, 20, pause=0.02)

    def start(self) -> subprocess.Popen[str]:
        """Start another process that ensures the tool."""
        code = (
            "import sys; from pathlib import Path;"
            "from toolchain.toolchain import Toolchain; from toolchain.pins import load;"
            "t = Toolchain(load(Path(sys.argv[1])), sources=Path(sys.argv[2])).ensure()['alpha'];"
            "print(t.origin, t.path)"
        )
        return subprocess.Popen(
            [shutil.which("python3") or "python3", "-c", code, str(self.pins_file()), str(self.tmp)],
            env={**os.environ, **self.environ, "PATH": f"{self.environ['PATH']}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear what a process remembers, and shorten the time that users would wait for a server."""
    monkeypatch.setattr(fetch, "_verdicts", {})
    monkeypatch.setattr(progress, "_said", set())
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def bench(site: Site, keys: Keys, tmp_path: Path) -> Callable[..., Bench]:
    return lambda **settings: Bench(site, keys, tmp_path, **settings)
