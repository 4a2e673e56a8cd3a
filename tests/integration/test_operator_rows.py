"""Rows A1 to A4 on the running stack, each with the sabotage that its proof must notice."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.drill.watch import ProcWatch
from tests.integration.checkout import Running

MACHINES = ("relay", "web1", "db1")


def backup(running: Running) -> dict[str, object]:
    """Start web1's backup service once, do not wait for its retries, and return what it recorded."""
    running.machines.shell(
        "web1",
        "systemctl reset-failed lastcopy-backup.service; systemctl start lastcopy-backup.service || true",
    )
    status: dict[str, object] = json.loads(
        running.machines.run("web1", "cat", "/var/lib/lastcopy/status.json").stdout
    )
    running.machines.shell("web1", "systemctl stop lastcopy-backup.service")
    return status


# --- A1: host keys are pinned from the first connection ---


@contextmanager
def another_host_key_on_the_relay(running: Running) -> Iterator[None]:
    """What a man in the middle looks like to whoever dials."""
    running.machines.shell(
        "relay",
        "cd /etc/ssh && mkdir -p /root/kept && cp -a ssh_host_ed25519_key ssh_host_ed25519_key.pub /root/kept/ && rm ssh_host_ed25519_key* && "
        "ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key && systemctl restart ssh",
    )
    try:
        yield
    finally:
        running.machines.shell(
            "relay", "cp -a /root/kept/* /etc/ssh/ && rm -r /root/kept && systemctl restart ssh"
        )


def test_a_changed_relay_key_stops_the_operators_run_and_the_sources_backup(running: Running) -> None:
    text = running.stack.file.read_text()
    running.configure(lambda config: config["lastcopy:sources"][0].update(limits={"sessions": 5}))
    try:
        with another_host_key_on_the_relay(running):
            refused = running.up(check=False)
            assert refused.returncode != 0
            assert "host key" in refused.stdout.lower()
            status = backup(running)
            assert status["result"] != "success"
            assert "host key" in str(status["message"])
        running.up()
        assert backup(running)["result"] == "success"
    finally:
        running.stack.file.write_text(text)
        running.up()


def test_without_the_pin_the_same_source_would_talk_to_the_wrong_relay(running: Running) -> None:
    """Sabotage of A1: the pin is what refuses."""
    running.machines.shell(
        "web1",
        "cp -a /etc/lastcopy/ssh_config /root/ssh_config.kept && "
        "sed -i -E 's/^( *)StrictHostKeyChecking.*/\\1StrictHostKeyChecking no/; s#^( *)(User|Global)KnownHostsFile.*#\\1\\2KnownHostsFile /dev/null#' "
        "/etc/lastcopy/ssh_config",
    )
    try:
        with another_host_key_on_the_relay(running):
            assert backup(running)["result"] == "success"
    finally:
        running.machines.shell(
            "web1", "cp -a /root/ssh_config.kept /etc/lastcopy/ssh_config && rm /root/ssh_config.kept"
        )


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
    found["admin key"] = (running.machines.directory / "admin_ed25519").read_text().splitlines()[2]
    assert len(found) == 5, sorted(found)  # two passwords, two storage keys, one admin key
    assert all(len(secret) >= 32 for secret in found.values())
    return found


def encoded(secret: str) -> tuple[str, str]:
    return secret, base64.b64encode(secret.encode()).decode().rstrip("=")


def readable_by_others(running: Running, secret: str) -> list[str]:
    """Files on the hosts that hold the secret and that any account may read."""
    found = []
    for machine in MACHINES:
        done = running.machines.run(
            machine,
            "sh",
            "-c",
            "umask 077; cat >/run/pattern; find / -xdev -type f -perm -004 -size -4M -not -path '/proc/*' -not -path '/sys/*' "
            "-exec grep -lF -f /run/pattern {} + ; "
            "find /run /tmp -type f -perm -004 -exec grep -lF -f /run/pattern {} +; rm /run/pattern",
            stdin="\n".join(encoded(secret)) + "\n",
            check=False,
        )
        found += [f"{machine}:{path}" for path in done.stdout.split()]
    return found


def in_journals(running: Running, secret: str) -> list[str]:
    return [
        machine
        for machine in MACHINES
        if secret in running.machines.run(machine, "journalctl", "--no-pager", "-o", "cat").stdout
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
            assert not running.watched.holding(form), name


def test_the_watch_would_have_seen_one() -> None:
    """Sabotage: a secret on a command line, and one in an environment, for a tenth of a second."""
    with ProcWatch() as watch:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)", "in-argv-7391"], check=True)
        subprocess.run(
            [sys.executable, "-c", "import time; time.sleep(0.2)"], env={"SECRET": "in-env-7391"}, check=True
        )
    assert watch.holding("in-argv-7391")
    assert watch.holding("in-env-7391")


def test_no_secret_stands_in_output_plain_state_or_plain_outputs(
    running: Running, secrets: dict[str, str]
) -> None:
    shown = {
        "output of up": running.first_up.stdout + running.first_up.stderr + running.killed_output,
        "state": running.stack.run("stack", "export", "--stack", "itest", quiet=True).stdout,
        "stack outputs": running.stack.run(
            "stack", "output", "--json", "--stack", "itest", quiet=True
        ).stdout,
        "preview with diff": running.preview("--diff").stdout,
        "stack file": running.stack.file.read_text(),
        "state files": "".join(
            path.read_text(errors="replace")
            for path in (running.root / ".local" / "state").rglob("*")
            if path.is_file()
        ),
    }
    for name, secret in secrets.items():
        for form in encoded(secret):
            assert [where for where, text in shown.items() if form in text] == [], name


def test_no_secret_stands_in_a_world_readable_file_or_a_journal(
    running: Running, secrets: dict[str, str]
) -> None:
    for name, secret in secrets.items():
        assert readable_by_others(running, secret) == [], name
        assert in_journals(running, secret) == [], name


def test_the_file_and_journal_scan_finds_a_planted_secret(running: Running) -> None:
    """Sabotage of the row above."""
    secret = "planted-secret-of-more-than-32-characters"
    running.machines.shell(
        "db1",
        f"echo {secret} >/etc/careless; chmod 644 /etc/careless; echo {secret} | systemd-cat; sleep 0.5",
    )
    try:
        assert readable_by_others(running, secret) == ["db1:/etc/careless"]
        assert in_journals(running, secret) == ["db1"]
    finally:
        running.machines.shell("db1", "rm /etc/careless")


def test_password_and_keys_are_owned_by_root_and_closed(running: Running) -> None:
    for path in ("/etc/lastcopy/password", "/etc/lastcopy/id_ed25519"):
        assert running.machines.run("web1", "stat", "-c", "%a %U", path).stdout.strip() == "400 root", path


# --- A3: a wrong sshd configuration ---


@contextmanager
def edited(running: Running, file: str, old: str, new: str) -> Iterator[None]:
    path = running.root / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new))
    try:
        yield
    finally:
        path.write_text(text)


# The renderer's last line of comment; what is put after it becomes the first setting of the drop-in.
TOP = '"# sshd takes the first value of a keyword, so this file must sort before the others.",'


def listening(running: Running) -> str:
    return running.machines.shell("relay", "ss -Hltn 'sport = :22'").stdout


def test_an_sshd_configuration_that_cannot_be_dialled_is_rolled_back(running: Running) -> None:
    """It is valid by `sshd -t` and shuts the admin out; the host goes back by itself, and the next `up` is as before."""
    with (
        edited(running, "components/render/sshd.py", TOP, f'{TOP} "ListenAddress 127.0.0.1",'),
        edited(running, "__main__.py", "HardenedSshdArgs(", "HardenedSshdArgs(guard_seconds=20, "),
    ):
        refused = running.up(check=False)
        assert refused.returncode != 0, refused.stdout
        deadline = time.monotonic() + 60
        while "0.0.0.0:22" not in listening(running):
            assert time.monotonic() < deadline, "the host did not go back by itself"
            time.sleep(1)
    running.up()
    assert "127.0.0.1:22" not in listening(running)
    running.preview("--expect-no-changes")


def test_a_configuration_that_sshd_rejects_never_goes_live(running: Running) -> None:
    drop_in = "cat /etc/ssh/sshd_config.d/10-lastcopy.conf"
    before = running.machines.shell("relay", drop_in).stdout
    with edited(running, "components/render/sshd.py", TOP, f'{TOP} "NoSuchKeyword yes",'):
        refused = running.up(check=False)
        assert refused.returncode != 0
        assert "NoSuchKeyword" in refused.stdout
    assert running.machines.shell("relay", drop_in).stdout == before
    running.up()


def test_without_the_guard_the_same_configuration_would_lock_the_admin_out(running: Running) -> None:
    """Sabotage of A3: with the rollback disarmed, the relay stays out of reach."""
    with (
        edited(running, "components/render/sshd.py", TOP, f'{TOP} "ListenAddress 127.0.0.1",'),
        edited(running, "components/scripts/lib.sh", "guard_arm() {", "guard_arm() { return 0;"),
    ):
        assert running.up(check=False).returncode != 0
        time.sleep(5)
        assert "127.0.0.1:22" in listening(running)
        assert "0.0.0.0:22" not in listening(running)
    running.machines.shell(
        "relay", "sed -i /ListenAddress/d /etc/ssh/sshd_config.d/10-lastcopy.conf; systemctl restart ssh"
    )
    running.up()


# --- A4: weak or old parts ---


@contextmanager
def old_tool(running: Running, machine: str, tool: str, version: str) -> Iterator[None]:
    """The tool as an old distribution ships it, in the place where the step looks."""
    path = f"/usr/local/bin/{tool}"
    running.machines.shell(
        machine,
        f"printf '#!/bin/sh\\necho \"{version}\"\\n' >/run/old-{tool} && chmod 755 /run/old-{tool} && mount --bind /run/old-{tool} {path}",
    )
    try:
        yield
    finally:
        running.machines.shell(machine, f"umount {path}")


def test_an_old_rclone_is_refused_by_the_step_and_by_the_running_relay(running: Running) -> None:
    with old_tool(running, "relay", "rclone", "rclone v1.60.1-DEV"):
        status = backup(running)
        assert status["result"] != "success"
        with edited(running, "components/scripts/host_tool.sh", "step_apply() {", "step_apply() { # again"):
            refused = running.up(check=False)
        assert refused.returncode != 0
        assert "GHSA-45pq-889g-fcgh" in refused.stdout
    running.up()
    assert backup(running)["result"] == "success"


def test_an_old_restic_is_refused_on_the_source(running: Running) -> None:
    with old_tool(running, "web1", "restic", "restic 0.14.0 compiled with go1.19.8 on linux/amd64"):
        done = running.machines.run("web1", "restic-backup", "snapshots", check=False)
        assert done.returncode != 0
        assert "0.19.1" in done.stderr
    assert running.machines.run("web1", "restic-backup", "snapshots").returncode == 0
