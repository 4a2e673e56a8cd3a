"""Refusals and outages are told apart: a refusal waits for a person, an outage is retried."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.scripts.source.bed import Bed
from tests.waiting import wait_until

RETRIED, STOPPED = "activating/auto-restart", "failed/failed"
STORE = "/srv/store/web1-1"
# The right to write is the last one that restic takes from a lock's file.
LOCKED = f"for i in $(seq 600); do if find {STORE}/locks -type f ! -perm /222 | grep -q .; then break; fi; sleep 0.1; done"
NEW_HOST_KEY = (
    "mkdir -p /srv/keys && cp -a /etc/ssh/ssh_host_ed25519_key* /srv/keys/ && rm /etc/ssh/ssh_host_ed25519_key*"
    " && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && systemctl restart ssh"
)
DROP = "nft add table inet t && nft 'add chain inet t c {type filter hook input priority 0;}'"


@dataclass(frozen=True)
class Case:
    """What is broken, how it is repaired, and how the run must classify it."""

    breaks: str
    mends: str
    state: str
    result: str
    code: int
    says: str


CASES = {
    "relay-not-listening": Case(
        "systemctl stop ssh.service ssh.socket 2>/dev/null; true", "systemctl start ssh", RETRIED, "outage", 74,
        "the relay was not reached",
    ),
    "relay-silent": Case(
        f"sed -i 's/ConnectTimeout .*/ConnectTimeout 3/' /etc/lastcopy/ssh_config && {DROP}"
        " && nft add rule inet t c tcp dport 22 drop", "nft delete table inet t", RETRIED, "outage", 74,
        "the relay was not reached",
    ),
    "name-not-resolved": Case(
        "sed -i 's/HostName .*/HostName relay.invalid/' /etc/lastcopy/ssh_config", "true", RETRIED, "outage", 74,
        "the relay was not reached",
    ),
    "no-route": Case(
        "sed -i 's/HostName .*/HostName 203.0.113.9/' /etc/lastcopy/ssh_config", "true", RETRIED, "outage", 74,
        "the relay was not reached",
    ),
    "busy": Case(
        "echo busy >/srv/relay/mode", "true", RETRIED, "outage", 75, "the relay is busy",
    ),
    "limit-of-uploads": Case(
        "echo spent >/srv/relay/mode", "true", RETRIED, "outage", 75, "has sent as much today as it may",
    ),
    "storage-down": Case(
        "echo storage-down >/srv/relay/mode", "true", RETRIED, "outage", 69, "cannot reach its storage",
    ),
    "locked-by-a-prune": Case(
        "head -c 300000 /dev/urandom >/data/random && restic-backup backup /data >/dev/null;"
        f" cp -a {STORE} /srv/copy;"
        f" restic --no-cache -r {STORE} --password-file /etc/lastcopy/password check --read-data"
        f" --limit-download 5 >/dev/null 2>&1 & {LOCKED}; chmod -R a+rwX /srv/store",
        f"pkill -x restic; rm -rf {STORE} /srv/copy", RETRIED, "outage", 75, "locked",
    ),
    "disk-full": Case(
        "head -c 3000000 /dev/urandom >/data/random; mkdir -p /var/cache/lastcopy/tmp;"
        " mount -t tmpfs -o size=1m tmpfs /var/cache/lastcopy/tmp",
        "umount /var/cache/lastcopy/tmp", RETRIED, "outage", 1, "disk is full",
    ),
    "host-key-changed": Case(
        NEW_HOST_KEY, "cp -a /srv/keys/. /etc/ssh/ && systemctl restart ssh", STOPPED, "refused", 68,
        "host key is not the pinned one",
    ),
    "key-not-accepted": Case(
        ": >/home/bk-web1/.ssh/authorized_keys", "true", STOPPED, "refused", 67, "does not accept this host's key",
    ),
    "setup": Case(
        "echo setup >/srv/relay/mode", "true", STOPPED, "refused", 64, "setup for this source is incomplete",
    ),
    "wrong-password": Case(
        "echo other >/root/other && install -m 400 /root/other /etc/lastcopy/password", "true", STOPPED, "refused",
        65, "does not open the repository",
    ),
    "repository-missing": Case(
        f"rm -rf {STORE}", "true", STOPPED, "refused", 66, "may be hidden, not lost",
    ),
    "own-key-unreadable": Case(
        "chmod 644 /etc/lastcopy/id_ed25519", "true", STOPPED, "refused", 71, "ssh cannot use",
    ),
    "own-key-missing": Case(
        "rm /etc/lastcopy/id_ed25519", "true", STOPPED, "refused", 71, "ssh cannot use",
    ),
    "ssh-config-broken": Case(
        "echo Nonsense >>/etc/lastcopy/ssh_config", "true", STOPPED, "refused", 71, "ssh cannot use",
    ),
    "no-restic-conf": Case(
        "rm /etc/lastcopy/restic.conf", "true", STOPPED, "refused", 71, "restic.conf is missing",
    ),
    "no-paths-file": Case(
        "rm /etc/lastcopy/paths", "true", STOPPED, "refused", 71, "paths is missing",
    ),
    "no-sentences": Case(
        "rm /usr/local/lib/lastcopy/backup-failures", "true", STOPPED, "refused", 71, "backup-failures is missing",
    ),
    "no-path-exists": Case(
        "rm -rf /data", "true", STOPPED, "refused", 71, "/data does not exist",
    ),
    "malformed-exclude": Case(
        "echo 'Büro[' >>/etc/lastcopy/excludes", "true", STOPPED, "refused", 71, "invalid pattern(s) provided: Büro[",
    ),
    "unknown-option": Case(
        "sed -i 's/ --json / --json --no-such-option /' /usr/local/lib/lastcopy/run-backup", "true", STOPPED, "refused", 71,
        "unknown flag: --no-such-option",
    ),
    "old-restic": Case(
        "rm /usr/local/bin/restic", "true", STOPPED, "refused", 71, "no restic at or above 0.19.1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_retried_and_what_waits_for_a_person(bed: Bed, case: Case) -> None:
    bed.machine.ok(case.breaks)
    try:
        run = bed.back_up()
    finally:
        bed.machine.run(case.mends)
    assert (run.state, run.status["result"], run.status["exit_code"]) == (
        case.state,
        case.result,
        case.code,
    ), run
    assert case.says in run.status["message"]
    assert case.says in run.text
    assert run.status["consecutive_failures"] == 1


def test_sabotage_a_unit_that_retries_everything_is_caught(bed: Bed) -> None:
    unit = "/etc/systemd/system/lastcopy-backup.service"
    bed.machine.ok(f"sed -i '/^RestartPreventExitStatus/d' {unit} && systemctl daemon-reload")
    with pytest.raises(AssertionError):
        test_what_is_retried_and_what_waits_for_a_person(bed, CASES["key-not-accepted"])


def quickly(bed: Bed) -> None:
    drop_in = "[Service]\nRestartSec=200ms\nRestartSteps=0\nRestartMaxDelaySec=infinity\n"
    bed.machine.write("/etc/systemd/system/lastcopy-backup.service.d/zz-test.conf", drop_in)
    bed.machine.ok("systemctl daemon-reload")


def wait_for(bed: Bed, state: str, seconds: float = 60) -> None:
    show = "systemctl show -p ActiveState --value lastcopy-backup.service"
    wait_until(lambda: bed.machine.ok(show).strip() == state, seconds, lambda: str(bed.status()))


def test_after_an_outage_the_next_try_succeeds_by_itself(bed: Bed) -> None:
    quickly(bed)
    bed.relay.fails_with("storage-down")
    assert bed.machine.run("systemctl start lastcopy-backup.service").code != 0
    time.sleep(2)
    assert bed.snapshots_at_rest() == 0
    bed.relay.works()
    wait_for(bed, "inactive")
    assert bed.status()["result"] == "success"
    assert len(bed.snapshots()) == 1


def test_a_long_outage_ends_in_a_failed_unit_until_the_timer_fires_again(bed: Bed) -> None:
    quickly(bed)
    bed.relay.fails_with("busy")
    assert bed.machine.run("systemctl start lastcopy-backup.service").code != 0
    wait_for(bed, "failed")
    assert bed.machine.ok("systemctl show -p NRestarts --value lastcopy-backup.service").strip() == "8"
    status = bed.status()
    assert status["consecutive_failures"] == 9
    assert "gave up after 9 tries, until the timer's next turn" in status["message"]
    assert status["exit_code"] == 75
    bed.relay.works()
    assert bed.back_up().status["result"] == "success"


def test_a_connection_cut_in_the_middle_is_an_outage_and_the_next_run_goes_on(bed: Bed) -> None:
    bed.machine.ok("head -c 150M /dev/urandom >/data/random")
    bed.relay.fails_with("cut")
    run = bed.back_up()
    assert (run.state, run.status["result"], run.status["exit_code"]) == (RETRIED, "outage", 74), run
    bed.relay.works()
    assert bed.back_up().status["result"] == "success"
    bed.restic("unlock")
    assert "no errors were found" in bed.restic("check --read-data")


def test_a_lock_that_a_prune_left_behind_does_not_stop_backups_forever(bed: Bed) -> None:
    lock = (
        f"restic --no-cache -r {STORE} --password-file /etc/lastcopy/password check --read-data --limit-download 5"
        f" >/dev/null 2>&1 & {LOCKED}; pkill -KILL -x restic; chmod -R a+rwX /srv/store; ls {STORE}/locks/*"
    )
    bed.machine.ok(
        f"head -c 300000 /dev/urandom >/data/random && restic-backup backup /data >/dev/null; {lock}"
    )
    assert bed.back_up().status["exit_code"] == 75
    # The killed process may take a moment to disappear; until then its lock is rightly taken for that of a live one.
    assert "success" in [bed.back_up().status["result"] for _ in range(3)]


def test_a_file_name_cannot_pose_as_a_refusal(bed: Bed) -> None:
    """Anybody's file may contain ssh's messages; only what ssh and restic say themselves decides."""
    fake = (
        '#!/bin/sh\n[ "$1" = version ] && exec /opt/restic version\n'
        'echo \'{"message_type":"error","error":{"message":"open: Host key verification failed"},"item":"x"}\' >&2\n'
        "echo 'Fatal: something else' >&2\nexit 1\n"
    )
    bed.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", fake, "755")
    run = bed.back_up()
    assert (run.state, run.status["exit_code"]) == (RETRIED, 1)
    assert "something else" in run.status["message"]


def test_a_lost_answer_is_an_outage_and_retried(bed: Bed) -> None:
    """The message of restic 0.19.1 in tests/integration/test_cut_uploads.py: its own upload is refused."""
    said = "Save(<data/f87b3eab8f>) returned error, retrying after 2.6s: unexpected HTTP response (403): 403 Forbidden"
    fake = f"#!/bin/sh\n[ \"$1\" = version ] && exec /opt/restic version\necho '{said}' >&2\nexit 1\n"
    bed.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", fake, "755")
    run = bed.back_up()
    assert (run.state, run.status["result"], run.status["exit_code"]) == (RETRIED, "outage", 69), run
    assert "most likely an answer was lost" in run.status["message"]


@pytest.mark.parametrize(
    ("relay", "ahead", "word"),
    [("-1 hour", 3600, "ahead of"), ("+2 days", -172800, "behind"), ("now", 0, None)],
)
def test_the_run_itself_reports_a_wrong_clock(bed: Bed, relay: str, ahead: int, word: str | None) -> None:
    """Before the trusted prune sees snapshots with an impossible time."""
    bed.relay.clock(relay)
    run = bed.back_up()
    assert run.status["result"] == "success", run
    assert abs(run.status["clock_ahead_seconds"] - ahead) < 120
    assert ("THE CLOCK" in run.status["message"]) is (word is not None)
    assert ("THE CLOCK" in run.text) is (word is not None)
    if word:
        assert f"s {word} the relay's" in run.status["message"]


def test_with_a_wrong_clock_no_lock_of_others_is_taken_for_stale(bed: Bed) -> None:
    """restic calls a lock stale after half an hour: by a clock that is an hour ahead, even that of a prune which has just begun."""
    bed.machine.ok(CASES["locked-by-a-prune"].breaks)
    try:
        bed.relay.clock("-1 hour")
        stolen = '#!/bin/sh\n[ "$1" != unlock ] || { echo taken >/run/unlocked; exit 0; }\nexec /usr/local/bin/restic-backup "$@"\n'
        bed.machine.write("/usr/local/sbin/restic-backup", stolen, "755")
        run = bed.back_up()
        assert run.status["exit_code"] == 75, run
        assert bed.machine.run("test -e /run/unlocked").code != 0
        bed.relay.clock("now")
        assert bed.back_up().status["exit_code"] == 75
        assert bed.machine.run("test -e /run/unlocked").code == 0, (
            "with a right clock it may look for stale ones"
        )
    finally:
        bed.machine.run(
            f"rm -f /run/unlocked /usr/local/sbin/restic-backup; {CASES['locked-by-a-prune'].mends}"
        )


@pytest.mark.parametrize("says", ["Fatal: unable to save snapshot: context canceled", "Fatal: broken pipe"])
def test_a_restic_that_gives_up_over_a_lost_connection_does_not_count_as_stopped(bed: Bed, says: str) -> None:
    """restic 0.19.1 exits with 130, as after Ctrl-C, when its own work is cancelled; sometimes seen in the test above."""
    fake = f"#!/bin/sh\n[ \"$1\" = version ] && exec /opt/restic version\necho '{says}' >&2\nexit 130\n"
    bed.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", fake, "755")
    run = bed.back_up()
    assert (run.state, run.status["result"], run.status["exit_code"]) == (RETRIED, "outage", 74), run


def test_output_of_the_relay_cannot_break_the_record(bed: Bed) -> None:
    """A compromised relay sends quotes, control characters and a flood."""
    evil = "#!/bin/sh\nprintf 'relay: \\033[2J\"},{\\\\ %%s\\r\\n' >&2\nhead -c 100000 /dev/zero | tr '\\0' A >&2\nexit 3\n"
    bed.machine.write("/srv/relay/serve", evil, "755")
    try:
        status = bed.back_up().status
        assert (status["result"], status["source"]) == ("outage", "web1")
        assert len(status["message"]) < 600
        assert status["message"].isprintable()
    finally:
        bed.relay = type(bed.relay)(bed.machine)
