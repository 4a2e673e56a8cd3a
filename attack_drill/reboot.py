"""Reboots a host of a stack that was made for trials."""

from __future__ import annotations

import time

from attack_drill.connections import log_in
from attack_drill.drill import Drill
from attack_drill.errors import DrillError
from ops.hosts.connection import SshHost
from sandbox.waiting import becomes_true

SECONDS = 240
# A local stack's machines share this kernel and so its boot id; the age of their first process differs.
_BOOT = "cat /proc/sys/kernel/random/boot_id; stat -c '%Y %Z' /proc/1"


def reboot(drill: Drill, host: SshHost) -> float:
    """Reboot a host and wait until the operator can log in again. Returns the seconds that it took.

    Raises:
        DrillError: It did not come back in time.
    """
    before = host.run("sh", "-c", _BOOT).out
    began = time.monotonic()
    host.close()
    if drill.sandbox is not None:
        from sandbox import Sandbox, SandboxError

        try:
            Sandbox(drill.sandbox).machine_restart(host.name)
        except SandboxError as error:
            raise DrillError(f"{host.name} did not boot again: {error}") from None
    else:
        log_in(host, command=("systemctl", "reboot"))

    def is_back() -> bool:
        now = log_in(host, "-o", "ConnectTimeout=4", command=("sh", "-c", _BOOT), seconds=12)
        return now.code == 0 and now.out != before

    if not becomes_true(is_back, SECONDS, 1):
        raise DrillError(f"{host.name} did not come back within {SECONDS} s after its reboot")
    return time.monotonic() - began
