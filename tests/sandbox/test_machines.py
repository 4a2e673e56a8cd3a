"""Machines: real Debian hosts that converge, whatever was killed, and keep their data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sandbox import Sandbox, SandboxError, image
from sandbox.run import Process
from tests.sandbox.conftest import MACHINES, NETWORK, cli, inside, login_at


def login(box: Sandbox, name: str, *command: str) -> subprocess.CompletedProcess[str]:
    return login_at(box, box.machine_up(name, MACHINES[name]), *command)  # type: ignore[arg-type]


def test_admin_logs_in_with_the_pinned_host_key_and_has_sudo(box: Sandbox) -> None:
    for name in MACHINES:
        done = login(box, name, "hostname; id -un; sudo -n id -un")
        assert (done.returncode, done.stdout.split()) == (0, [name, "admin", "root"]), done.stderr


def test_every_machine_has_its_own_host_key(box: Sandbox) -> None:
    keys = {box.machine_up(name, role)["host_key"] for name, role in MACHINES.items()}  # type: ignore[arg-type]
    assert len(keys) == 3


def test_a_wrong_host_key_is_refused(box: Sandbox) -> None:
    """So the pin in `login` is real."""
    other = box.machine_up("db1", "source")["host_key"]
    done = login_at(box, {**box.machine_up("web1", "source"), "host_key": other}, "true")
    assert done.returncode == 255
    assert "IDENTIFICATION HAS CHANGED" in done.stderr


def test_machines_run_the_services_of_a_real_host(box: Sandbox) -> None:
    script = """
    set -eu
    systemctl is-system-running --wait | grep -qx running
    systemd-run -q --wait -p DynamicUser=yes -p ProtectSystem=strict -p PrivateTmp=yes sh -c '! touch /etc/x'
    systemd-run --quiet --on-active=0 --timer-property=AccuracySec=10ms touch /root/by-timer
    nft add table inet probe && nft delete table inet probe
    logger probe-line && journalctl --sync && journalctl -q -n 50 | grep -q probe-line
    systemd-run --quiet --wait sh -c 'exec 3<>/dev/fuse'
    for _ in $(seq 300); do [ ! -e /root/by-timer ] || exit 0; sleep 0.1; done
    exit 9
    """
    done = inside(box, "web1", "sh", "-c", script)
    assert done.returncode == 0, done.stderr


def test_the_role_determines_the_tool(box: Sandbox) -> None:
    assert inside(box, "relay", "rclone", "version").stdout.startswith("rclone v")
    assert inside(box, "web1", "restic", "version").stdout.startswith("restic ")
    assert inside(box, "web1", "sh", "-c", "command -v rclone").returncode != 0
    assert (
        inside(box, "relay", "sh", "-c", "echo x >/usr/local/bin/rclone").returncode != 0
    )  # shared, read-only


def test_verbs_run_twice_change_nothing(box: Sandbox) -> None:
    before = {file: file.stat().st_mtime_ns for file in box.directory.glob("machines/*/*.json")}
    folder = str(box.directory)
    calls = [["network-up", "--dir", folder, "--network", NETWORK]]
    for name, role in MACHINES.items():
        calls.append(["machine-up", "--dir", folder, "--name", name, "--role", role])
    storage = ["--bucket", "backups", "--lock-mode", "COMPLIANCE", "--lock-days", "1"]
    calls += [["storage-up", "--dir", folder, *storage], ["status", "--dir", folder]]
    for call in calls:
        first, second = cli(*call), cli(*call)
        assert (first.returncode, second.returncode) == (0, 0), second.stderr
        assert first.stdout == second.stdout
        assert first.stdout.count("\n") == 1
        json.loads(first.stdout)
        assert "PRIVATE KEY" not in first.stdout + first.stderr
    assert {file: file.stat().st_mtime_ns for file in box.directory.glob("machines/*/*.json")} == before


def test_a_killed_machine_restarts_with_the_same_identity(box: Sandbox) -> None:
    inside(box, "db1", "sh", "-c", "echo kept >/var/lib/kept; sync")
    before = box.machine_up("db1", "source")
    record = json.loads((box.directory / "machines/db1/process.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    after = box.machine_up("db1", "source")
    assert after == before
    assert inside(box, "db1", "cat", "/var/lib/kept").stdout == "kept\n"
    assert json.loads((box.directory / "machines/db1/process.json").read_text()) != record


def test_restart_boots_again_and_keeps_state(box: Sandbox) -> None:
    inside(box, "db1", "sh", "-c", "echo kept >/var/lib/kept; touch /run/gone")
    box.machine_restart("db1")
    assert inside(box, "db1", "cat", "/var/lib/kept").stdout == "kept\n"
    assert inside(box, "db1", "test", "-e", "/run/gone").returncode == 1


def test_up_converges_after_a_kill_at_any_moment(box: Sandbox) -> None:
    """The machine has another release and no tool: both are requested, and kept."""
    call = ["machine-up", "--dir", str(box.directory), "--name", "extra", "--role", "source"]
    call += ["--debian", "12", "--no-tool"]
    image.ensure_tree(12)  # building the base image is not killed here
    for delay in (0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4):
        process = subprocess.Popen(
            [os.sys.executable, "-m", "sandbox", *call],  # type: ignore[attr-defined]
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay)
        process.kill()
        process.wait()
        if delay in (0.16, 0.3):
            box.machine_down("extra")
    done = cli(*call)
    assert done.returncode == 0, done.stderr
    assert inside(box, "extra", "systemctl", "is-system-running", "--wait").stdout == "running\n"
    assert 'VERSION_ID="12"' in inside(box, "extra", "cat", "/etc/os-release").stdout
    assert inside(box, "extra", "sh", "-c", "command -v restic").returncode != 0
    for other, told in (
        ({"debian": 13, "tool": False}, "runs Debian 12, not 13"),
        ({"debian": 12}, "without its tool"),
    ):
        with pytest.raises(SandboxError, match=rf"{told}(.|\n)*machine-down"):
            box.machine_up("extra", "source", **other)  # type: ignore[arg-type]
    supervisors = [p for p in box.driver.processes("extra") if "systemd-nspawn" in _command(p)]  # type: ignore[attr-defined]
    assert len(supervisors) == 1
    box.machine_down("extra")
    assert not (box.directory / "machines" / "extra").exists()
    assert box.driver.processes("extra") == []  # type: ignore[attr-defined]


def _command(process: Process) -> str:
    try:
        with open(f"/proc/{process.pid}/comm") as file:  # noqa: PTH123
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it ended meanwhile


def test_a_machine_keeps_the_base_image_it_was_made_from(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_on = image.digest()
    monkeypatch.setattr(image, "digest", lambda _: "another")
    web1 = box.machine("web1")
    assert box.driver._base(web1) == image.tree(made_on)  # type: ignore[attr-defined]
    monkeypatch.setenv("LASTCOPY_CACHE", str(box.directory))
    with pytest.raises(SandboxError, match=r"is gone(.|\n)*machine-down"):
        box.driver._base(web1)  # type: ignore[attr-defined]


def test_a_machine_cannot_change_its_role(box: Sandbox) -> None:
    with pytest.raises(SandboxError, match="web1 is a source, not a relay"):
        box.machine_up("web1", "relay")


def test_exec_passes_on_the_exit_status_and_the_streams(box: Sandbox) -> None:
    script = 'read line; echo "got $line"; echo oops >&2; exit 7'
    done = cli(
        "exec", "--dir", str(box.directory), "--name", "web1", "--", "sh", "-c", script, stdin="hello\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "got hello\n", "oops\n")


def test_the_error_of_exec_for_a_missing_machine_names_the_fix(box: Sandbox) -> None:
    done = cli("exec", "--dir", str(box.directory), "--name", "nobody", "--", "true")
    assert done.returncode == 1
    assert "machine-up" in done.stderr


def test_a_host_without_free_inotify_instances_gets_an_error_before_the_boot() -> None:
    """A machine's systemd would end at once without a message. The limit is lowered in the test's own user namespace."""
    starve = 'echo 4 >/proc/sys/user/max_inotify_instances && exec "$0" -c "$1"'
    call = "from sandbox.nspawn import refuse_without_inotify; refuse_without_inotify('web1')"
    for lowered, expected in ((starve, 1), ('exec "$0" -c "$1"', 0)):
        argv = ["unshare", "--user", "--map-root-user", "sh", "-c", lowered, sys.executable, call]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stderr
        assert ("inotify instances are used up" in done.stderr) == bool(expected)
