"""Every step of the relay: done once, repaired after a kill at any moment, and removed without a trace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from components.settings import Limits
from tests.sabotage import weaken
from tests.scripts.relay.chain import Chain, Step
from tests.scripts.relay.conftest import IDENTITIES
from tests.waiting import wait_until

WEB1 = IDENTITIES["web1"]
OF_BEFORE = ("type", "provider", "endpoint", "region", "no_check_bucket")  # of rclone.conf
NAMES = ("sshd", "sshd confirm", "firewall", "firewall confirm", "relay", "relay_entry", "storage_check")


def step(chain: Chain, name: str) -> Step:
    return {
        "sshd": chain.sshd,
        "sshd confirm": lambda: chain.sshd("confirm"),
        "firewall": chain.firewall,
        "firewall confirm": lambda: chain.firewall("confirm"),
        "relay": chain.shared,
        "relay_entry": lambda: chain.entry("web1", identity=WEB1),
        "storage_check": lambda: chain.storage_check("web1", WEB1),
    }[name]()


@pytest.mark.parametrize("name", NAMES)
def test_a_second_run_changes_nothing_and_check_finds_no_drift(ready: Chain, name: str) -> None:
    ready.converges(step(ready, name))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_works_the_same_under_bash(ready: Chain, name: str) -> None:
    """For hosts whose /bin/sh is bash: the same text, no change, no error."""
    done = ready.root(
        "bash", "--posix", "-s", "--", "apply", "203.0.113.1 1 2 22", stdin=step(ready, name).text()
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.strip().splitlines()[-1])["changed"] == []


DRIFT = {
    "sshd": "echo '# by hand' >>/etc/ssh/sshd_config.d/10-lastcopy.conf",
    "firewall": "systemctl stop lastcopy-storage.timer lastcopy-storage.service; nft delete table inet lastcopy",  # they would repair it
    "firewall rule": "nft flush set inet lastcopy storage4",
    "relay": "chmod 777 /usr/local/lib/lastcopy/serve-restic",
    "relay_entry": "sed -i 's/restrict,//' /etc/ssh/lastcopy/keys/bk-web1",
}


@pytest.mark.parametrize("name", DRIFT)
def test_check_reports_a_manual_change_and_changes_nothing(changing: Chain, name: str) -> None:
    changing.sh(DRIFT[name])
    check = changing.run(step(changing, name.split()[0]), "check")
    assert (check.code, check.changed) == (3, [])
    assert check.drift
    again = changing.run(step(changing, name.split()[0]), "check")
    assert again.drift == check.drift


@pytest.mark.parametrize("name", ["relay", "relay_entry"])
def test_a_manual_change_is_undone(changing: Chain, name: str) -> None:
    changing.sh(DRIFT[name])
    assert changing.apply(step(changing, name)).changed
    changing.converges(step(changing, name))


def bare(chain: Chain) -> None:
    """The relay before the program was used: all steps removed, the last first."""
    for source, identity in IDENTITIES.items():
        assert chain.run(chain.entry(source, identity=identity), "remove").code == 0
    for made in (chain.shared(), chain.firewall(), chain.sshd()):
        answer = chain.run(made, "remove")
        assert answer.code == 0, answer.words


def test_removing_everything_leaves_no_trace(changing: Chain) -> None:
    bare(changing)
    left = changing.sh(
        "find /etc /var/lib /usr/local /run -xdev -name '*lastcopy*' ! -path '/run/lastcopy*' ! -path '*/systemd/timers/*';"
        " ls /etc/ssh/sshd_config.d; getent passwd | grep -E '^bk-|lastcopy' || true;"
        " nft list tables | grep lastcopy || true; getent group | grep -E '^bk-|lastcopy' || true; grep lastcopy /etc/hosts || true"
    )
    assert left == ""
    assert changing.admin("true").returncode == 0
    for source, identity in IDENTITIES.items():
        again = changing.run(changing.entry(source, identity=identity), "remove")
        assert (again.code, again.changed) == (0, [])


@pytest.mark.parametrize("name", ["sshd", "firewall", "relay", "relay_entry"])
@pytest.mark.parametrize("seconds", [0.05, 0.15, pytest.param(0.4, marks=pytest.mark.nightly)])
def test_a_killed_step_is_completed_by_the_next_run(changing: Chain, name: str, seconds: float) -> None:
    if name == "relay_entry":
        assert changing.run(step(changing, name), "remove").code == 0
    elif name == "relay":
        changing.sh(
            "rm -rf /usr/local/lib/lastcopy/serve-restic /etc/lastcopy/relay/storage-ca.pem /etc/lastcopy/relay/rclone"
        )
    else:
        assert changing.run(step(changing, name), "remove").code == 0
    changing.killed_after(step(changing, name), seconds)
    changing.apply(step(changing, name))
    if name in ("sshd", "firewall"):
        changing.apply(step(changing, f"{name} confirm"))
        assert changing.sh("ls /var/lib/lastcopy/guard") == ""
    changing.converges(step(changing, name))
    if name == "relay_entry":
        done = subprocess.run(
            changing.forced("web1"), input=b"", capture_output=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stderr


def test_a_step_of_one_source_does_not_touch_another(changing: Chain) -> None:
    seen = "find /etc/lastcopy/relay/db1 /etc/ssh/lastcopy/keys/bk-db1 -printf '%p %m %u %g %s %C@\\n' | sort; getent passwd bk-db1"
    before = changing.sh(seen)
    changing.apply(
        changing.entry(
            "web1", identity=WEB1, limits=Limits(sessions=2), generation=2, allowed_from=["203.0.113.0/24"]
        )
    )
    assert changing.run(changing.entry("web1", identity=WEB1), "remove").code == 0
    assert changing.sh(seen) == before


def test_a_sources_files_are_readable_by_its_own_account_only(ready: Chain) -> None:
    for path, mode in (("rclone.conf", "640"), ("credentials", "640"), ("serve.conf", "640"), (".", "750")):
        said = ready.sh(f"stat -c '%a %U:%G' /etc/lastcopy/relay/web1/{path}")
        assert said == f"{mode} root:bk-web1\n"
    as_db1 = [
        "setpriv",
        "--reuid=bk-db1",
        "--regid=lastcopy-sources",
        "--init-groups",
        "cat",
        "/etc/lastcopy/relay/web1/credentials",
    ]
    assert ready.root(*as_db1).returncode != 0
    assert ready.sh("getent shadow bk-web1 | cut -d: -f2") == "*\n"


@contextmanager
def open_session(chain: Chain, source: str) -> Iterator[subprocess.Popen[bytes]]:
    """A session that has been answered and stays open."""
    session = subprocess.Popen(
        chain.forced(source), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert session.stdout
        assert session.stdout.read1(16)  # type: ignore[attr-defined]
        yield session
    finally:
        session.kill()
        session.communicate(timeout=20)


def test_removal_and_a_new_key_end_open_sessions(changing: Chain) -> None:
    for change in ("key", "remove"):
        with open_session(changing, "web1") as session:
            if change == "key":
                changing.apply(changing.entry("web1", identity=WEB1, key=changing.key("web1-new")))
            else:
                assert changing.run(changing.entry("web1", identity=WEB1), "remove").code == 0
            session.wait(timeout=20)
        refused = subprocess.run(
            changing.forced("web1"), input=b"", capture_output=True, check=False, timeout=30
        )
        assert refused.returncode == 255
        changing.apply(changing.entry("web1", identity=WEB1))


def test_a_new_identity_ends_sessions_that_hold_the_old_one(changing: Chain) -> None:
    """The storage forgets the old one after this update; other changes, and other sources' sessions, do not end sessions."""
    with open_session(changing, "web1") as session, open_session(changing, "db1") as other:
        changing.apply(changing.entry("web1", identity=WEB1, limits=Limits(sessions=3)))
        assert session.poll() is None
        changing.apply(changing.entry("web1", identity=("web1next", WEB1[1])))
        session.wait(timeout=20)
        assert other.poll() is None
    changing.converges(changing.entry("web1", identity=("web1next", WEB1[1])))


def test_an_entry_of_the_former_form_is_converted_and_its_sessions_end(changing: Chain) -> None:
    """Before uploads carried a checksum, the key was in rclone.conf; afterwards it is only in its own file."""
    now = changing.entry("web1", identity=WEB1)
    kept = [line for line in now.values["RCLONE_CONF"].splitlines() if line.partition(" ")[0] in OF_BEFORE]
    key = ["env_auth = false", f"access_key_id = {WEB1[0]}", f"secret_access_key = {WEB1[1]}"]
    before = now.but(RCLONE_CONF="\n".join(["[lastcopy]", *kept, *key, ""]), CREDENTIALS="")
    changing.apply(before)
    assert changing.sh("ls /etc/lastcopy/relay/web1 | grep -c credentials || true") == "0\n"
    with open_session(changing, "web1") as session:
        changing.apply(now)
        session.wait(timeout=20)
    holding = changing.sh(f"grep -lr {WEB1[1]} /etc/lastcopy/relay")
    assert holding == "/etc/lastcopy/relay/web1/credentials\n"
    changing.converges(now)
    with open_session(changing, "web1"):
        pass  # it was answered


def test_sessions_that_a_killed_run_left_open_are_ended_by_the_next_run(changing: Chain) -> None:
    """The run was killed after the new identity was in place and before the sessions ended: it leaves a mark."""
    with open_session(changing, "web1") as session:
        changing.apply(changing.entry("web1", identity=WEB1))
        assert session.poll() is None
        changing.sh("touch /etc/lastcopy/relay/web1/old-sessions")
        assert changing.run(changing.entry("web1", identity=WEB1), "check").code == 3
        assert session.poll() is None
        changing.apply(changing.entry("web1", identity=WEB1))
        session.wait(timeout=20)
    changing.converges(changing.entry("web1", identity=WEB1))


def test_a_stolen_key_is_refused_from_elsewhere(changing: Chain) -> None:
    """S11: with `from` set, the key is accepted only from there."""
    changing.apply(changing.entry("web1", identity=WEB1, allowed_from=["192.0.2.77/32"]))
    refused = subprocess.run(changing.forced("web1"), input=b"", capture_output=True, check=False, timeout=30)
    assert refused.returncode == 255
    mine = f"{changing.box.plan.workstation}/32"
    changing.apply(changing.entry("web1", identity=WEB1, allowed_from=["192.0.2.77/32", mine]))
    assert (
        subprocess.run(
            changing.forced("web1"), input=b"", capture_output=True, check=False, timeout=30
        ).returncode
        == 0
    )


def test_an_unrelated_account_of_the_same_name_is_refused_and_not_changed(changing: Chain) -> None:
    changing.sh("useradd --system bk-foreign")
    try:
        refused = changing.run(changing.entry("foreign", identity=WEB1))
        assert refused.code == 1
        assert "account bk-foreign exists on this host and was not made by this program" in refused.words
        assert "fix:" in refused.words
    finally:
        changing.sh("userdel bk-foreign")


@pytest.mark.parametrize("name", ["rclone", "debian"])
def test_an_rclone_below_the_minimum_version_is_refused_with_the_advisory(changing: Chain, name: str) -> None:
    """A4 at `up`: 1.75.9, and 1.60.1 as Debian ships it."""
    version = {"rclone": "v1.75.9", "debian": "v1.60.1-DEV"}[name]
    changing.sh(
        f"printf '#!/bin/sh\\necho rclone {version}\\n' >/usr/local/bin/old-rclone; chmod 755 /usr/local/bin/old-rclone"
    )
    refused = changing.run(changing.shared().but(RCLONE="/usr/local/bin/old-rclone"))
    assert refused.code == 1
    assert "GHSA-45pq-889g-fcgh" in refused.words
    assert "9925" in refused.words


def test_an_rclone_that_others_can_write_is_refused(changing: Chain) -> None:
    changing.sh("mkdir -p /opt/open && cp /usr/local/bin/rclone /opt/open/ && chmod 777 /opt/open")
    refused = changing.run(changing.shared().but(RCLONE="/opt/open/rclone"))
    assert refused.code == 1
    assert "/opt/open is writable by others than root" in refused.words
    changing.sh("rm -r /opt/open")


def test_an_rclone_replaced_later_by_an_older_one_is_not_started(changing: Chain) -> None:
    """A4 at every session: the wrapper notices that the file has changed, asks for its version, and refuses."""
    changing.sh("mkdir -p /opt/x && cp /usr/local/bin/rclone /opt/x/rclone")
    changing.apply(changing.shared().but(RCLONE="/opt/x/rclone"))
    assert (
        subprocess.run(changing.forced("web1"), input=b"", capture_output=True, check=False).returncode == 0
    )
    changing.sh(
        "printf '#!/bin/sh\\necho rclone v1.60.1\\n' >/opt/x/new && chmod 755 /opt/x/new && mv /opt/x/new /opt/x/rclone"
    )
    refused = subprocess.run(changing.forced("web1"), input=b"", capture_output=True, check=False)
    assert refused.returncode == 64
    assert b"relay: this account is not set up correctly" in refused.stderr
    assert b"rclone" not in refused.stderr
    assert "GHSA-45pq-889g-fcgh" in changing.sh(
        "journalctl --sync; journalctl --no-pager -t lastcopy-web1 -n 3"
    )
    # Sabotage: if the new file is recorded as known, the old rclone passes, so it is this check that refused it.
    changing.sh(
        "sed -i \"s|^seen .*|seen $(stat -Lc '%d:%i:%s:%Y:%Z' /opt/x/rclone)|\" /etc/lastcopy/relay/rclone"
    )
    fooled = subprocess.run(changing.forced("web1"), input=b"", capture_output=True, check=False)
    assert fooled.returncode != 64
    changing.sh("rm -r /opt/x")


def test_the_session_limit_answers_busy_and_does_not_affect_other_sources(changing: Chain) -> None:
    """S10: slots are per source, and the end of a session frees its slot."""
    changing.apply(changing.entry("web1", identity=WEB1, limits=Limits(sessions=2)))
    held = [
        subprocess.Popen(
            changing.forced("web1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    try:
        for session in held:
            assert session.stdout
            assert session.stdout.read1(16)  # type: ignore[attr-defined]
        third = subprocess.run(
            changing.forced("web1"), input=b"", capture_output=True, check=False, timeout=30
        )
        assert third.returncode == 75
        assert b"relay: busy" in third.stderr
        assert (
            subprocess.run(
                changing.forced("db1"), input=b"", capture_output=True, check=False, timeout=30
            ).returncode
            == 0
        )
    finally:
        for session in held:
            session.kill()  # the client dies without a goodbye
            session.communicate()
    web1 = changing.forced("web1")
    # Their processes on the relay end a moment later.
    wait_until(
        lambda: subprocess.run(web1, input=b"", capture_output=True, check=False, timeout=60).returncode == 0,
        60,
    )


def test_limits_are_in_force_in_the_running_process(changing: Chain) -> None:
    changing.apply(
        changing.entry("web1", identity=WEB1, limits=Limits(processes=300, memoryMiB=700, openFiles=333))
    )
    session = subprocess.Popen(
        changing.forced("web1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert session.stdout
        assert session.stdout.read1(16)  # type: ignore[attr-defined]
        seen = changing.sh(
            'for p in /proc/[0-9]*; do if [ "$(stat -c %U $p)" = bk-web1 ] && [ "$(cat $p/comm)" = rclone ]; then cat $p/limits $p/status; fi; done'
        )
    finally:
        session.communicate(timeout=20)
    rows = {line[:26].strip(): line[26:].split()[:2] for line in seen.splitlines() if line.startswith("Max ")}
    assert rows["Max processes"] == ["300", "300"]
    assert rows["Max open files"] == ["333", "333"]
    assert rows["Max data size"] == [str(700 << 20)] * 2
    assert rows["Max file size"] == ["0", "0"]
    assert rows["Max core file size"] == ["0", "0"]
    assert "NoNewPrivs:\t1" in seen
    assert "CapEff:\t0000000000000000" in seen


def test_a_session_ends_at_its_time_limit(changing: Chain) -> None:
    """The limit is in hours; here the wrapper's unit is one second."""
    shared = changing.shared()
    wrapper = weaken(shared.values["WRAPPER"], '"${hours}h"', '"${hours}s"')
    assert wrapper != shared.values["WRAPPER"]
    changing.apply(shared.but(WRAPPER=wrapper))
    changing.apply(changing.entry("web1", identity=WEB1, limits=Limits(hours=2)))
    session = subprocess.Popen(
        changing.forced("web1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, words = session.communicate(timeout=20) if session.wait(20) else (b"", b"")
    assert session.returncode == 75
    assert b"time limit" in words
