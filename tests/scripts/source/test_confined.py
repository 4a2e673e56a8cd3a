"""The confinement of backups is tried on the host before they are scheduled: if a container forbids it, that is reported, and less must be requested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from components.source import step_values
from tests.sabotage import weaken
from tests.scripts.source.bed import Bed, settings
from tests.scripts.source.machine import Machine, Step

TRIAL = "lastcopy-try-sandbox"
WRITES = "systemd-run -q --wait --collect -p {} sh -c '[ -w /usr ]'"


@contextmanager
def no_mount_namespace(machine: Machine) -> Iterator[None]:
    """systemd cannot build a unit's own view of the files, as if AppArmor forbids a container to mount: its real error, from its real code."""
    places = "/run/systemd/mount-rootfs /run/systemd/unit-root"  # of systemd 257, and of 252
    machine.ok(f"rm -rf {places}; touch {places}")
    try:
        yield
    finally:
        machine.ok(f"rm -f {places}")


def test_a_host_that_cannot_set_up_the_sandbox_gets_an_error_and_nothing_changes(bed: Bed) -> None:
    before = bed.machine.ok("cat /etc/systemd/system/lastcopy-backup.service /etc/lastcopy/paths")
    bed.source = settings(paths=["/elsewhere"])
    with no_mount_namespace(bed.machine):
        refused = bed.schedule()
        assert (refused.code, refused.changed) == (1, [])
        assert "cannot set up the backup's sandbox (systemd's exit status 226, NAMESPACE)" in refused.err
        assert "set this source's sandboxing to reduced" in refused.err
        assert bed.machine.ok("cat /etc/systemd/system/lastcopy-backup.service /etc/lastcopy/paths") == before

        bed.source = settings(sandboxing="reduced")
        assert bed.schedule().code == 0
        run = bed.back_up()
        assert run.status["result"] == "success", run.text
    assert trials(bed.machine) == ""


def trials(machine: Machine) -> str:
    return machine.ok(f"systemctl list-units --all --plain --no-legend '{TRIAL}*'")


def test_a_trial_left_by_a_killed_run_does_not_matter(bed: Bed) -> None:
    """A7: one that is still running, and one that failed; the latter is removed."""
    bed.machine.ok(f"systemd-run -q --unit={TRIAL} sleep 600")
    bed.machine.run(f"systemd-run -q --unit={TRIAL}-1 --service-type=oneshot false")
    assert f"{TRIAL}-1" in trials(bed.machine)
    try:
        done = bed.schedule()
        assert done.code == 0, done.err
    finally:
        bed.machine.ok(f"systemctl stop {TRIAL}")
    assert trials(bed.machine) == ""


@pytest.fixture(scope="module")
def container() -> Iterator[Machine]:
    """A container whose root has no CAP_SYS_ADMIN: systemd starts a unit there without its sandbox, and says so only in its debug log."""
    machine = Machine(None, "--drop-capability=CAP_SYS_ADMIN")
    try:
        yield machine
    finally:
        machine.stop()


def schedule(machine: Machine, kind: str, mode: str = "apply") -> Step:
    return machine.step("schedule", step_values.schedule(settings(sandboxing=kind)), mode)


def test_a_sandbox_that_systemd_silently_omits_is_noticed(container: Machine) -> None:
    assert container.ok(WRITES.format("ProtectSystem=strict")) == "", (
        "the problem itself: /usr can be written"
    )
    refused = schedule(container, "full")
    assert (refused.code, refused.changed) == (1, [])
    assert "systemd leaves it out, and files stay writable" in refused.err
    reduced = schedule(container, "reduced")
    assert reduced.code == 0, reduced.err
    assert schedule(container, "reduced", "check").drift == []


def test_sabotage_without_the_check_inside_an_omitted_sandbox_goes_unnoticed(container: Machine) -> None:
    """The trial itself starts: only its checks tell."""
    values = step_values.schedule(settings())
    values["SANDBOX"] = weaken(values["SANDBOX"], "ProtectSystem=strict", "ProtectHome=yes")
    assert container.step("schedule", values).code == 0
