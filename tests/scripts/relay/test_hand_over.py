"""A host without Internet access gets its tool from the workstation by SSH: complete and checked, or not at all (A4, A7)."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.hosts import dial, hand_over
from ops.hosts.connection import HostError, SshEndpoint, SshHost, open_hosts
from ops.private_folder import MARK
from tests.scripts.relay.chain import Chain
from tests.waiting import wait_until
from toolchain.checkout import ROOT
from toolchain.errors import ToolError
from toolchain.toolchain import Toolchain

PLACE = "/usr/local/lib/lastcopy/rclone-1.76.0/rclone"


@pytest.fixture
def target(older: Chain) -> SshEndpoint:
    facts = older.relay_facts
    return SshEndpoint(
        name="older", address=facts["address"], port=facts["port"], user=facts["user"], host_key=facts["host_key"],
        key_file=older.box.admin_key,
    )  # fmt: skip


@pytest.fixture
def host(target: SshEndpoint) -> Iterator[SshHost]:
    with tempfile.TemporaryDirectory() as folder, open_hosts([target], Path(folder)) as opened:
        yield opened["older"]


@pytest.fixture
def without(older: Chain) -> Iterator[Chain]:
    """The host without rclone, before the test."""
    older.sh(f"rm -rf {PLACE}")
    return older


def order(older: Chain, **changes: Any) -> str:
    facts = older.relay_facts
    told = {
        "name": "older", "address": facts["address"], "port": facts["port"], "user": facts["user"], "hostKey": facts["host_key"],
        "privateKey": older.box.admin_key.read_text(), "jump": None, "tool": "rclone",
    }  # fmt: skip
    return json.dumps({**told, **changes})


def run(text: str) -> subprocess.CompletedProcess[str]:
    """Run it as `pulumi up` does."""
    words = [sys.executable, "-m", "ops", "hand-over"]
    return subprocess.run(words, cwd=ROOT, input=text, capture_output=True, text=True, check=False)


OF_THE_RELAY = (
    "serve-restic",
    "refresh-storage",
    "hold-limits",
)  # another test may have set this machine up as a relay


def left(older: Chain) -> str:
    """What is on the host in addition to before."""
    others = " ".join(f"! -name {name}" for name in OF_THE_RELAY)
    return older.sh(f"find /usr/local/lib/lastcopy -mindepth 1 {others} 2>/dev/null || true")


def test_the_tool_is_handed_over_once_and_the_step_finds_it(without: Chain) -> None:
    """The key travels on standard input and leaves no file; the machine has no Internet access, and nothing on it tries to use it."""
    killed = dial.SHARED_MEMORY / f"{MARK}hand-over-killed"
    killed.mkdir(mode=0o700)
    (killed / "key").write_text("what a killed run left")
    first = run(order(without))
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout) == {"path": PLACE, "version": "1.76.0"}
    assert not list(dial.SHARED_MEMORY.glob(f"{MARK}hand-over-*"))
    ours = Toolchain().for_host("rclone", "amd64")
    assert without.sh(f"sha256sum <{PLACE}").split()[0] == hashlib.sha256(ours.path.read_bytes()).hexdigest()
    assert without.sh(f"stat -c '%a %U:%G' {PLACE}") == "755 root:root\n"
    assert left(without).split() == [PLACE.rpartition("/")[0], PLACE]
    step = without.host_tool("rclone", fetches=False)
    assert without.apply(step).line["facts"] == {"version": "1.76.0", "path": PLACE}
    without.converges(step)


def test_a_suitable_tool_is_not_sent_again(
    older: Chain, host: SshHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over.hand_over_tool(host, "rclone")

    def never(*_: object) -> None:
        raise AssertionError("nothing is got, nothing is sent")

    monkeypatch.setattr(Toolchain, "for_host", never)
    before = older.sh(f"stat -c '%i %Z' {PLACE}")
    assert hand_over.hand_over_tool(host, "rclone") == {"path": PLACE, "version": "1.76.0"}
    assert older.sh(f"stat -c '%i %Z' {PLACE}") == before


def test_without_disk_space_nothing_is_sent_and_nothing_changes(without: Chain) -> None:
    without.sh("mkdir -p /usr/local/lib/lastcopy && mount -t tmpfs -o size=20m tmpfs /usr/local/lib/lastcopy")
    try:
        done = run(order(without))
        assert left(without) == ""
    finally:
        without.sh("umount /usr/local/lib/lastcopy")
    assert done.returncode == 1
    assert "85 MiB are needed below /usr/local/lib/lastcopy, 20 MiB are free" in done.stderr
    assert "fix:" in done.stderr


FAKE = b"#!/bin/sh\necho rclone v1.76.0\n"


@pytest.mark.parametrize(
    ("sent", "checked", "told"),
    [
        (FAKE + b"# somebody's own lines\n", FAKE, "SHA-256 is not"),
        (FAKE.replace(b"1.76.0", b"1.75.9"), FAKE.replace(b"1.76.0", b"1.75.9"), "another version: '1.75.9'"),
        (b"\x7fELF of another architecture", b"\x7fELF of another architecture", "does not run on this host"),
    ],
    ids=["tampered", "too old", "of another architecture"],
)
def test_a_tampered_or_unsuitable_program_is_refused_and_leaves_nothing(
    without: Chain, host: SshHost, sent: bytes, checked: bytes, told: str
) -> None:
    script = hand_over._script("rclone")
    with pytest.raises(HostError, match=told):
        hand_over.send_tool(host, "rclone", gzip.compress(sent), hashlib.sha256(checked).hexdigest(), script)
    assert left(without) in ("", "/usr/local/lib/lastcopy/rclone-1.76.0\n")
    # Sabotage: with its own digest the tampered program would be accepted, so it is the digest that refused it.
    if told.startswith("SHA"):
        digest = hashlib.sha256(sent).hexdigest()
        assert hand_over.send_tool(host, "rclone", gzip.compress(sent), digest, script)["path"] == PLACE
        without.sh(f"rm {PLACE}")


KILL_THE_RECEIVER = """
for p in /proc/[0-9]*; do
  if tr '\\0\\n' '  ' <"$p/cmdline" 2>/dev/null | grep -q '^sh -c set -eu.* hand-over '; then kill -KILL "${p#/proc/}"; fi
done
"""


def test_an_interrupted_hand_over_leaves_nothing_usable_and_the_next_run_completes_it(
    without: Chain, host: SshHost
) -> None:
    """If the workstation dies, the host sees the end of the connection. If the host's side is killed, the next run cleans up."""
    packed = gzip.compress(os.urandom(4 << 20), compresslevel=1)

    def half(kill: str) -> None:
        words = host.words("sh", "-c", hand_over._RECEIVE, "hand-over", str(len(packed)), "0" * 64, "rclone")
        sender = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert sender.stdin
        sender.stdin.write(packed[: len(packed) // 2])
        sender.stdin.flush()
        wait_until(lambda: ".given.rclone." in left(without), 30)
        if kill == "sender":
            sender.kill()
            sender.communicate()
        else:
            without.sh(KILL_THE_RECEIVER)
            sender.communicate()

    half("sender")
    wait_until(lambda: ".given." not in left(without), 30)
    assert without.root("test", "-e", PLACE).returncode != 0
    half("receiver")
    assert ".given.rclone." in left(without)
    assert hand_over.hand_over_tool(host, "rclone")["path"] == PLACE
    assert left(without).split() == [PLACE.rpartition("/")[0], PLACE]


def test_an_architecture_without_a_release_is_refused_by_name(without: Chain, host: SshHost) -> None:
    without.sh("printf '#!/bin/sh\\necho riscv64\\n' >/usr/local/sbin/dpkg; chmod 755 /usr/local/sbin/dpkg")
    try:
        with pytest.raises(ToolError, match="'riscv64'; known are amd64, arm64, armhf, i386"):
            hand_over.hand_over_tool(host, "rclone")
    finally:
        without.sh("rm /usr/local/sbin/dpkg")


def test_a_host_with_another_host_key_gets_nothing(older: Chain, target: SshEndpoint, tmp_path: Path) -> None:
    """A1: a machine that poses as the host is not even asked what it has."""
    other = replace(target, host_key=older.box.machine_up("relay", "relay")["host_key"])
    with open_hosts([other], tmp_path) as opened, pytest.raises(HostError, match="another host key"):
        hand_over.hand_over_tool(opened["older"], "rclone")
    refused = run(order(older, hostKey=other.host_key))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "PRIVATE KEY" not in refused.stderr


PACKAGES = {"storage_check": ("curl", "curl ca-certificates"), "firewall": ("nft", "nftables")}


@pytest.mark.parametrize("script", PACKAGES)
def test_a_missing_package_is_refused_by_name_if_the_host_fetches_nothing(older: Chain, script: str) -> None:
    """apt-get is not even started: it would try for minutes."""
    program, packages = PACKAGES[script]
    step = older.firewall() if script == "firewall" else older.storage_check("web1", ("web1key", "x"))
    found = older.sh(f"command -v {program}").strip()
    older.sh(
        "getent group lastcopy-sources >/dev/null || groupadd --system lastcopy-sources"
    )  # the sshd step's
    older.sh(
        f"mv {found} {found}.away; printf '#!/bin/sh\\ntouch /root/apt-ran; exit 100\\n' >/usr/local/sbin/apt-get; chmod 755 /usr/local/sbin/apt-get"
    )
    try:
        refused = older.run(step.but(FETCHES="no"))
        asked = older.root("test", "-e", "/root/apt-ran").returncode == 0
        fetching = older.run(step)
        # Sabotage: without the value the same step does start it.
        assert older.root("test", "-e", "/root/apt-ran").returncode == 0
    finally:
        older.sh(f"mv {found}.away {found}; rm -f /usr/local/sbin/apt-get /root/apt-ran")
    assert refused.code == 1
    assert not asked
    assert f"needs Debian's packages '{packages}'" in refused.words
    assert "this host fetches nothing itself (toolsFrom: workstation)" in refused.words
    assert f"apt-get install {packages}" in refused.words
    assert fetching.code == 1
    assert f"packages '{packages}', which apt-get could not install" in fetching.words


def test_a_host_that_fetches_nothing_contacts_no_server(without: Chain) -> None:
    refused = without.run(without.host_tool("rclone", fetches=False))
    assert refused.code == 1
    assert "none was handed over" in refused.words
    assert "pulumi up --replace" in refused.words
    assert "GHSA-45pq-889g-fcgh" in refused.words
