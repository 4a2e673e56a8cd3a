"""A4: the tool is not older than allowed; otherwise the makers' signed release is installed, never a tampered or an older one.

Runs the step in a private view of this machine, with a release server on loopback and a signing key made here.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from components.host.program_texts import script_text
from tests.scripts.relay.host_tool.makers import FAKE, TOOLS, Makers, argv, put, run
from tests.waiting import wait_until

ADVISORY = {"rclone": "GHSA-45pq-889g-fcgh", "restic": "0.19.1"}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_suitable_tool_of_the_host_is_used(makers: Makers, view: Path, tool: str) -> None:
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
    """A version with a suffix was built before the release with the fix."""
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
)  # a program that a host with 100 MB in /run could not unpack there; compressed it is small


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


def test_a_killed_run_leaves_nothing_for_the_next(makers: Makers, view: Path) -> None:
    """Killed in the middle of the download, as by a reboot; the next start removes what it left on the disk."""
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


def test_a_plain_http_address_is_never_used(makers: Makers, view: Path) -> None:
    answer = run(view, makers.values("rclone", ARCHIVE="http://localhost.invalid/rclone.deb"))
    assert answer.code == 1
    assert 'Protocol "http" not supported or disabled' in answer.words or "Protocol" in answer.words


def test_sabotage_with_a_looser_fingerprint_the_other_key_would_pass(makers: Makers, view: Path) -> None:
    """So the test can fail: pinned to Mallory's fingerprint, Mallory's release is installed."""
    values = tampered(makers, "restic", "signed by another")
    listed = makers.gpg("--with-colons", "--list-keys", "mallory@example.net")
    mallory = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    assert run(view, {**values, "FINGERPRINT": mallory}).code == 0
