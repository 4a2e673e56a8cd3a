"""A1: a man in the middle of any SSH connection: the source's, the operator's or the engine's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from attack_drill.connections import log_in
from attack_drill.drill import Drill
from attack_drill.engine_connection import connect_by_engine
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.impostor import KINDS, Impostor, serve_on_loopback, was_reached, was_trusted
from attack_drill.options import Level
from attack_drill.scratch_folder import scratch_folder

CONFIG = "/etc/lastcopy/ssh_config"
REFUSAL = re.compile(r"host key|no matching host key type", re.IGNORECASE)
# At the log level of our configurations ssh does not report a missing type of host key.
_LOUD = ("-o", "LogLevel=VERBOSE")
_UNPINNED = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")


def play(drill: Drill) -> Iterator[RowFinding]:
    with scratch_folder(drill.victim) as folder:
        impostor = Impostor(host=drill.victim, folder=folder).make()
        yield from _the_source(drill, impostor)
        yield from _the_operator(drill, impostor)
        yield from _the_engine(drill, impostor)
    if not drill.may(Level.TRIAL):
        yield not_played("the relay's own host key replaced in the running stack", Level.TRIAL.words)
        return
    yield from _a_changed_relay(drill)


def _judged(who: str, kind: str, log: str, said: str) -> RowFinding:
    """Judge by the impostor's log: somebody connected, and did not begin to authenticate."""
    if not was_reached(log):
        return control(f"{who} reaches the impostor with {kind}", False, said or "nobody connected")
    if was_trusted(log):
        return judged(f"{who} meets {kind}", False, "it went on to log in")
    told = [line for line in said.splitlines() if REFUSAL.search(line)]
    return judged(f"{who} meets {kind}", bool(told), told[-1] if told else f"no error about the key: {said}")


def _the_source(drill: Drill, impostor: Impostor) -> Iterator[RowFinding]:
    """With the source's own ssh configuration; only the connection leads elsewhere."""
    victim = drill.victim
    works = victim.shell(f"ssh -F {CONFIG} relay </dev/null >/dev/null", seconds=30, check=False)
    yield control("the source reaches the true relay", works.code == 0, f"exit code {works.code}")
    careless = ["ssh", "-F", "/dev/null", *_UNPINNED, "-i", f"{impostor.folder}/client", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]  # fmt: skip
    for number, kind in enumerate(KINDS):
        name = f"careless{number}"
        victim.run(
            *careless,
            "-o",
            impostor.proxy_on_host(kind, name),
            "nobody@relay",
            "true",
            seconds=30,
            check=False,
        )
        yield control(
            f"a client that pins nothing trusts {kind}", was_trusted(impostor.log(name)), "as expected"
        )
        name = f"source{number}"
        line = ["ssh", "-F", CONFIG, *_LOUD, "-o", impostor.proxy_on_host(kind, name), "relay"]
        said = victim.shell(f"{shlex.join(line)} </dev/null", seconds=30, check=False).said
        yield _judged("the source", kind, impostor.log(name), said)


def _the_operator(drill: Drill, impostor: Impostor) -> Iterator[RowFinding]:
    """With the drill's own connections, which pin the host keys in the stack's outputs."""
    for host in (drill.relay, drill.victim):
        works = log_in(host)
        yield control(
            f"the operator reaches the true {host.name}", works.code == 0, f"exit code {works.code}"
        )
        for number, kind in enumerate(KINDS):
            name = f"{host.name}{number}"
            done = log_in(host, *_LOUD, "-o", impostor.proxy_from_here(kind, name))
            yield _judged(f"the operator on the way to {host.name}", kind, impostor.log(name), done.said)


def _the_engine(drill: Drill, impostor: Impostor) -> Iterator[RowFinding]:
    """`pulumi up` with this program's own step, pinned to the relay's key and, as the control, to the impostor's."""
    pinned = drill.outputs["relay"]["hostKey"]
    words = [impostor.host.words(*impostor.words(KINDS[0], name)) for name in ("engine", "fooled")]
    with serve_on_loopback(words[0]) as true_pin, serve_on_loopback(words[1]) as false_pin:
        endpoints = {"pinned": (true_pin, pinned), "fooled": (false_pin, impostor.public_key)}
        said = connect_by_engine(drill.stack, drill.folder, endpoints)
    log = impostor.log("fooled")
    yield control(
        "the engine, given the impostor's key, goes on to log in", was_trusted(log), said.out[-300:] if not was_trusted(log) else "as expected",
    )  # fmt: skip
    lines = [line.rpartition("error: ")[2] for line in said.said.splitlines() if "ssh: " in line]
    yield _judged("the engine", KINDS[0], impostor.log("engine"), "\n".join(lines) or said.said)
    yield judged("the engine's run ends as failed", said.code != 0, f"exit code {said.code}")


@contextmanager
def _another_key(drill: Drill) -> Iterator[None]:
    """Give the relay's own sshd another host key, and restore it in any case: by the relay itself if this machine loses its access."""
    relay = drill.relay
    back = "cd /etc/ssh && [ ! -e .drill-kept ] || { mv -f .drill-kept ssh_host_ed25519_key; rm -f .drill-new*; systemctl restart ssh; }"
    relay.shell(
        f"set -e; systemd-run -q --collect --unit=lastcopy-drill-key --on-active=90 /bin/sh -c {shlex.quote(back)}; cd /etc/ssh; "
        "ssh-keygen -q -t ed25519 -N '' -C '' -f .drill-new; cp -a ssh_host_ed25519_key .drill-kept; mv .drill-new ssh_host_ed25519_key; "
        "systemctl restart ssh"
    )
    try:
        yield
    finally:
        relay.shell(f"{back}; systemctl stop lastcopy-drill-key.timer 2>/dev/null || true")


_BACKUP = """
systemctl reset-failed lastcopy-backup.service 2>/dev/null; systemctl start lastcopy-backup.service >/dev/null 2>&1
systemctl stop lastcopy-backup.service; cat /var/lib/lastcopy/status.json
"""


def _a_changed_relay(drill: Drill) -> Iterator[RowFinding]:
    """The source's scheduled backup and the operator meet a relay whose host key changed."""
    result = re.compile(r'"result": "(\w+)",\s*"exit_code": (\d+)')

    def backup() -> str:
        found = result.search(drill.victim.shell(_BACKUP, seconds=180, check=False).out)
        return f"{found[1]} {found[2]}" if found else "nothing was recorded"

    since = drill.relay.run("date", "+%Y-%m-%d %H:%M:%S").out.strip()
    with _another_key(drill):
        operator = log_in(drill.relay)
        seen = backup()
        logins = drill.relay.run(
            "journalctl", "-q", "-t", "sshd-session", "-t", "sshd", "--since", since, "-o", "cat"
        ).out
    yield judged(
        "the scheduled backup meets a relay with another key", seen == "refused 68", f"status.json: {seen}"
    )
    refused = operator.code != 0 and bool(REFUSAL.search(operator.said))
    yield judged(
        "the operator meets a relay with another key",
        refused,
        "the host key is refused" if refused else operator.said,
    )
    accepted = [line for line in logins.splitlines() if line.startswith("Accepted")]
    yield judged("nobody logged in meanwhile", not accepted, accepted or "no login in the journal")
    seen = backup()
    yield control("with the true key the backup works again", seen == "success 0", f"status.json: {seen}")
