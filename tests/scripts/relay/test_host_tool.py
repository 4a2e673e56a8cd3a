"""A4: the tool is at or above its floor; else the makers' signed release, and nothing that was tampered with, and never an older one.

Runs the step in a private view of this machine (own /usr/local, /run, PATH), with a release server on loopback and a signing key made here.
"""

from __future__ import annotations

import bz2
import functools
import hashlib
import http.server
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.host.program_texts import script_text
from components.host.tool_release import pins, release_values
from tests.waiting import wait_until

FAKE = '#!/bin/sh\necho "{tool} {version} compiled with love"\n'
ADVISORY = {"rclone": "GHSA-45pq-889g-fcgh", "restic": "0.19.1"}


@dataclass(frozen=True)
class Answer:
    code: int
    facts: dict[str, str]
    changed: list[str]
    words: str


class Makers:
    """Who publishes releases: a folder behind HTTP, and a key."""

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


@pytest.fixture
def makers(tmp_path: Path) -> Iterator[Makers]:
    folder = tmp_path / "www"
    folder.mkdir()

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


@pytest.fixture
def view(tmp_path: Path) -> Path:
    """What /usr/local is inside the view; kept between runs of one test."""
    local = tmp_path / "local"
    (local / "bin").mkdir(parents=True)
    return local


def argv(view: Path, mode: str, *, hide: str = "", memory: str = "20m", record: str = "") -> list[str]:
    """A shell in its own mount namespace, where `view` is mounted as /usr/local, and /run is as small as on a small host.

    ``record``: the size of a separate file system in which tools are installed.
    """
    mounts = f"mount --bind {view} /usr/local && mount -t tmpfs -o size={memory} tmpfs /run"
    if record:
        mounts += f" && mkdir -p /usr/local/lib && mount -t tmpfs -o size={record} tmpfs /usr/local/lib"
    # A tool that this machine itself has in /usr/bin is no part of the test.
    for name in ("rclone", "restic", *hide.split()):
        mounts += f" && {{ [ ! -e /usr/bin/{name} ] || mount --bind /dev/null /usr/bin/{name}; }}"
    return [
        "unshare",
        "--mount",
        "--propagation",
        "slave",  # a private copy would hold on to mounts that others take away meanwhile
        "sh",
        "-c",
        f"{mounts} && exec sh -s -- {mode}",
    ]


def run(view: Path, values: dict[str, str], mode: str = "apply", **kind: str) -> Answer:
    """The step, there."""
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


TOOLS = {"rclone": "1.76.0", "restic": "0.19.1"}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_fitting_tool_of_the_host_is_used(makers: Makers, view: Path, tool: str) -> None:
    version = TOOLS[tool] if tool == "restic" else "v" + TOOLS[tool]
    put(view, tool, version)
    answer = run(view, makers.values(tool))
    assert answer.code == 0, answer.words
    assert answer.facts == {"version": TOOLS[tool], "path": f"/usr/local/bin/{tool}"}
    assert answer.changed == []


@pytest.mark.parametrize("tool", TOOLS)
def test_the_signed_release_is_installed_once(makers: Makers, view: Path, tool: str) -> None:
    makers.publish(tool, TOOLS[tool])
    put(view, tool, "v1.60.1-DEV" if tool == "rclone" else "0.14.0")
    drift = run(view, makers.values(tool), "check")
    assert drift.code == 3
    answer = run(view, makers.values(tool))
    assert answer.code == 0, answer.words
    assert answer.facts == {
        "version": TOOLS[tool],
        "path": f"/usr/local/lib/lastcopy/{tool}-{TOOLS[tool]}/{tool}",
    }
    again = run(view, makers.values(tool))
    assert (again.code, again.changed, again.facts) == (0, [], answer.facts)
    assert run(view, makers.values(tool), "check").code == 0


OLD = ["v1.60.1", "v1.74.4", "v1.75.9", "v1.76.0-DEV", "v1.76.0-beta.1", "v1.9.0", "v0.0.0", "nonsense", ""]


@pytest.mark.parametrize("version", OLD)
def test_an_old_or_unfinished_rclone_is_refused_with_the_advisory(
    makers: Makers, view: Path, version: str
) -> None:
    """A version with a suffix was built before the release that fixed it."""
    put(view, "rclone", version)
    answer = run(view, makers.values("rclone"))
    assert answer.code == 1
    assert "GHSA-45pq-889g-fcgh" in answer.words
    assert "9925" in answer.words
    assert "fix: install rclone 1.76.0 or newer as /usr/local/bin/rclone" in answer.words


def tampered(makers: Makers, tool: str, how: str) -> dict[str, str]:
    """A release that somebody changed on its way."""
    makers.publish(tool, TOOLS[tool])
    archive = next(path for path in makers.folder.iterdir() if path.suffix in (".bz2", ".deb"))
    sums = makers.folder / "SHA256SUMS"
    if how == "archive":
        archive.write_bytes(archive.read_bytes()[:-1] + b"X")
    elif how == "archive and sums":
        archive.write_bytes(archive.read_bytes() + b"X")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        lines = [
            f"{digest}  {archive.name}" if archive.name in line else line
            for line in sums.read_text().splitlines()
        ]
        sums.write_text("\n".join(lines) + "\n")
    elif how == "signed by another":
        other = makers.new_key("mallory")
        (makers.folder / "KEYS").write_text(makers.gpg("--armor", "--export"))  # both keys
        makers.publish(tool, TOOLS[tool], signer=other)
    elif how == "another key alone":
        other = makers.new_key("mallory")
        (makers.folder / "KEYS").write_text(makers.gpg("--armor", "--export", other))
        makers.publish(tool, TOOLS[tool], signer=other)
    elif how == "no signature":
        plain = "\n".join(
            line for line in sums.read_text().splitlines() if line[:1] in "0123456789abcdef" and "  " in line
        )
        sums.write_text(plain + "\n")
        (makers.folder / "SHA256SUMS.asc").unlink(missing_ok=True)
    elif how == "sums beside the signed ones":
        digest = hashlib.sha256(b"evil").hexdigest()
        archive.write_bytes(b"evil")
        sums.write_text(f"{digest}  {archive.name}\n" + sums.read_text())
    elif how == "older release":
        makers.publish(tool, "0.14.0" if tool == "restic" else "1.60.1")
    else:
        archive.unlink()
    return makers.values(tool)


HOWS = [
    "archive",
    "archive and sums",
    "signed by another",
    "another key alone",
    "no signature",
    "sums beside the signed ones",
    "older release",
    "missing",
]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("tool", TOOLS)
def test_a_tampered_release_is_refused_and_leaves_nothing(
    makers: Makers, view: Path, tool: str, how: str
) -> None:
    answer = run(view, tampered(makers, tool, how))
    assert answer.code == 1, answer
    assert f"no {tool} {TOOLS[tool]} or newer on this host" in answer.words
    assert ADVISORY[tool] in answer.words
    assert not list((view / "lib").rglob(tool)) or not any(
        path.is_file() for path in (view / "lib").rglob(tool)
    )


BIG = "\n#" + "x" * (
    24 << 20
)  # no program that a host with 100 MB of /run could unpack there; packed it is small


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_larger_than_run_is_installed(makers: Makers, view: Path, tool: str) -> None:
    """/run is a tenth or a fifth of the memory: with 512 MB, less than rclone takes."""
    program = FAKE.format(tool=tool, version=("v" if tool == "rclone" else "") + TOOLS[tool]) + "exit" + BIG
    makers.publish(tool, TOOLS[tool], program=program)
    answer = run(view, makers.values(tool), memory="4m")
    assert answer.code == 0, answer.words
    assert not list((view / "lib/lastcopy").glob(".unpack.*"))


@pytest.mark.parametrize("tool", TOOLS)
def test_without_disk_space_nothing_is_fetched_and_nothing_changes(
    makers: Makers, view: Path, tool: str
) -> None:
    makers.publish(tool, TOOLS[tool])
    answer = run(view, makers.values(tool), record="60m")
    assert answer.code == 1
    needed = makers.values(tool)["FREE_MIB"]
    assert (
        f"needs {needed} MiB of disk space below /usr/local/lib/lastcopy, where 60 MiB are free"
        in answer.words
    )
    assert "fix: free that space" in answer.words
    assert makers.asked == []
    assert not (view / "lib/lastcopy").exists()


def test_a_killed_run_leaves_nothing_to_the_next(makers: Makers, view: Path) -> None:
    """Killed outright in the middle of the download, as by a reboot; what it left on the disk goes with the next start."""
    makers.holds = threading.Event()
    step = subprocess.Popen(
        argv(view, "apply"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert step.stdin
    step.stdin.write(script_text("host_tool", makers.values("rclone")).encode())
    step.stdin.close()
    wait_until(lambda: any((view / "lib/lastcopy").glob(".unpack.*/*.deb")), 30)
    os.killpg(step.pid, signal.SIGKILL)
    step.wait()
    makers.holds.set()
    makers.holds = None
    assert list((view / "lib/lastcopy").glob(".unpack.*"))
    makers.publish("rclone", TOOLS["rclone"])
    answer = run(view, makers.values("rclone"))
    assert answer.code == 0, answer.words
    assert [path.name for path in (view / "lib/lastcopy").iterdir()] == ["rclone-1.76.0"]


# By Debian's names, as the makers' own build scripts name their files (rclone bin/cross-compile.go, restic helpers/build-release-binaries).
NAMES = {
    "rclone": {"amd64": "amd64", "arm64": "arm64", "armhf": "arm-v7", "i386": "386"},
    "restic": {"amd64": "amd64", "arm64": "arm64", "armhf": "arm", "i386": "386"},
}


def of(view: Path, architecture: str) -> None:
    """The host is of that architecture, as far as dpkg says so."""
    dpkg = view / "sbin/dpkg"
    dpkg.parent.mkdir(exist_ok=True)
    dpkg.write_text(f"#!/bin/sh\necho {architecture}\n")
    dpkg.chmod(0o755)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("architecture", ["arm64", "armhf", "i386"])
def test_a_host_gets_the_release_of_its_own_architecture(
    makers: Makers, view: Path, tool: str, architecture: str
) -> None:
    makers.publish(tool, TOOLS[tool])  # the wrong one is there, too
    makers.publish(tool, TOOLS[tool], arch=NAMES[tool][architecture])
    of(view, architecture)
    answer = run(view, makers.values(tool))
    assert answer.code == 0, answer.words
    [archive] = [path for path in makers.asked if path.endswith((".deb", ".bz2"))]
    assert archive.split("linux")[1][1:] == NAMES[tool][architecture] + archive[archive.rindex(".") :]


@pytest.mark.parametrize("tool", TOOLS)
def test_an_architecture_without_a_release_is_refused_by_name(makers: Makers, view: Path, tool: str) -> None:
    of(view, "riscv64")
    answer = run(view, makers.values(tool))
    assert answer.code == 1
    assert (
        "there is none for this host's architecture riscv64 (there are: amd64 arm64 armhf i386)"
        in answer.words
    )
    assert makers.asked == []
    # The host's own, from elsewhere, serves all the same.
    put(view, tool, ("v" if tool == "rclone" else "") + TOOLS[tool])
    assert run(view, makers.values(tool)).code == 0


def test_packages_that_cannot_be_had_are_told_with_the_advisory(makers: Makers, view: Path) -> None:
    """What the host has is refused for a reason; that it cannot be replaced does not hide the reason."""
    put(view, "rclone", "v1.60.1")
    apt = view / "sbin/apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package gpg'; exit 100\n")
    apt.chmod(0o755)
    answer = run(view, makers.values("rclone"), hide="gpg")
    assert answer.code == 1
    for told in (
        "found: /usr/local/bin/rclone 1.60.1",
        "GHSA-45pq-889g-fcgh",
        "packages 'gpg'",
        "Unable to locate",
        "fix:",
    ):
        assert told in answer.words
    assert makers.asked == []


def test_a_host_that_fetches_nothing_asks_nobody(makers: Makers, view: Path) -> None:
    """toolsFrom: workstation. Sabotage: the same release, on a host that fetches, is installed."""
    makers.publish("restic", TOOLS["restic"])
    answer = run(view, makers.values("restic", FETCHES="no"))
    assert answer.code == 1
    assert "which fetches nothing itself (toolsFrom: workstation)" in answer.words
    assert makers.asked == []
    assert run(view, makers.values("restic")).code == 0


@pytest.fixture
def brought(view: Path) -> tuple[Path, str]:
    """A program that its root brought to the host beside the enrolment script, and its digest."""
    path = view / "brought"
    path.write_text(FAKE.format(tool="restic", version=TOOLS["restic"]))
    return Path("/usr/local/brought"), hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_program_that_was_brought_is_used_when_its_digest_is_right(
    makers: Makers, view: Path, brought: tuple[Path, str]
) -> None:
    path, digest = brought
    for given, told in (
        (f"{path} {'0' * 64}", "its SHA-256 is not 000"),
        (f"/nowhere {digest}", "cannot be read"),
    ):
        refused = run(view, makers.values("restic"), f"apply '' {given}")
        assert refused.code == 1
        assert told in refused.words
        assert not any((view / "lib/lastcopy").rglob("restic"))
    answer = run(view, makers.values("restic"), f"apply '' {path} {digest}")
    assert answer.code == 0, answer.words
    assert answer.facts["path"] == "/usr/local/lib/lastcopy/restic-0.19.1/restic"
    assert (view / "brought").exists()
    assert makers.asked == []


def test_a_plain_http_address_is_never_asked(makers: Makers, view: Path) -> None:
    answer = run(view, makers.values("rclone", ARCHIVE="http://localhost.invalid/rclone.deb"))
    assert answer.code == 1
    assert 'Protocol "http" not supported or disabled' in answer.words or "Protocol" in answer.words


def test_sabotage_with_a_looser_fingerprint_the_other_key_would_pass(makers: Makers, view: Path) -> None:
    """The proof can fail: pinned to Mallory's fingerprint, Mallory's release is installed."""
    values = tampered(makers, "restic", "signed by another")
    listed = makers.gpg("--with-colons", "--list-keys", "mallory@example.net")
    mallory = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    assert run(view, {**values, "FINGERPRINT": mallory}).code == 0


def test_the_real_release_is_pinned_whole() -> None:
    """Signing keys as the projects publish them; https only."""
    for tool, fingerprint in (
        ("rclone", "FBF737ECE9F8AB18604BD2AC93935E02FF3B54FA"),
        ("restic", "CF8F18F2844575973F79D4E191A6868BD3F7A907"),
    ):
        values = release_values(tool)
        assert values["FINGERPRINT"] == fingerprint
        urls = [values["ARCHIVE"], values["SUMS"], *values["KEYS"].split()]
        urls += [values["SIGNATURE"]] if values["SIGNATURE"] != "inline" else []
        assert all(
            url.startswith("https://") and "{version}" not in url and "{os}" not in url for url in urls
        )
        assert values["VERSION"] in values["ARCHIVE"]
        assert pins()[tool]["host"]["arch"] == NAMES[tool]
