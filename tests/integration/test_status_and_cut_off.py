"""A8, S10 and S11 on the running stack: silence and growth are noticed without a password, and one command cuts off one source."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from typing import Any

import yaml

from tests.integration.checkout import Running
from tests.integration.test_recovery import ops
from tests.waiting import wait_until

STATUS = ("status", "--json")


def status(running: Running, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    place = ["--stack", running.stack.name, "--sandbox", str(running.machines.directory)]
    done = ops(running, *STATUS, *place, *words)
    assert done.stdout, done.stderr
    return done.returncode, {one["source"]: one for one in json.loads(done.stdout)}


def problems(found: dict[str, dict[str, Any]], source: str) -> str:
    return "\n".join(problem["what"] for problem in found[source]["problems"])


def test_a8_silence_is_noticed_by_the_storages_own_clock(running: Running) -> None:
    for source in ("web1", "db1"):
        running.machines.run(source, "systemctl", "start", "lastcopy-backup.service")
    code, found = status(running, "--source", "web1")
    assert set(found) == {"web1"}
    assert found["web1"]["silentHours"] < 0.1
    assert "SILENT" not in problems(found, "web1")
    time.sleep(4)
    running.machines.run("db1", "systemctl", "start", "lastcopy-backup.service")
    code, found = status(running, "--silent-hours", "0.001")  # 3.6 s
    assert code == 1
    assert "SILENT" in problems(found, "web1")
    # A false status file on the host changes nothing.
    before = found["web1"]["newest"]
    running.machines.shell("web1", "touch /var/lib/lastcopy/status.json")
    found = status(running, "--hosts")[1]
    assert found["web1"]["newest"] == before
    assert [found[name]["lastRun"]["result"] for name in ("web1", "db1")] == ["success", "success"]  # A9


def test_s10_fast_growth_is_noticed(running: Running) -> None:
    running.machines.shell(
        "web1",
        "head -c 20000000 /dev/urandom >/srv/big && systemctl start lastcopy-backup.service; rm /srv/big",
    )
    code, found = status(running, "--growth-gib-per-day", "0.01")
    assert code == 1
    assert "GROWS TOO FAST" in problems(found, "web1")
    (fix,) = [one["fix"] for one in found["web1"]["problems"] if "GROWS" in one["what"]]
    place = shlex.join(["--stack", running.stack.name, "--sandbox", str(running.machines.directory)])
    assert f"lastcopy cut-off --source web1 {place}" in fix, "the command of this stack"
    assert "GROWS TOO FAST" not in problems(status(running)[1], "web1")


def test_status_uses_no_password(running: Running) -> None:
    """Without the passwords in the outputs, it reports the same."""
    code, before = status(running)
    script = (
        "import sys; from ops.stack import Stack; whole = Stack.outputs\n"
        "def without(self, *, secrets=False):\n"
        "    assert not secrets, 'status asked for secrets'\n"
        "    return {k: v for k, v in whole(self).items() if k != 'passwords'}\n"
        "Stack.outputs = without; from ops.__main__ import app; app(sys.argv[1:])"
    )
    place = ["--stack", running.stack.name, "--sandbox", str(running.machines.directory)]
    done = subprocess.run(
        [running.root / ".venv" / "bin" / "python", "-c", script, *STATUS, *place],
        cwd=running.root,
        env=running.stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    after = {one["source"]: one for one in json.loads(done.stdout)}
    assert {name: one["newest"] for name, one in after.items()} == {
        name: one["newest"] for name, one in before.items()
    }


def sessions(running: Running) -> int:
    counted = running.machines.run("relay", "pgrep", "-c", "-u", "bk-web1", "rclone", check=False).stdout
    return int(counted.strip() or 0)


def opens(running: Running, source: str) -> bool:
    return running.machines.run(source, "restic-backup", "cat", "config", check=False).returncode == 0


def test_s10_s11_one_command_cuts_off_one_source_and_another_lets_it_in(running: Running) -> None:
    before = running.stack.file.read_text()
    running.configure(lambda config: config["lastcopy:sources"][0].update({"from": ["198.18.0.0/15"]}))
    running.up()
    with_from = yaml.safe_load(running.stack.file.read_text())
    words = ["--source", "web1", "--stack", running.stack.name]
    open_session = subprocess.Popen(
        running.machines.words("web1", "sh", "-c", "sleep 300 | ssh -F /etc/lastcopy/ssh_config relay serve"),
        cwd=running.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: sessions(running) == 1, 20, pause=0.2)
        running.machines.run("web1", "touch", "/var/tmp/before-cut-off")
        for _ in range(2):  # a second call changes nothing
            done = ops(running, "cut-off", *words)
            assert done.returncode == 0, done.stdout + done.stderr
        assert sessions(running) == 0
        assert not opens(running, "web1")
        assert opens(running, "db1")
        # Nothing connected to its host: no step of the program ran there.
        newer = "find /etc/lastcopy /var/lib/lastcopy -newer /var/tmp/before-cut-off -type f"
        assert running.machines.shell("web1", newer).stdout == ""
        assert "CUT OFF" in running.preview().stdout

        done = ops(running, "let-in", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert opens(running, "web1")
        line = running.machines.run("relay", "cat", "/etc/ssh/lastcopy/keys/bk-web1").stdout
        assert 'from="198.18.0.0/15"' in line
        assert yaml.safe_load(running.stack.file.read_text()) == with_from
    finally:
        open_session.terminate()
        open_session.wait(20)
        running.stack.file.write_text(before)
        running.up()
    running.preview("--expect-no-changes")


def test_cutting_off_a_missing_source_changes_nothing(running: Running) -> None:
    before = running.stack.file.read_text()
    done = ops(running, "cut-off", "--source", "web9", "--stack", running.stack.name)
    assert done.returncode == 1
    assert "one of: web1, db1" in done.stderr
    assert running.stack.file.read_text() == before
