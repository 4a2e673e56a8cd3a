"""A fleet: the program with many sources and the real engine, against hosts that only answer.

An sshd on a loopback address of its own is each host. Its forced command reads what a step sends and answers with facts; nothing is changed
anywhere. So what is measured is the workstation's part alone: engine, language host, program, plugins, and their connections.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import toolchain
from bench.farm import BenchError
from bench.goals import Goal
from ops.stack import LocalStack
from tests.conformance.sshd import make_key
from tests.integration.checkout import copy_checkout

COUNTS = (10, 30)
STACK = "fleet"
_PORT = 2022
_PARTS = ("pulumi", "pulumi-language-python", "pulumi-resource-command", "pulumi-resource-random")
_SAMPLE_SECONDS = 0.2
_FACTS: Mapping[str, Mapping[str, str]] = {
    "host_tool": {"version": "0.19.1", "path": "/usr/local/bin/restic"},
    "source_key": {
        "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
    },
    "repository": {"repository_id": "ab" * 32, "key_id": "cd" * 32, "generation": "1"},
    "schedule": {"zone": "Etc/UTC"},
    "relay_entry": {"account": "bk-source00"},
    "storage_check": {"lock": "COMPLIANCE 30 days"},
    "relay": {"rclone": "1.76.0"},
    "sshd": {"openssh": "10.0", "debian": "13"},
}
# Which script it was is in the words with which a step would refuse; what else arrives is an archive of programs.
_ANSWER = r"""#!/bin/sh
script=$(tr -d '\0' | sed -n 's/.*error: \([a-z_]*\)\.sh on host.*/\1/p')
case $script in
{cases}
  *) echo '{{"changed": [], "facts": {{}}}}' ;;
esac
"""
_SSHD = """\
ListenAddress {address}
Port {port}
PidFile none
HostKey {key}
AuthorizedKeysFile {authorized}
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """One run of `pulumi`. ``memory``: the most that it and all its processes had at one moment, shared pages counted once (PSS), in bytes,
    and ``of_engine`` the engine's own part of that. ``cpu``: seconds of all its processes."""

    seconds: float
    cpu: float
    memory: int
    of_engine: int


@dataclass(frozen=True, kw_only=True)
class FleetRow:
    """A stack of so many sources from nothing, and its preview afterwards. ``state``: bytes of its export that each source takes."""

    sources: int
    up: EngineRun
    preview: EngineRun
    state: int


def measure(counts: Sequence[int], said: Callable[[str], None]) -> list[FleetRow]:
    """Each count on a new stack."""
    if os.geteuid() != 0:
        raise BenchError("the fleet's hosts are logged into as root; fix: run it as root")
    rows = []
    for count in counts:
        with _fleet(count) as fleet:
            up = fleet.run("up", "--yes", "--skip-preview")
            said(f"{count} sources from nothing: {up.seconds:.1f} s")
            preview = fleet.run("preview", "--expect-no-changes")
            rows.append(FleetRow(sources=count, up=up, preview=preview, state=fleet.state_of_a_source()))
    return rows


def goals(row: FleetRow) -> list[Goal]:
    """What a fleet of that many sources may take."""
    return [
        Goal(f"{row.sources} sources from nothing", row.up.seconds, 90),
        Goal("… memory of all processes", row.up.memory / 1e6, 500, "MB"),
        Goal("state per source", row.state / 1e3, 50, "KB"),
    ]


def parts() -> dict[str, str]:
    """Engine, language host and plugins that took part, with their origin."""
    return {name: f"{tool.version} ({tool.origin})" for name, tool in toolchain.ensure(*_PARTS).items()}


@dataclass(frozen=True)
class _Fleet:
    stack: LocalStack

    def run(self, *words: str) -> EngineRun:
        """Run the engine, and watch the memory of its processes meanwhile."""
        with tempfile.TemporaryFile() as said:
            began = time.monotonic()
            process = subprocess.Popen(
                ["pulumi", *words, *self.stack.named, "--non-interactive", "--color=never"],
                cwd=self.stack.root,
                env=self.stack.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            with _watched(process.pid) as watch:
                _, status, used = os.wait4(process.pid, 0)
                seconds = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                said.seek(0)
                raise BenchError(f"pulumi {words[0]} failed:\n{said.read().decode(errors='replace')[-3000:]}")
        return EngineRun(
            seconds=seconds,
            cpu=used.ru_utime + used.ru_stime,
            memory=sum(watch.most.values()),
            of_engine=watch.most.get(process.pid, 0),
        )

    def state_of_a_source(self) -> int:
        """Bytes of the largest source's resources in `pulumi stack export`, as it prints them."""
        state = json.loads(self.stack.run("stack", "export", *self.stack.named, quiet=True).stdout)
        sizes: dict[str, int] = {}
        for one in state["deployment"]["resources"]:
            name = one["urn"].rsplit("::", 1)[-1].split("-")[0]
            sizes[name] = sizes.get(name, 0) + len(json.dumps(one))
        return max(size for name, size in sizes.items() if name.startswith("source"))


@dataclass
class Watch:
    """The memory of a process and its descendants, by process, at the moment when it was most."""

    most: dict[int, int] = field(default_factory=dict)

    def look(self, root: int) -> None:
        now = {pid: size for pid in _descendants(root) if (size := _pss(pid))}
        if sum(now.values()) > sum(self.most.values()):
            self.most = now


@contextmanager
def _watched(root: int) -> Iterator[Watch]:
    watch, ended = Watch(), threading.Event()

    def look() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            watch.look(root)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()


def _descendants(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found, more = {root}, {root}
    while more:
        more = {pid for pid, parent in parents.items() if parent in more}
        found |= more
    return found


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):  # it ended
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


@dataclass(frozen=True)
class _Host:
    address: str
    key: str

    def settings(self) -> dict[str, Any]:
        return {"address": self.address, "port": _PORT, "hostKey": self.key}


@contextmanager
def _fleet(count: int) -> Iterator[_Fleet]:
    """A copy of the checkout with a stack of so many sources; nothing of it is left afterwards."""
    work = Path(tempfile.mkdtemp(prefix="lastcopy-fleet-", dir="/var/tmp"))
    try:
        admin = make_key(work / "admin")
        with _hosts(work, admin, count + 1) as (relay, *sources):
            checkout = work / "checkout"
            checkout.mkdir()
            copy_checkout(checkout)
            toolchain.ensure()
            stack = LocalStack(checkout, STACK)
            stack.file.write_text(yaml.safe_dump({"config": _config(work / "admin", relay, sources)}))
            stack.create(stack.file)
            _set_secrets(stack, count)
            yield _Fleet(stack)
    finally:
        shutil.rmtree(work)


@contextmanager
def _hosts(work: Path, admin: str, count: int) -> Iterator[list[_Host]]:
    answer = work / "answer"
    cases = (f"  {script}) echo {shlex.quote(_line(facts))} ;;" for script, facts in _FACTS.items())
    answer.write_text(_ANSWER.format(cases="\n".join(cases)))
    answer.chmod(0o755)
    (work / "authorized_keys").write_text(f'restrict,command="{answer}" {admin}\n')
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    started: list[subprocess.Popen[bytes]] = []
    try:
        hosts = []
        for number in range(count):
            address, key = f"127.0.1.{number + 1}", work / f"host{number}"
            kind, public, *_ = make_key(key).split()
            hosts.append(_Host(address, f"{kind} {public}"))
            configuration = work / f"sshd{number}"
            configuration.write_text(
                _SSHD.format(address=address, port=_PORT, key=key, authorized=work / "authorized_keys")
            )
            started.append(
                subprocess.Popen(
                    ["/usr/sbin/sshd", "-D", "-e", "-f", configuration],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        yield hosts
    finally:
        for one in started:
            one.terminate()
        for one in started:
            one.wait(10)


def _line(facts: Mapping[str, str]) -> str:
    return json.dumps({"changed": ["file /etc/lastcopy/example"], "facts": facts})


def _config(key: Path, relay: _Host, sources: Sequence[_Host]) -> dict[str, Any]:
    return {
        "lastcopy:environment": "test",
        "lastcopy:protect": False,
        "lastcopy:admin": {"user": "root", "privateKeyFile": str(key)},
        "lastcopy:intermediate": {
            "existing": {**relay.settings(), "sshPort": 22, "sourcesReachItAt": "192.0.2.1"}
        },
        "lastcopy:storage": {
            "s3": {"endpoint": "https://s3.example.com", "region": "us-east-1", "bucket": "example-backups"}
        },
        "lastcopy:sources": [
            {
                "name": f"source{number:02}",
                "host": {**host.settings(), "user": "root"},
                "paths": ["/etc", "/srv"],
                "identity": {"accessKeyId": f"EXAMPLE-SOURCE{number:02}"},
            }
            for number, host in enumerate(sources)
        ],
    }


def _set_secrets(stack: LocalStack, count: int) -> None:
    """Storage keys of no storage: random texts of the length that AWS's have."""
    words = []
    for number in range(count):
        words += ["--secret", f"lastcopy:sources[{number}].identity.secretAccessKey={os.urandom(20).hex()}"]
    stack.run("config", "set-all", *stack.named, "--path", *words, quiet=True)
