"""A host rebooted, and back: row A7, on stacks that are made for trials."""

from __future__ import annotations

import time

from attack_drill.dial import alone
from attack_drill.errors import DrillError
from attack_drill.ground import Ground
from ops.hosts.connection import Host

SECONDS = 240
# A local stack's machines share the kernel and its boot's id: there the age of their first process tells.
_BOOT = "cat /proc/sys/kernel/random/boot_id; stat -c '%Y %Z' /proc/1"


def reboot(ground: Ground, host: Host) -> float:
    """The seconds until it let the operator in again, in a boot that is another one."""
    before = host.run("sh", "-c", _BOOT).out
    began = time.monotonic()
    host.close()
    if ground.sandbox is not None:
        from sandbox import Sandbox, SandboxError

        try:
            Sandbox(ground.sandbox).machine_restart(host.name)
        except SandboxError as error:
            raise DrillError(f"{host.name} did not boot again: {error}") from None
    else:
        alone(host, command=("systemctl", "reboot"))
    while time.monotonic() - began < SECONDS:
        now = alone(host, "-o", "ConnectTimeout=4", command=("sh", "-c", _BOOT), seconds=12)
        if now.code == 0 and now.out != before:
            return time.monotonic() - began
        time.sleep(1)
    raise DrillError(f"{host.name} did not come back within {SECONDS} s after its reboot")
