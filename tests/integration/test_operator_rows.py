"""Rows A2 and A3 where they need a whole `pulumi up`: the first run is watched, and a configuration locks the engine out.

The attack drill plays the rest of rows A1 to A7, with their sabotages: tests/drill/test_a_rows.py.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from attack_drill.proc_watch import ProcWatch
from components.host.private_key import shorten
from tests.integration.checkout import Running
from tests.sabotage import weaken
from tests.waiting import wait_until

# --- A2: no secret in argv, environment, logs, output, plain state or world-readable files ---


@pytest.fixture(scope="module")
def secrets(running: Running) -> dict[str, str]:
    """Every secret of the stack by name: passwords, storage keys, the admin's key."""
    state = json.loads(
        running.stack.run("stack", "export", "--show-secrets", "--stack", "itest", quiet=True).stdout
    )
    found = {
        resource["urn"].rsplit("::", 1)[-1]: json.loads(resource["outputs"]["result"]["plaintext"])
        for resource in state["deployment"]["resources"]
        if resource["type"] == "random:index/randomPassword:RandomPassword"
    }
    key = (running.machines.directory / "admin_ed25519").read_text()
    found["admin key"] = key.splitlines()[2]
    found["admin key, as the steps dial with it"] = shorten(key).splitlines()[1]
    assert len(found) == 6, sorted(found)  # two passwords, two storage keys, one admin key in two forms
    assert all(len(secret) >= 32 for secret in found.values())
    return found


def encoded(secret: str) -> tuple[str, str]:
    return secret, base64.b64encode(secret.encode()).decode().rstrip("=")


def holding(watch: ProcWatch, secret: str) -> list[str]:
    """What was seen that contains ``secret``, cut short so that a failing test does not print all of it."""
    return [
        seen.replace(b"\0", b" ").decode(errors="replace")[:80]
        for seen in list(watch.seen)  # a copy: the thread goes on adding to it
        if secret.encode() in seen
    ]


def test_no_secret_was_seen_in_a_command_line_or_environment(
    running: Running, secrets: dict[str, str]
) -> None:
    """Watched during the whole first `up`, on this host and, through its /proc, in every machine."""
    assert len(running.watched.seen) > 200
    assert any(b"/bin/sh\0-s\0--\0apply" in seen for seen in running.watched.seen), (
        "the watch must have seen remote steps run"
    )
    for name, secret in secrets.items():
        for form in encoded(secret):
            assert not holding(running.watched, form), name


def test_sabotage_the_watch_would_have_seen_a_secret() -> None:
    """Sabotage: a secret on a command line, and one in an environment."""
    waits = [sys.executable, "-c", "input()"]
    with ProcWatch() as watch:
        for words, environment, mark in (
            ([*waits, "in-argv-7391"], None, "in-argv-7391"),
            (waits, {"SECRET": "in-env-7391"}, "in-env-7391"),
        ):
            with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, text=True) as careless:
                wait_until(lambda seen=mark: bool(holding(watch, seen)), pause=0.05)  # type: ignore[misc]
                careless.communicate("\n")


def test_no_secret_is_in_the_output_of_up(running: Running, secrets: dict[str, str]) -> None:
    """The output of the first run, and of the killed one. The attack drill checks outputs, state, files and journals (A2)."""
    shown = running.first_up.stdout + running.first_up.stderr + running.killed_output
    assert "relay-sshd" in shown
    for name, secret in secrets.items():
        assert [form for form in encoded(secret) if form in shown] == [], name


def test_password_and_keys_belong_to_root_and_nobody_else_can_read_them(running: Running) -> None:
    for path in ("/etc/lastcopy/password", "/etc/lastcopy/id_ed25519"):
        assert running.machines.run("web1", "stat", "-c", "%a %U", path).stdout.strip() == "400 root", path


# --- A3: a wrong sshd configuration ---


@contextmanager
def edited(running: Running, file: str, old: str, new: str) -> Iterator[None]:
    path = running.root / file
    text = path.read_text()
    path.write_text(weaken(text, old, new))
    try:
        yield
    finally:
        path.write_text(text)


# The renderer's last line of comment; the text after it becomes the first setting of the drop-in.
TOP = '"# sshd takes the first value of a keyword, so this file must sort before the others.",'


def listening(running: Running) -> str:
    return running.machines.shell("relay", "ss -Hltn 'sport = :22'").stdout


def test_an_sshd_configuration_that_prevents_logins_is_rolled_back(running: Running) -> None:
    """It passes `sshd -t` but locks the admin out; the host rolls back by itself, and the next `up` works as before."""
    with (
        edited(running, "components/relay/sshd/sshd_config.py", TOP, f'{TOP} "ListenAddress 127.0.0.1",'),
        edited(running, "__main__.py", "HardenedSshdArgs(", "HardenedSshdArgs(guard_seconds=20, "),
    ):
        refused = running.up(check=False)
        assert refused.returncode != 0, refused.stdout
        wait_until(lambda: "0.0.0.0:22" in listening(running), 60, "the host did not roll back by itself", 1)
    running.up()
    assert "127.0.0.1:22" not in listening(running)
    running.preview("--expect-no-changes")


HOSTS = "self.hosts = {source: self._create_machine(source, "  # the ports of the local stack's hosts
THROUGH = """
        from dataclasses import replace
        from components.host.connection import Jump
        way = self.hosts["web1"]
        jump = Jump(address=way.address, port=way.port, user=way.user, host_key=way.host_key, private_key=self._admin_key)
        self.relay = replace(self.relay, jump=jump, dials=0)
"""


def test_the_rollback_guard_is_started_and_confirmed_through_a_jump_host(running: Running) -> None:
    """A3 with a jump host, here web1: the fresh login that confirms also comes through it, and from nowhere else."""
    line = next(
        one
        for one in (running.root / "components/sandbox/local_sandbox.py").read_text().splitlines()
        if HOSTS in one
    )
    dialled = running.machines.shell("web1", "hostname -I").stdout.split()[0]
    logins = f"journalctl --sync; journalctl -b -q -u ssh | grep -c 'Accepted publickey for admin from {dialled} ' || true"
    before = int(running.machines.shell("relay", logins).stdout)
    with (
        edited(running, "components/sandbox/local_sandbox.py", line, line + THROUGH),
        edited(running, "components/relay/sshd/sshd_config.py", TOP, f'{TOP} "# set through a jump host",'),
    ):
        running.up("--target", "urn:pulumi:itest::**::relay-sshd-con*")
    assert int(running.machines.shell("relay", logins).stdout) == before + 2
    shown = running.machines.shell(
        "relay", "cat /etc/ssh/sshd_config.d/10-lastcopy.conf; ls /var/lib/lastcopy/guard"
    ).stdout
    assert "# set through a jump host" in shown
    assert "sshd.restore" not in shown, "confirmed"
    running.up()
