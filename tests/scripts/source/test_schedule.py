"""The schedule: checked by the host's systemd before it is live, and changed without touching anything else."""

from __future__ import annotations

import pytest

from components.host.program_texts import script_text
from components.source import step_values
from tests.sabotage import weaken
from tests.scripts.source.bed import Bed, settings

UNITS = "/etc/systemd/system"
OURS = f"{UNITS}/lastcopy-backup.service {UNITS}/lastcopy-backup.timer /etc/lastcopy/paths /etc/lastcopy/excludes"


def next_run(bed: Bed) -> str:
    shown = "systemctl show -p NextElapseUSecRealtime --value lastcopy-backup.timer"
    return bed.machine.ok(shown).strip()


def test_schedule_converges_and_reports_drift(bed: Bed) -> None:
    assert bed.schedule().changed == []
    assert bed.schedule("check").code == 0
    assert bed.machine.ok("systemctl is-enabled lastcopy-backup.timer").strip() == "enabled"
    assert bed.machine.ok("systemctl is-active lastcopy-backup.timer").strip() == "active"
    bed.machine.ok("systemctl disable -q --now lastcopy-backup.timer; rm /etc/lastcopy/excludes")
    found = bed.schedule("check")
    assert (found.code, found.drift) == (3, ["file /etc/lastcopy/excludes", "enable lastcopy-backup.timer"])
    assert bed.schedule().changed == found.drift
    assert bed.schedule("check").code == 0


def test_the_hosts_own_time_zone_is_reported(bed: Bed) -> None:
    """A schedule without a zone is in that zone: the preview then warns of nights without it."""
    bed.machine.ok("[ ! -e /etc/localtime ] || cp -P /etc/localtime /run/localtime")
    try:
        for link, zone in (
            ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
            ("../usr/share/zoneinfo/Etc/UTC", "Etc/UTC"),
            (None, "UTC"),
        ):
            bed.machine.ok("rm -f /etc/localtime" if link is None else f"ln -sfn {link} /etc/localtime")
            told = bed.schedule()
            assert (told.code, told.changed, told.facts) == (0, [], {"zone": zone})
    finally:
        bed.machine.ok("rm -f /etc/localtime; [ ! -e /run/localtime ] || mv /run/localtime /etc/localtime")


def test_systemd_does_not_complain_about_the_units(bed: Bed) -> None:
    said = bed.machine.run(
        f"systemd-analyze verify {UNITS}/lastcopy-backup.service {UNITS}/lastcopy-backup.timer"
    )
    assert (said.code, said.err.strip()) == (0, "")


def test_the_timer_is_persistent_and_has_a_random_delay(bed: Bed) -> None:
    shown = bed.machine.ok("systemctl show -p Persistent,RandomizedDelayUSec lastcopy-backup.timer")
    assert "Persistent=yes" in shown
    assert "RandomizedDelayUSec=30min" in shown


def test_a_changed_schedule_is_live_at_once(bed: Bed) -> None:
    bed.source = settings(schedule="*-*-* 04:44:00", randomizedDelay="0")
    changed = bed.schedule()
    assert changed.changed == [f"file {UNITS}/lastcopy-backup.timer", "daemon-reload"]
    assert "04:44:00" in next_run(bed)


def promise_a_run_killed_before_the_reload_converges(bed: Bed, script: tuple[str, str] = ("", "")) -> None:
    bed.source = settings(schedule="*-*-* 05:55:00", randomizedDelay="0")
    killer = '[ "$1" != daemon-reload ] || { kill -9 $PPID; exit; }'
    bed.machine.write(
        "/usr/local/sbin/systemctl", f'#!/bin/sh\n{killer}\nexec /usr/bin/systemctl "$@"\n', "755"
    )
    text = weaken(script_text("schedule", step_values.schedule(bed.source)), *script)
    bed.machine.run("sh -s -- apply", stdin=text)
    bed.machine.ok("rm /usr/local/sbin/systemctl")
    assert "05:55:00" not in next_run(bed)
    assert bed.machine.run("sh -s -- apply", stdin=text).code == 0
    assert "05:55:00" in next_run(bed)


def test_a_run_killed_before_the_reload_converges(bed: Bed) -> None:
    promise_a_run_killed_before_the_reload_converges(bed)


def test_sabotage_a_script_that_remembers_instead_of_asking_is_caught(bed: Bed) -> None:
    asked = '[ "$(systemctl show -p NeedDaemonReload --value "$unit")" = yes ] && would'
    with pytest.raises(AssertionError, match="assert '05:55:00' in"):
        promise_a_run_killed_before_the_reload_converges(bed, (asked, "changed && would"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": "Mon..Fri 22:30 Europe/Nowhere"}, "does not take the schedule"),
        ({"preHook": "/srv/hook-missing"}, "/srv/hook-missing is missing or not executable"),
        ({"postHook": "/srv/hook-plain"}, "/srv/hook-plain is missing or not executable"),
        ({"preHook": "/srv/hook-anybodys"}, "others than root may change it"),
    ],
    ids=["calendar", "missing", "not-executable", "writable"],
)
def test_what_the_host_cannot_do_is_refused_before_anything_changes(
    bed: Bed, changes: dict[str, str], words: str
) -> None:
    bed.machine.write("/srv/hook-plain", "#!/bin/sh\n", "644")
    bed.machine.write("/srv/hook-anybodys", "#!/bin/sh\n", "777")
    before = bed.machine.ok(f"cat {OURS}")
    bed.source = settings(paths=["/elsewhere"], **changes)
    refused = bed.schedule()
    assert refused.code == 1
    assert words in refused.err
    assert "fix: " in refused.err
    assert bed.machine.ok(f"cat {OURS}") == before


def test_all_problems_are_reported_at_once(bed: Bed) -> None:
    bed.source = settings(
        schedule="*-*-* 02:00:00 Europe/Nowhere", preHook="/srv/no", postHook="/srv/neither"
    )
    assert bed.schedule().err.count("error: ") == 3


def test_removal_leaves_no_unit_and_keeps_the_record_of_the_last_backup(bed: Bed) -> None:
    bed.back_up()
    assert bed.schedule("remove").code == 0
    assert bed.machine.ok(f"ls {UNITS} {UNITS}/*.wants | grep lastcopy || true") == ""
    assert bed.machine.run("systemctl cat lastcopy-backup.service").code != 0
    assert bed.machine.ok("ls /usr/local/lib/lastcopy | grep backup || true") == ""
    assert bed.machine.run("ls /etc/lastcopy/paths").code != 0
    assert bed.status()["result"] == "success"
    assert bed.schedule("remove").changed == []
    assert bed.machine.ok("systemctl --failed --no-legend") == ""


def test_a_host_without_systemd_is_refused(bare: Bed) -> None:
    bare.dial_in()
    text = script_text("schedule", step_values.schedule(bare.source))
    hidden = "unshare -m sh -c 'mkdir -p /run/empty && mount --bind /run/empty /run/systemd && exec sh -s -- apply'"
    done = bare.machine.run(hidden, stdin=text)
    assert done.code == 1
    assert "does not run systemd" in done.err
