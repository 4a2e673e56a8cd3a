"""One source on a real machine: its settings, its steps, its runs. Tests change it; `reset` makes it new again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from attack_drill.forged_objects import cheap_key
from components.settings import Source
from components.source import step_values
from tests.scripts.source.machine import Machine, Step
from tests.scripts.source.relay import Relay

PASSWORD = "correct-horse-battery-staple"
FLOOR = "0.19.1"
SET_UP = (
    "/etc/lastcopy /var/lib/lastcopy /var/cache/lastcopy /usr/local/lib/lastcopy /usr/local/bin/restic-backup"
)
UNITS = "/etc/systemd/system/lastcopy* /etc/systemd/system/timers.target.wants/lastcopy*"


def settings(**changes: Any) -> Source:
    """The settings of source web1, as from a stack file."""
    return Source.model_validate({"name": "web1", "sandbox": {}, "paths": ["/data"], **changes})


@dataclass(frozen=True)
class Run:
    """How one start of the service ended."""

    state: str
    status: dict[str, Any]
    text: str


class Bed:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.relay = Relay(machine)
        self.source = settings()
        self.password = PASSWORD
        self.saved = False

    # steps, as HostStep sends them

    def key(self, mode: str = "apply", expected: str = "") -> Step:
        return self.machine.step("source_key", step_values.key(expected), mode)

    def client_values(self) -> dict[str, str]:
        relay = self.relay
        return step_values.client(
            self.source, floor=FLOOR, address=relay.address, port=relay.port, host_key=relay.host_key
        )

    def client(self, mode: str = "apply") -> Step:
        return self.machine.step("source_client", self.client_values(), mode)

    def repository(self, mode: str = "apply") -> Step:
        return self.machine.step(
            "repository", {**step_values.repository(self.source), "PASSWORD": self.password}, mode
        )

    def schedule(self, mode: str = "apply") -> Step:
        return self.machine.step("schedule", step_values.schedule(self.source), mode)

    def dial_in(self) -> None:
        """Key, entry and client: everything except the repository."""
        self.relay.enrol("web1", self.key().facts["public_key"])
        assert self.client().code == 0

    def set_up(self) -> None:
        """All steps. From the second time in a session on, the result is copied from the first."""
        keep = "/srv/saved"
        if self.saved:
            self.machine.ok(
                f"cp -a {keep}/. / && systemctl daemon-reload && systemctl start lastcopy-backup.timer"
            )
            return
        self.dial_in()
        for step in (self.repository(), self.schedule()):
            assert step.code == 0, step.err
        self._open_at_little_cost()
        self.machine.ok("mkdir -p /data && printf 'some data' >/data/file")
        kept = f"{SET_UP} {UNITS} /srv/store /home /data"
        self.machine.ok(f"mkdir {keep} && cp -a --parents {kept} {keep}")
        self.saved = True

    def _open_at_little_cost(self) -> None:
        """Replace the repository's key with one that opens quickly, under its own name, also in the host's records."""
        keys = "/srv/store/web1-1/keys"
        own = self.machine.ok(f"ls {keys}").strip()
        name, text = cheap_key(self.machine.read(f"{keys}/{own}").encode(), self.password)
        self.machine.write(f"{keys}/{name}", text.decode())
        self.machine.ok(
            f"cd {keys} && chown --reference {own} {name} && chmod --reference {own} {name} && rm -f {own}"
            f" && sed -i s/{own}/{name}/ $(grep -rl {own} /etc/lastcopy /var/lib/lastcopy)"
        )

    def reset(self) -> None:
        """Make host and relay as if they had never met."""
        self.source, self.password = settings(), PASSWORD
        self.machine.ok(
            "systemctl stop lastcopy-backup.timer lastcopy-backup.service 2>/dev/null;"
            f" rm -rf {UNITS} /var/lib/systemd/timers/stamp-lastcopy*;"
            f" rm -rf {SET_UP} /srv/store/* /srv/relay/mode /srv/relay/clock /srv/relay/generation /data /root/.ssh /srv/hook*;"
            " rm -f /usr/local/sbin/*; ln -sfn /opt/restic /usr/local/bin/restic;"
            " systemctl start ssh; systemctl daemon-reload; systemctl reset-failed"
        )

    # runs

    def back_up(self) -> Run:
        """Start the service once, as its timer would, and wait for that attempt to end."""
        said = self.machine.run("systemctl start lastcopy-backup.service", seconds=100)
        # The start job may end before the record is written: wait for the unit's last command.
        self.machine.run(
            "for i in $(seq 300); do case $(systemctl show -p SubState --value lastcopy-backup.service) in"
            " start* | stop* | final* | running | condition) sleep 0.2 ;; *) break ;; esac; done",
            seconds=100,
        )
        state = self.machine.ok("systemctl show -p ActiveState,SubState,StatusText lastcopy-backup.service")
        shown = dict(line.split("=", 1) for line in state.strip().splitlines())
        run = Run(
            f"{shown['ActiveState']}/{shown['SubState']}", self.status(), shown["StatusText"] + said.err
        )
        self.machine.run(
            "systemctl stop lastcopy-backup.service; systemctl reset-failed lastcopy-backup.service"
        )
        return run

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.machine.read("/var/lib/lastcopy/status.json"))
        return status

    def restic(self, arguments: str) -> str:
        return self.machine.ok(f"restic-backup {arguments}")

    def snapshots(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.restic("snapshots --json"))
        return listed

    def snapshots_at_rest(self) -> int:
        """The number of snapshots in the store, even while the relay serves nobody."""
        return int(self.machine.ok("ls /srv/store/web1-1/snapshots | wc -l"))

    def digest(self, tree: str) -> str:
        """Names, modes and content of a tree."""
        return self.machine.ok(
            f"cd '{tree}' && find . -mindepth 1 -printf '%P %m %u %y\\0' | sort -z | sha256sum;"
            f" cd '{tree}' && find . -type f -print0 | sort -z | xargs -0 -r sha256sum -z | sha256sum"
        )
