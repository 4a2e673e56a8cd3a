"""A source on Debian 12 (OpenSSH 9.2, systemd 252): its units load without a warning, it backs up, and outages and refusals are told apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.image import ensure_tree
from tests.scripts.source.bed import Bed
from tests.scripts.source.machine import Machine
from tests.scripts.source.test_failures import RETRIED, STOPPED

UNITS = "/etc/systemd/system"


@pytest.fixture(scope="module")
def older() -> Iterator[Bed]:
    machine = Machine(ensure_tree(12))
    try:
        bed = Bed(machine)
        bed.reset()
        bed.set_up()
        yield bed
    finally:
        machine.stop()


def test_the_source_really_runs_debian_12(older: Bed) -> None:
    assert 'VERSION_ID="12"' in older.machine.read("/etc/os-release")
    assert older.machine.ok("systemctl --version").startswith("systemd 252 ")


def test_every_step_succeeds_and_check_finds_no_drift(older: Bed) -> None:
    for step in (older.key, older.client, older.repository, older.schedule):
        checked = step("check")
        assert (checked.code, checked.drift) == (0, []), checked.err


def test_systemd_does_not_complain_about_the_units(older: Bed) -> None:
    """Growing pauses (RestartSteps) came with systemd 254: the file with them is not installed, because systemd would complain."""
    units = f"{UNITS}/lastcopy-backup.service {UNITS}/lastcopy-backup.timer"
    said = older.machine.run(f"systemd-analyze verify {units}")
    assert (said.code, said.err.strip()) == (0, "")
    assert older.machine.run(f"ls {UNITS}/lastcopy-backup.service.d").code != 0
    # Sabotage: with that file this systemd does complain.
    drop_in = f"{UNITS}/lastcopy-backup.service.d"
    older.machine.ok(f"mkdir {drop_in} && printf '[Service]\\nRestartSteps=6\\n' >{drop_in}/backoff.conf")
    try:
        assert "RestartSteps" in older.machine.run(f"systemd-analyze verify {units}").err
    finally:
        older.machine.ok(f"rm -r {drop_in} && systemctl daemon-reload")


def test_it_backs_up_and_restores(older: Bed) -> None:
    run = older.back_up()
    assert run.status["result"] == "success", run.text
    older.restic("restore latest --target /srv/back --include /data")
    assert older.digest("/srv/back/data") == older.digest("/data")


def test_an_outage_is_retried_and_a_refusal_waits_for_a_person(older: Bed) -> None:
    """Each is the other's sabotage: this systemd distinguishes both."""
    older.relay.fails_with("storage-down")
    outage = older.back_up()
    older.relay.fails_with("setup")
    refusal = older.back_up()
    older.relay.works()
    assert (outage.state, outage.status["result"]) == (RETRIED, "outage"), outage.text
    assert (refusal.state, refusal.status["result"]) == (STOPPED, "refused"), refusal.text
    assert older.back_up().status["result"] == "success"
