"""`destroy` leaves nothing behind, even of a sandbox that was never completed or lost parts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox, SandboxError
from sandbox.bucket import SandboxBucket
from tests.sandbox.conftest import WORKER, cli

NETWORK = f"198.18.{72 + WORKER}.0/24"  # beside the session's own sandbox


def traces(marks: set[str]) -> dict[str, set[str]]:
    """Everything that has one of the marks (the sandbox's id, its folder, its network), by kind."""

    def bearing(lines: list[str]) -> set[str]:
        return {line for line in lines if any(mark in line for mark in marks)}

    def said(*argv: str) -> list[str]:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

    def below(top: str, depth: int | None = None) -> list[str]:
        """Folders and files, by os.walk: a glob fails if somebody else's folder disappears meanwhile."""
        found = []
        for folder, inner, files in os.walk(top):
            found += [f"{folder}/{name}" for name in inner + files]
            if depth is not None and folder.count("/") - top.count("/") + 1 >= depth:
                inner.clear()
        return found

    processes, mounts = set(), set()
    own = Path("/proc/self/ns/mnt").readlink()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            group = (entry / "cgroup").read_text()
            table = (entry / "mountinfo").read_text().splitlines()
            namespace = (entry / "ns/mnt").readlink()
        except OSError:
            continue  # it ended meanwhile
        marked = bearing([f"{entry.name} {command} {group}"])
        processes |= marked
        if (
            marked or namespace == own
        ):  # other processes hold copies of this host's mounts as long as they run
            mounts |= bearing(table)
    return {
        "processes": processes,
        "mounts": mounts,
        "namespaces": bearing(below("/run/netns", 1)),
        "interfaces": bearing(said("ip", "-o", "link")),
        "routes": bearing(said("ip", "-o", "route", "show", "table", "all")),
        "tables": bearing(said("nft", "list", "ruleset")),
        "groups": bearing([path for path in below("/sys/fs/cgroup") if "/lc-" in path]),
        "files": bearing(
            [path for top in ("/run", "/var/lib/machines", "/var/lock") for path in below(top, 2)]
        ),
    }


def marks_of(box: Sandbox) -> set[str]:
    return {box.plan.id, str(box.directory), NETWORK.removesuffix("0/24")}


def nothing_left(marks: set[str]) -> bool:
    return not any(traces(marks).values())


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path / "second")
    yield made
    made.destroy()


def test_destroy_leaves_nothing(box: Sandbox, second: Sandbox) -> None:
    second.network_up(NETWORK, "nspawn")
    marks = marks_of(second)
    try:
        second.machine_up("relay", "relay")
        second.storage_up(SandboxBucket("backups", "COMPLIANCE", 1))
        up = traces(marks)
        seen = {kind for kind, found in up.items() if found}
        assert seen >= {
            "processes",
            "mounts",
            "namespaces",
            "interfaces",
            "routes",
        }  # the search itself can find things
    finally:
        second.destroy()
    assert traces(marks) == {kind: set() for kind in up}
    assert not second.directory.exists()
    assert second.destroy() == {"removed": False}
    assert box.driver.machine_running("relay")  # the other sandbox was not touched


def test_removing_the_parts_one_by_one_leaves_nothing_either(second: Sandbox) -> None:
    folder = str(second.directory)
    second.network_up(NETWORK, "nspawn")
    marks = marks_of(second)
    second.machine_up("web1", "source")
    for call in (["machine-down", "--name", "web1"], ["storage-down"], ["network-down"]):
        for removed in (True, False):
            done = cli(call[0], "--dir", folder, *call[1:])
            assert done.returncode == 0, done.stderr
            if call[0] != "storage-down":
                assert json.loads(done.stdout)["removed"] is removed
    assert nothing_left(marks)


def test_destroy_removes_parts_that_are_incomplete_or_lost(second: Sandbox) -> None:
    second.network_up(NETWORK, "nspawn")
    marks = marks_of(second)
    second.machine_up("web1", "source")
    second.storage_up(SandboxBucket("backups", "GOVERNANCE", 1))
    known = json.loads((second.directory / "machines/web1/process.json").read_text())
    os.kill(known["pid"], signal.SIGKILL)
    (second.directory / "storage/process.json").unlink()  # a server without a record
    subprocess.run(["ip", "link", "delete", second.plan.link], check=True)
    Path(f"/run/netns/lc-{second.plan.id}-half").touch()  # `ip netns add`, killed between its two steps
    second.destroy()
    assert nothing_left(marks)


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.15])
def test_a_first_run_killed_at_any_moment_can_be_destroyed(second: Sandbox, delay: float) -> None:
    call = [
        sys.executable,
        "-m",
        "sandbox",
        "network-up",
        "--dir",
        str(second.directory),
        "--network",
        NETWORK,
    ]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    process.kill()
    process.wait()
    second.destroy()
    assert nothing_left({str(second.directory), NETWORK.removesuffix("0/24")})
    assert not second.directory.exists()


def test_a_sandbox_whose_folder_was_deleted_can_still_be_destroyed(second: Sandbox, tmp_path: Path) -> None:
    second.network_up(NETWORK, "nspawn")
    marks = marks_of(second)
    second.machine_up("web1", "source")
    for _ in range(100):  # its machine still writes there
        shutil.rmtree(second.directory, ignore_errors=True)
        if not second.directory.exists():
            break
    assert not second.directory.exists()
    done = cli("network-up", "--dir", str(tmp_path / "third"), "--network", NETWORK)
    assert done.returncode == 1
    assert (
        f"lastcopy sandbox destroy --dir {second.directory}" in done.stderr
    )  # names the sandbox that uses the range
    Sandbox(tmp_path / "third").destroy()
    assert second.destroy() == {"removed": True}
    assert nothing_left(marks)


def test_destroy_refuses_a_folder_that_is_not_a_sandbox(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(SandboxError, match="does not belong to a sandbox"):
        Sandbox(tmp_path).destroy()
    assert (tmp_path / "precious").exists()
