"""Hooks, overlapping runs, runs that are ended from outside (A7)."""

from __future__ import annotations

import pytest

from tests.scripts.source.bed import Bed, settings
from tests.waiting import wait_until

PRE, POST, LOG = "/srv/hook-pre", "/srv/hook-post", "/srv/hook-log"
SLOW = '#!/bin/sh\n[ "$1" = version ] && exec /opt/restic version\n'


def with_hooks(bed: Bed, pre: str = "", post: str = "") -> None:
    head = (
        f'#!/bin/sh\necho "$(basename $0) $* $LASTCOPY_SOURCE $LASTCOPY_RESULT $LASTCOPY_EXIT_CODE" >>{LOG}\n'
    )
    bed.machine.write(PRE, f"{head}{pre}\n", "755")
    bed.machine.write(POST, f"{head}{post}\n", "755")
    bed.source = settings(preHook=PRE, postHook=POST)
    step = bed.schedule()
    assert step.code == 0, step.err


def log(bed: Bed) -> list[str]:
    return [" ".join(line.split()) for line in bed.machine.ok(f"cat {LOG} 2>/dev/null || true").splitlines()]


def test_hooks_run_before_and_after_the_backup_with_full_rights(bed: Bed) -> None:
    with_hooks(bed, pre="echo dumped >/data/dump", post="echo cleaned >/usr/local/cleaned")
    run = bed.back_up()
    assert run.status["result"] == "success"
    assert run.status["post_hook"] == "ok"
    assert log(bed) == ["hook-pre web1", "hook-post success 0 web1 success 0"]
    assert bed.restic("dump latest /data/dump") == "dumped\n"
    assert bed.machine.ok("cat /usr/local/cleaned; rm /usr/local/cleaned") == "cleaned\n"


def test_a_failed_pre_hook_stops_the_backup_and_the_post_hook_still_runs(bed: Bed) -> None:
    with_hooks(bed, pre="exit 75")  # whatever code it uses, it is no outage
    run = bed.back_up()
    assert (run.state, run.status["result"], run.status["exit_code"]) == ("failed/failed", "refused", 70)
    assert "failed with exit code 75" in run.status["message"]
    assert log(bed) == ["hook-pre web1", "hook-post refused 70 web1 refused 70"]
    assert bed.snapshots() == []


def test_the_pre_hook_does_not_run_if_the_relay_is_unreachable(bed: Bed) -> None:
    with_hooks(bed)
    bed.relay.fails_with("busy")
    run = bed.back_up()
    assert (run.state, run.status["exit_code"]) == ("activating/auto-restart", 75)
    assert log(bed) == ["hook-post outage 75 web1 outage 75"]


def test_the_post_hook_runs_after_a_failed_backup(bed: Bed) -> None:
    with_hooks(bed, pre="rm -rf /data")
    assert bed.back_up().status["result"] == "refused"
    assert log(bed)[-1] == "hook-post refused 71 web1 refused 71"


def test_a_failed_post_hook_is_reported_and_the_backup_still_counts(bed: Bed) -> None:
    with_hooks(bed, post="exit 9")
    run = bed.back_up()
    assert (run.state, run.status["result"]) == ("inactive/dead", "success")
    assert run.status["post_hook"] == "failed with exit code 9"
    assert "failed with exit code 9" in run.text


def promise_a_hook_that_others_may_change_does_not_run(bed: Bed) -> None:
    with_hooks(bed)
    bed.machine.ok(f"chmod 777 {PRE} {POST}")
    run = bed.back_up()
    assert log(bed) == []
    assert run.status["exit_code"] == 70


def test_a_hook_that_others_can_change_does_not_run(bed: Bed) -> None:
    promise_a_hook_that_others_may_change_does_not_run(bed)


def test_sabotage_a_run_that_trusts_every_hook_is_caught(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = bed.schedule

    def sabotaged(mode: str = "apply") -> object:
        step = schedule(mode)
        bed.machine.ok("sed -i 's/^trusted() {/& return 0;/' /usr/local/lib/lastcopy/run-backup")
        return step

    monkeypatch.setattr(bed, "schedule", sabotaged)
    with pytest.raises(AssertionError):
        promise_a_hook_that_others_may_change_does_not_run(bed)


# Overlapping runs


def promise_runs_do_not_overlap(bed: Bed) -> None:
    # Only the first one waits, so that a second one ends as well if it gets that far.
    began, go = "/var/lib/lastcopy/began", "/var/lib/lastcopy/go"
    waits = f"if mkdir {began} 2>/dev/null; then until [ -e {go} ]; do sleep 0.1; done; fi"
    fake = f'{SLOW}{waits}\nexec /opt/restic "$@"\n'
    bed.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", fake, "755")
    done = bed.machine.run(
        "systemctl start lastcopy-backup.service &"
        f" for i in $(seq 600); do if [ -d {began} ]; then break; fi; sleep 0.1; done;"
        f" /usr/local/lib/lastcopy/run-backup backup; code=$?; touch {go}; wait; exit $code"
    )
    assert done.code == 75
    assert len(bed.snapshots()) == 1


def test_runs_do_not_overlap(bed: Bed) -> None:
    promise_runs_do_not_overlap(bed)


def test_sabotage_a_run_without_its_lock_is_caught(bed: Bed) -> None:
    bed.machine.ok("sed -i 's/^  flock -n 8 .*//' /usr/local/lib/lastcopy/run-backup")
    with pytest.raises(AssertionError):
        promise_runs_do_not_overlap(bed)


# Runs that are ended from outside


def start_long_run(bed: Bed) -> None:
    slow = f'{SLOW}exec /opt/restic --limit-upload 5000 "$@"\n'
    bed.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", slow, "755")
    bed.machine.ok("head -c 60M /dev/urandom >/data/random")
    bed.machine.ok("systemctl start --no-block lastcopy-backup.service")
    at_work = "ls /srv/store/web1-1/locks/* && pgrep -x restic"
    wait_until(lambda: bed.machine.run(at_work).code == 0, 30, pause=0.1)
    bed.machine.ok("rm -r /usr/local/lib/lastcopy/restic-9.9.9")


def test_a_stopped_run_leaves_no_lock_and_is_reported(bed: Bed) -> None:
    start_long_run(bed)
    bed.machine.ok("systemctl stop lastcopy-backup.service")
    status = bed.status()
    assert (status["result"], status["exit_code"]) == ("stopped", 143)
    assert bed.machine.run("ls /srv/store/web1-1/locks/*").code != 0
    assert bed.machine.ok("systemctl --failed --no-legend") == ""
    assert bed.back_up().status["result"] == "success"


def test_a_stop_reaches_the_pre_hook(bed: Bed) -> None:
    ready = "/srv/hook-ready"
    with_hooks(bed, pre=f"trap 'echo asked to stop >>{LOG}; exit 0' TERM; touch {ready}; sleep 60 & wait")
    bed.machine.ok("systemctl start --no-block lastcopy-backup.service")
    wait_until(lambda: bed.machine.run(f"ls {ready}").code == 0, 60, pause=0.1)
    bed.machine.ok("systemctl stop lastcopy-backup.service")
    assert log(bed) == ["hook-pre web1", "asked to stop", "hook-post stopped 143 web1 stopped 143"]
    assert bed.snapshots() == []


def test_a_killed_run_is_recorded_and_retried_and_does_no_harm(bed: Bed) -> None:
    before = bed.back_up().status["last_success"]
    start_long_run(bed)
    bed.machine.ok("systemctl kill --kill-whom=main -s KILL lastcopy-backup.service")
    show = "systemctl show -p SubState --value lastcopy-backup.service"
    wait_until(lambda: bed.machine.ok(show).strip() == "auto-restart", 40, pause=0.2)
    status = bed.status()
    assert (status["result"], status["last_success"]) == ("outage", before)
    assert "ended from outside" in status["message"]
    bed.machine.ok("systemctl stop lastcopy-backup.service; systemctl reset-failed lastcopy-backup.service")
    assert bed.back_up().status["result"] == "success"
    bed.restic("unlock")
    assert "no errors were found" in bed.restic("check --read-data")
    assert len(bed.snapshots()) == 2


def test_run_backup_by_hand_says_which_command_to_use(bed: Bed) -> None:
    done = bed.machine.run("/usr/local/lib/lastcopy/run-backup")
    assert done.code == 71
    assert "systemctl start lastcopy-backup" in done.err
