"""One real relay, one real source and one real locked storage, controlled by the same scripts that the program sends.

A step takes the same route as a HostStep: over ssh as the admin, through sudo, with script and values on stdin.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.host.program_texts import script_text
from components.host.tool_release import floor, release_values
from components.relay.entry import rclone_config
from components.relay.entry import source_account_files as relay
from components.relay.firewall import endpoints, firewall_rules, firewall_units
from components.relay.service import limit_units
from components.relay.sshd import sshd_config as sshd
from components.relay.sshd.sshd_config import SshdPlan
from components.settings import Limits
from components.storage.service_facts import ServiceName, Uploads
from components.storage.services import SERVICES
from sandbox import Sandbox
from toolchain.checkout import ROOT

if TYPE_CHECKING:
    from tests.scripts.relay.snapshot import Snapshot

RELAY = ROOT / "components" / "relay"
RELAY_RCLONE = "/usr/local/bin/rclone"


@dataclass(frozen=True)
class Answer:
    """How a step ended, and its line of JSON."""

    code: int
    line: dict[str, Any]
    words: str

    @property
    def changed(self) -> list[str]:
        return list(self.line["changed"])

    @property
    def drift(self) -> list[str]:
        return list(self.line["drift"])


@dataclass(frozen=True)
class Step:
    """A script with its values, as a component sends it."""

    script: str
    values: Mapping[str, str]

    def but(self, **values: str) -> Step:
        return replace(self, values={**self.values, **values})

    def text(self) -> str:
        return script_text(self.script, self.values)


class Chain:
    """One of the sandbox's relays with a source on it, and how to make each of its steps. ``rclone``: where it has the program."""

    def __init__(
        self,
        box: Sandbox,
        facts: Mapping[str, Mapping[str, Any]],
        keys: Path,
        machine: str = "relay",
        rclone: str = RELAY_RCLONE,
    ) -> None:
        self.box, self.machine, self.rclone = box, machine, rclone
        self.relay_facts = facts[machine]
        self.storage = facts["storage"]
        self.keys = keys
        self.facts: dict[str, dict[str, str]] = {}
        self.guard_seconds = 60
        self.furnished = False
        self.snapshot: Snapshot | None = None
        self.known_hosts = keys / f"known_hosts-{machine}"
        self.known_hosts.write_text(f"relay {self.relay_facts['host_key']}\n")

    # access to the machines

    def root(self, *argv: str, machine: str = "", stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run as root in a machine, without its sshd and firewall."""
        return subprocess.run(
            self.box.command(machine or self.machine, list(argv)),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def sh(self, line: str, machine: str = "") -> str:
        done = self.root("sh", "-c", line, machine=machine)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def ssh_argv(self, user: str, key: Path, *options: str) -> list[str]:
        """ssh from the workstation with a pinned host key and without the user's configuration."""
        return [
            *("ssh", "-F", "/dev/null", *options),  # first, because ssh takes the first of two values
            *("-o", "HostKeyAlias=relay", "-o", f"UserKnownHostsFile={self.known_hosts}"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
            *("-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ConnectTimeout=10", "-i", str(key)),
            f"{user}@{self.relay_facts['address']}",
        ]

    def admin(
        self, line: str, stdin: str = "", options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        argv = [*self.ssh_argv("admin", self.box.admin_key, *options), line]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=200)

    def run(self, step: Step, mode: str = "apply", options: Sequence[str] = ()) -> Answer:
        """Send a step as HostStep does."""
        line = f'exec sudo -n timeout -k 10 300 /bin/sh -s -- {mode} "$SSH_CONNECTION"'
        done = self.admin(line, step.text(), options)
        last = done.stdout.strip().splitlines()[-1:] or ["{}"]
        return Answer(done.returncode, json.loads(last[0]), done.stderr)

    def apply(self, step: Step) -> Answer:
        answer = self.run(step)
        assert answer.code == 0, answer.words
        return answer

    def inside(self, step: Step) -> None:
        """Run the step without ssh, to restore the relay between tests."""
        done = self.root("sh", "-s", "--", "apply", "203.0.113.1 1 2 22", stdin=step.text())
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def reached_by_sources(self, port: int) -> Iterator[None]:
        """Let sources' processes reach this port of the relay's own loopback, as if the storage were there."""
        element = f"element inet lastcopy looked_up4 {{ 127.0.0.1 . {port} }}"
        self.sh(f"nft add {element}")
        try:
            yield
        finally:
            self.sh(f"nft delete {element}")

    def still(self, timer: str) -> None:
        """Keep a timer from running during the block, and end a run that is under way; furnishing the relay again starts the timer."""
        self.sh(f"systemctl stop {timer}.timer {timer}.service")

    def converges(self, step: Step) -> None:
        """What every step guarantees: a second run changes nothing, and check finds no drift."""
        again = self.apply(step)
        assert again.changed == []
        check = self.run(step, "check")
        assert (check.code, check.drift) == (0, []), check.words

    def killed_after(self, step: Step, seconds: float) -> None:
        """Start the step and end it with SIGKILL, as a lost host or an impatient operator would."""
        argv = self.box.command(self.machine, ["setsid", "sh", "-s", "--", "apply", "198.51.100.9 1 2 22"])
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdin
        process.stdin.write(step.text())
        process.stdin.close()
        time.sleep(seconds)
        # Only the step's own process group inside the machine, which is the one with a work folder.
        self.root(
            "sh",
            "-c",
            'for p in /proc/[0-9]*; do if tr "\\0" " " <"$p/cmdline" 2>/dev/null | grep -q "^sh -s -- apply"; '
            'then kill -KILL -- "-${p#/proc/}" 2>/dev/null; fi; done; true',
        )
        process.wait(30)

    # the steps, with the values of the components

    def plan(self, **changes: Any) -> SshdPlan:
        return SshdPlan(**{"admin_user": "admin", "second_factor": "none", "listen_port": 22, **changes})

    def sshd(self, phase: str = "apply", **changes: Any) -> Step:
        plan = self.plan(**changes)
        return Step(
            "sshd",
            {
                "PHASE": phase,
                "ADMIN": plan.admin_user,
                "FACTOR": plan.second_factor,
                "GUARD_SECONDS": str(self.guard_seconds),
                "HOST_KEY": self.relay_facts["host_key"],
                "DROPIN_92": sshd.drop_in(plan, "9.2"),
                "DROPIN_100": sshd.drop_in(plan, "10.0"),
                "EXPECT_92": sshd.expected_of_everyone(plan, "9.2"),
                "EXPECT_100": sshd.expected_of_everyone(plan, "10.0"),
                "EXPECT_SOURCES": sshd.expected_of_sources(),
            },
        )

    def firewall(
        self,
        phase: str = "apply",
        ssh_port: int = 22,
        endpoint: str | None = None,
        directory: Sequence[str] = (),
        vpn_ports: Sequence[int] = (),
    ) -> Step:
        servers = [endpoints.parse_endpoint(one) for one in directory]
        storage = endpoints.s3_endpoints(endpoint or self.storage["endpoint"], self.storage["bucket"])
        return Step(
            "firewall",
            {
                "PHASE": phase,
                "GUARD_SECONDS": str(self.guard_seconds),
                "RULES": firewall_rules.firewall_rules(
                    storage, ssh_port, directory=servers, vpn_ports=vpn_ports
                ),
                "NAMES": endpoints.lookup_lines(storage),
                "UPDATERS": firewall_rules.updater_lines(),
                "REFRESH": (RELAY / "firewall" / "refresh-storage").read_text(),
                "UNIT": firewall_units.UNIT,
                "REFRESH_UNIT": firewall_units.REFRESH_UNIT,
                "REFRESH_TIMER": firewall_units.REFRESH_TIMER,
            },
        )

    def host_tool(self, tool: str, *, fetches: bool = True) -> Step:
        return Step("host_tool", release_values(tool, fetches=fetches))

    def shared(self) -> Step:
        values = {
            "RCLONE": self.rclone,
            "FLOOR": floor("rclone"),
            "WRAPPER": (RELAY / "service" / "serve-restic").read_text(),
            "HOLD": (RELAY / "service" / "hold-limits").read_text(),
            "HOLD_UNIT": limit_units.HOLD_UNIT,
            "HOLD_TIMER": limit_units.HOLD_TIMER,
            "CA": self.storage["ca_certificate"],
        }
        return Step("relay", values)

    def entry(
        self,
        source: str,
        *,
        identity: tuple[str, str],
        limits: Limits | None = None,
        allowed_from: Sequence[str] = (),
        generation: int = 1,
        endpoint: str | None = None,
        key: Path | None = None,
        service: ServiceName = "Minio",
    ) -> Step:
        """`service`: the storage's name in the stack file."""
        limits = limits or Limits()
        path = relay.storage_path(self.storage["bucket"], source, generation)
        public = (key or self.key(source)).with_suffix(".pub").read_text()
        uploads = SERVICES[service].uploads()
        values = {
            "SOURCE": source,
            "KEY_LINE": relay.authorized_key(source, public, allowed_from),
            "SERVE": relay.serve_conf(source, path=path, limits=limits, uploads=uploads, ca=True),
            "SESSIONS": str(limits.sessions),
            "DAILY_BYTES": relay.daily_bytes(limits),
            **self._access(
                source, identity, endpoint or self.storage["endpoint"], self.storage["region"], uploads
            ),
        }
        return Step("relay_entry", values)

    def storage_check(
        self, source: str, identity: tuple[str, str], service: ServiceName = "Minio", **changes: str
    ) -> Step:
        path, uploads = relay.storage_path(self.storage["bucket"], source, 1), SERVICES[service].uploads()
        values = {
            "SOURCE": source,
            "ENDPOINT": self.storage["endpoint"],
            "REGION": self.storage["region"],
            "BUCKET": self.storage["bucket"],
            "PREFIX": f"{source}/",
            "REPOSITORY": f"{source}/g1/",
            "ARGUMENTS": "\n".join([*relay.arguments(source, path=path, uploads=uploads, ca=True), ""]),
            "CHECKSUM": uploads.checksum.value,
            "ACCEPTED": "",
            "LOCK_MODE": self.storage["lock_mode"],
            "MINIMUM_DAYS": str(self.storage["lock_days"]),
            "CA": self.storage["ca_certificate"],
            "ACCESS_KEY_ID": identity[0],
            "SECRET_ACCESS_KEY": identity[1],
        }
        values.update(changes)
        access = self._access(source, identity, values["ENDPOINT"], values["REGION"], uploads)
        return Step("storage_check", {**access, **values})

    @staticmethod
    def _access(
        source: str, identity: tuple[str, str], endpoint: str, region: str, uploads: Uploads
    ) -> dict[str, str]:
        """rclone.conf and the file of the key that it names."""
        return {
            "RCLONE_CONF": rclone_config.s3_conf(
                uploads=uploads,
                endpoint=endpoint,
                region=region,
                credentials_file=relay.credentials_file(source),
            ),
            "CREDENTIALS": rclone_config.s3_credentials(
                uploads=uploads, access_key_id=identity[0], secret_access_key=identity[1]
            ),
        }

    # the source's side

    def key(self, name: str) -> Path:
        path = self.keys / name
        if not path.exists():
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
            subprocess.run(make, check=True, capture_output=True)
        return path

    def forced(self, source: str, *options: str) -> list[str]:
        """The command line that starts the source's forced command, from the workstation."""
        return self.ssh_argv(f"bk-{source}", self.key(source), *options)

    def forced_line(self, source: str) -> str:
        return shlex.join(self.forced(source))
