"""The machine of these tests: two can run at the same time, and a stopped machine leaves nothing."""

from __future__ import annotations

import os

from sandbox.run import Process, child_with_pid_one
from tests.scripts.source.machine import Machine


def groups(machine: Machine) -> list[str]:
    # os.walk, because a glob fails if somebody else's group disappears meanwhile.
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if folder.endswith(f"/{machine.name}")]


def test_a_stopped_machine_leaves_no_process_and_no_control_group_and_does_not_affect_another() -> None:
    one, other = Machine(), Machine()
    try:
        leader = child_with_pid_one(one.nspawn.pid)
        systemd = Process.of(leader or 0)
        assert systemd is not None
        assert groups(one)
        one.stop()
        assert not systemd.there(), "systemd outlives a systemd-nspawn that is killed"
        assert groups(one) == []
        assert other.run("systemctl is-system-running").out.strip() in ("running", "degraded")
    finally:
        one.stop()
        other.stop()
