"""A backup by the real service: exactly everything that was named, and the record of its outcome."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from components.source.schedule.backup_files import CANARY
from tests.scripts.source.bed import Bed, settings

ODD_NAMES = (
    "with space", "quote'single", 'quote"double', "back\\slash", "-leading-dash", "--all", "percent%h%%n", "dollar$HOME",
    "star*?[a-z]", "#hash", "{a,b}", "~tilde", "ümlaut", "semi;colon&amp|pipe", "`touch x`", "$(touch y)", "!bang",
)  # fmt: skip


def promise_special_names_are_backed_up_exactly(bed: Bed) -> None:
    for name in ODD_NAMES:
        bed.machine.ok(
            f"mkdir -p {shlex.quote(f'/data/{name}')} && echo in >{shlex.quote(f'/data/{name}/f')}"
        )
    bed.machine.ok(
        "mkdir -p /data/a /data/b /data/aardvark && echo out >/data/a/f"
    )  # what a glob would match
    bed.source = settings(paths=[f"/data/{name}" for name in ODD_NAMES])
    assert bed.schedule().code == 0
    assert bed.back_up().status["result"] == "success"
    (snapshot,) = bed.snapshots()
    assert set(snapshot["paths"]) == {CANARY, *(f"/data/{name}" for name in ODD_NAMES)}
    listed = [json.loads(line) for line in bed.restic("ls latest --json").splitlines()]
    files = {entry["path"] for entry in listed if entry.get("type") == "file"}
    files = {path for path in files if not path.startswith(f"{CANARY}/")}
    assert files == {f"/data/{name}/f" for name in ODD_NAMES}


def test_paths_with_special_characters_are_backed_up_exactly(bed: Bed) -> None:
    promise_special_names_are_backed_up_exactly(bed)


def test_sabotage_a_run_that_reads_the_paths_as_patterns_is_caught(bed: Bed) -> None:
    bed.machine.ok("sed -i 's#--files-from-raw \"$tmp/paths\"#--files-from /etc/lastcopy/paths#' "
                   "/usr/local/lib/lastcopy/run-backup")  # fmt: skip
    values = bed.machine.read("/usr/local/lib/lastcopy/run-backup")
    assert "--files-from /etc/lastcopy/paths" in values
    bed.machine.ok("cp /usr/local/lib/lastcopy/run-backup /srv/hook-sabotaged")
    schedule = bed.schedule

    def sabotaged(mode: str = "apply") -> object:
        step = schedule(mode)
        bed.machine.ok("cp /srv/hook-sabotaged /usr/local/lib/lastcopy/run-backup")
        return step

    bed.schedule = sabotaged  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(AssertionError):
            promise_special_names_are_backed_up_exactly(bed)
    finally:
        del bed.schedule  # type: ignore[method-assign]


EXCLUDES = {
    "*.tmp": ("keep/x.tmp", "keep/x.tmpl"),
    "/data/deep/**/cache": ("deep/1/2/cache/f", "deep/1/2/cached/f"),
    "$HOME": ("keep/$HOME", "keep/root"),
    "a[0-9]#": ("keep/a7#", "keep/ab#"),
    "/data/per%cent": ("per%cent", "per"),
    "-dash": ("keep/-dash", "keep/dash"),
    "quote'\"": ("keep/quote'\"", "keep/quote"),
}


def test_excludes_leave_out_exactly_what_they_say(bed: Bed) -> None:
    for pair in EXCLUDES.values():
        for name in pair:
            path = shlex.quote(f"/data/{name}")
            bed.machine.ok(f'mkdir -p "$(dirname {path})" && echo x >{path}')
    bed.source = settings(exclude=list(EXCLUDES))
    assert bed.schedule().code == 0
    assert bed.back_up().status["result"] == "success"
    listed = bed.restic("ls latest").splitlines()
    for pattern, (left_out, kept) in EXCLUDES.items():
        assert f"/data/{left_out}" not in listed, pattern
        assert f"/data/{kept}" in listed, pattern


def test_a_backup_of_the_whole_host_leaves_out_the_kernels_trees(bed: Bed) -> None:
    bed.source = settings(paths=["/"], exclude=["/usr", "/opt", "/srv"])
    assert bed.schedule().code == 0
    assert bed.back_up().status["result"] in ("success", "partial")
    listed = bed.restic("ls latest").splitlines()
    assert "/data/file" in listed
    assert "/etc/passwd" in listed
    trees = ("/proc/", "/sys/", "/dev/", "/run/", "/var/cache/lastcopy/")
    assert [path for path in listed if path.startswith(trees)] == []


# The sandbox of the unit


def test_the_sandboxed_run_reads_everything(bed: Bed) -> None:
    bed.machine.ok(
        "echo hidden >/data/hidden && chown nobody /data/hidden && chmod 000 /data/hidden"
        " && mkdir /home/private && echo home >/home/private/f && chmod 700 /home/private"
        " && mkdir -p /usr/lib/modules/6 && echo module >/usr/lib/modules/6/m"
        " && echo t >/tmp/in-tmp && echo t >/var/tmp/in-var-tmp"
    )
    bed.source = settings(paths=["/data", "/home", "/tmp", "/var/tmp", "/etc", "/root", "/usr/lib/modules"])
    assert bed.schedule().code == 0
    assert bed.back_up().status["result"] == "success"
    assert bed.restic("dump latest /data/hidden") == "hidden\n"
    assert bed.restic("dump latest /home/private/f") == "home\n"
    assert bed.restic("dump latest /usr/lib/modules/6/m") == "module\n"
    assert bed.restic("dump latest /tmp/in-tmp") == "t\n"
    assert bed.restic("dump latest /var/tmp/in-var-tmp") == "t\n"
    bed.machine.ok("rm -r /home/private /tmp/in-tmp /var/tmp/in-var-tmp")


def promise_the_run_can_write_only_its_own_state(bed: Bed) -> None:
    """Played by a compromised restic: it must not change the host, gain a privilege or mount."""
    tries = {
        "etc": "echo x >/etc/taken-over",
        "data": "echo x >>/data/file",
        "root": "echo x >/root/taken-over",
        "home": "echo x >/home/taken-over",
        "usr": "echo x >/usr/local/bin/taken-over",
        "mount": "mount -o remount,rw /",
        "kernel": "echo x >/proc/sys/kernel/hostname",
        "namespace": "unshare --mount true",
    }
    lines = "".join(f"( {line} ) 2>/dev/null && echo {name} >>$out\n" for name, line in tries.items())
    fake = f'#!/bin/sh\n[ "$1" = version ] && exec /opt/restic version\nout=/var/lib/lastcopy/gained\n: >$out\n{lines}exit 0\n'
    bed.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", fake, "755")
    bed.back_up()
    try:
        assert bed.machine.read("/var/lib/lastcopy/gained").split() == []
    finally:
        bed.machine.ok("rm -f /etc/taken-over /root/taken-over /home/taken-over /usr/local/bin/taken-over")


def test_the_run_can_write_only_its_own_state(bed: Bed) -> None:
    promise_the_run_can_write_only_its_own_state(bed)


def test_sabotage_a_unit_without_its_sandbox_is_caught(bed: Bed) -> None:
    unit = "/etc/systemd/system/lastcopy-backup.service"
    bed.machine.ok(f"sed -i '/^Protect/d; /^SystemCall/d; /^Restrict/d' {unit} && systemctl daemon-reload")
    with pytest.raises(AssertionError):
        promise_the_run_can_write_only_its_own_state(bed)


# Status


def test_the_status_is_readable_by_everybody_and_contains_no_secret(bed: Bed) -> None:
    assert bed.machine.run("ls /var/lib/lastcopy/status.json").code != 0
    run = bed.back_up()
    text = bed.machine.ok(
        "setpriv --reuid=nobody --regid=nogroup --clear-groups cat /var/lib/lastcopy/status.json"
    )
    status = json.loads(text)
    assert set(status) == {
        "source", "result", "exit_code", "message", "last_start", "last_end", "last_success", "snapshot",
        "bytes_added", "consecutive_failures", "post_hook", "files", "bytes", "unreadable", "partial_since", "findings",
        "clock_ahead_seconds",
    }  # fmt: skip
    assert (status["source"], status["result"], status["exit_code"]) == ("web1", "success", 0)
    assert status["snapshot"] == bed.snapshots()[0]["id"]
    assert status["bytes_added"] > 0
    for moment in ("last_start", "last_end", "last_success"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status[moment])
    assert bed.password not in text
    assert run.text.startswith(f"success: snapshot {status['snapshot'][:8]}")
    assert "last success: 2" in run.text


def test_failures_are_counted_and_the_last_success_is_kept(bed: Bed) -> None:
    succeeded = bed.back_up().status["last_success"]
    bed.relay.fails_with("setup")
    assert bed.back_up().status["consecutive_failures"] == 1
    status = bed.back_up().status
    assert (status["consecutive_failures"], status["last_success"]) == (2, succeeded)
    assert status["snapshot"] == ""
    bed.relay.works()
    assert bed.back_up().status["consecutive_failures"] == 0


def test_a_full_disk_for_the_status_does_not_change_the_outcome(bed: Bed) -> None:
    bed.machine.ok("rm -rf /var/lib/lastcopy/.status.json && mkdir /var/lib/lastcopy/.status.json")
    run = bed.machine.run("systemctl start lastcopy-backup.service")
    assert run.code == 0
    assert "cannot write /var/lib/lastcopy/status.json" in bed.machine.ok(
        "journalctl --sync; journalctl -u lastcopy-backup -n 30"
    )
    bed.machine.ok("rmdir /var/lib/lastcopy/.status.json")
    assert len(bed.snapshots()) == 1
