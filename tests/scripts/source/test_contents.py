"""A9: an incomplete backup is refused, or its run fails and says what is missing and what to do."""

from __future__ import annotations

import shlex

import pytest

from components.source.schedule.backup_files import CANARY
from tests.scripts.source.bed import Bed, Run, settings
from tests.waiting import wait_until

REFUSED, LOOK = ("failed/failed", "refused", 71), ("failed/failed", "unexpected", 72)
FINE, PARTIAL = ("inactive/dead", "success", 0), ("inactive/dead", "partial", 3)
CONTENTS = "/usr/local/lib/lastcopy/backup-contents"
ACCEPT = "/usr/local/lib/lastcopy/run-backup accept"


def outcome(run: Run) -> tuple[str, str, int]:
    return run.state, run.status["result"], run.status["exit_code"]


def many(bed: Bed, folder: str, number: int, size: int = 1) -> None:
    bed.machine.ok(
        f"mkdir -p {folder} && cd {folder} && for i in $(seq {number}); do head -c {size} /dev/urandom >$i; done"
    )


def scheduled(bed: Bed, **changes: object) -> None:
    bed.source = settings(**changes)
    step = bed.schedule()
    assert step.code == 0, step.err


@pytest.fixture
def fstab(bed: Bed) -> Bed:
    """Nothing at /x, and nothing to be mounted."""
    bed.machine.ok("rm -rf /x /m && mkdir /x && : >/etc/fstab")
    return bed


# How each path is made, and what must be reported for it.
BAD = {
    "/x/link": (
        "ln -s /data /x/link",
        "/x/link is a symbolic link, of which a backup holds the link alone. Put its target, /data,",
    ),
    "/x/gone": ("true", "/x/gone does not exist. Restore or create it"),
    "/x/Büro": ("mkdir /x/Büro", "/x/Büro holds no file."),
    "/x/empty": ("mkdir /x/empty", "/x/empty holds no file. Is something not mounted there?"),
    "/x/folders": ("mkdir -p /x/folders/y/z", "/x/folders holds no file."),
    "/x/usb": (
        "mkdir /x/usb; echo 'tmpfs /x/usb tmpfs noauto 0 0' >>/etc/fstab",
        "/x/usb, which /etc/fstab names",
    ),
    # A space, a symbolic link on the way, and something that was stored at the bare mount point.
    "/x/real/a b/deep": (
        "mkdir -p '/x/real/a b/deep'; echo f >'/x/real/a b/deep/f'; ln -s real /x/way; printf '%s\\n' 'tmpfs /x/way/a\\040b tmpfs nofail 0 0' >>/etc/fstab",
        "nothing is mounted at /x/real/a b, which /etc/fstab names",
    ),
    "/x/fifo": ("mkfifo /x/fifo", "/x/fifo is a fifo, which has no content"),
}
OPTED_OUT = {
    "/x/tmp": (
        "mkdir /x/tmp; echo f >/x/tmp/f.tmp",
        "no file of /x/tmp was stored: the source's exclude and its other options",
    ),
    "/x/large": ("mkdir /x/large; truncate -s 2M /x/large/f", "no file of /x/large was stored"),
}
OPTIONS = {"exclude": ["*.tmp"], "excludeLargerThan": "1M"}


def made(bed: Bed, paths: dict[str, tuple[str, str]]) -> None:
    """`pulumi up` accepts the paths, which change afterwards."""
    scheduled(bed, paths=list(paths), **OPTIONS)
    for how, _ in paths.values():
        bed.machine.ok(how)


def test_if_nothing_would_be_stored_the_run_is_refused_so_that_the_storages_own_alarms_fire(
    fstab: Bed,
) -> None:
    made(fstab, BAD)
    run = fstab.back_up()
    assert outcome(run) == REFUSED, run
    found = run.status["findings"]
    assert [path for path, (_, says) in BAD.items() if not any(says in one for one in found)] == [], found
    assert len(found) == len(BAD)
    assert "no backup was made" in run.text
    assert (run.status["last_success"], run.status["consecutive_failures"]) == ("", 1)
    assert fstab.snapshots_at_rest() == 0


def promise_a_run_reports_each_path_that_it_did_not_store(bed: Bed) -> None:
    """The other paths are still stored."""
    bad = {**BAD, **OPTED_OUT}
    made(bed, bad)
    bed.machine.ok("echo /data >>/etc/lastcopy/paths")
    run = bed.back_up()
    assert outcome(run) == LOOK, run
    found = run.status["findings"]
    assert [path for path, (_, says) in bad.items() if not any(says in one for one in found)] == [], found
    assert len(found) == len(bad)
    assert f"(and {len(bad) - 1} more, see status.json)" in run.text
    assert run.status["last_success"] == ""
    assert bed.restic("dump latest /data/file") == "some data"


def test_a_run_reports_each_path_that_it_did_not_store(fstab: Bed) -> None:
    promise_a_run_reports_each_path_that_it_did_not_store(fstab)


def test_sabotage_a_run_that_does_not_check_reports_success(
    fstab: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was before: any run that made a snapshot was a success."""
    schedule = fstab.schedule

    def sabotaged(mode: str = "apply") -> object:
        step = schedule(mode)
        fstab.machine.ok(f"sed -i 's/^finding() {{/& return 0;/' {CONTENTS}")
        return step

    monkeypatch.setattr(fstab, "schedule", sabotaged)
    with pytest.raises(AssertionError, match="success"):
        promise_a_run_reports_each_path_that_it_did_not_store(fstab)


def test_a_symbolic_link_is_refused_by_pulumi_up_with_its_target(fstab: Bed) -> None:
    fstab.machine.ok("mkdir -p /x/target && ln -s target /x/link")
    fstab.source = settings(paths=["/data", "/x/link"])
    refused = fstab.schedule()
    assert refused.code == 1
    assert "the path /x/link is a symbolic link" in refused.err
    assert "fix: write its target, /x/target, into the source's paths" in refused.err
    assert fstab.machine.run("grep -x /x/link /etc/lastcopy/paths").code != 0


def test_what_may_be_empty_is_no_finding_and_a_mount_point_below_a_path_counts(fstab: Bed) -> None:
    """No finding either: a folder with only links, which restic stores, a bind mount, a path behind a link, and what is excluded."""
    bed = fstab
    bed.machine.ok(
        "mkdir -p /x/spool /x/links /x/bound /x/usb /x/cd /x/disk /x/left /m/deep && ln -s nowhere /x/links/l && echo f >/m/deep/f && ln -s /m /x/m"
    )
    for line in (
        "/data /x/bound none bind 0 0", "LABEL=usb /x/usb ext4 nofail 0 0", "/dev/sr0 /x/cd iso9660 noauto 0 0",
        "/dev/sdx /x/disk ext4 nofail 0 0", "/dev/sdy /x/left ext4 nofail 0 0", "/dev/sdz none swap sw 0 0", "# /dev/x /x/links x x 0 0",
    ):  # fmt: skip
        bed.machine.ok(f"echo '{line}' >>/etc/fstab")
    bed.machine.ok("mount --bind /data /x/bound")
    try:
        paths = ["/x/spool", "/x/links", "/x/bound", "/x/m/deep", "/x"]
        scheduled(bed, paths=paths, exclude=["/x/left"], expect={"mayBeEmpty": ["/x/spool", "/x/usb"]})
        run = bed.back_up()
        assert outcome(run) == LOOK
        (finding,) = run.status["findings"]
        assert finding.startswith("nothing was mounted at /x/disk, which /etc/fstab names")
        assert bed.restic("dump latest /x/m/deep/f") == "f\n"
        assert bed.restic("dump latest /x/bound/file") == "some data"
        bed.machine.ok("sed -i /sdx/d /etc/fstab")
        assert outcome(bed.back_up()) == FINE
    finally:
        bed.machine.ok("umount /x/bound")


# Much less than before


def promise_a_path_that_lost_its_files_is_reported_until_somebody_accepts_it(bed: Bed) -> None:
    many(bed, "/x", 40)
    many(bed, "/data", 40)
    scheduled(bed, paths=["/data", "/x"])
    assert outcome(bed.back_up()) == FINE
    bed.machine.ok("cd /x && rm [123]*")
    for _ in range(2):  # it does not become normal
        run = bed.back_up()
        assert outcome(run) == LOOK
        (finding,) = run.status["findings"]
        assert finding.startswith("7 files of /x were stored, 40 before.")
        assert ACCEPT in finding
    said = bed.machine.ok(ACCEPT)
    assert "accepted" in said
    assert outcome(bed.back_up()) == FINE


def test_a_path_that_lost_its_files_is_reported_until_somebody_accepts_it(fstab: Bed) -> None:
    promise_a_path_that_lost_its_files_is_reported_until_somebody_accepts_it(fstab)


def test_sabotage_a_run_that_compares_with_the_last_snapshot_is_caught(
    fstab: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = fstab.schedule

    def sabotaged(mode: str = "apply") -> object:
        step = schedule(mode)
        fstab.machine.ok(
            f"sed -i 's/^  judge_mounts$/&; mv -f $state\\/contents.new $state\\/contents; return 0/' {CONTENTS}"
        )
        return step

    monkeypatch.setattr(fstab, "schedule", sabotaged)
    with pytest.raises(AssertionError):
        promise_a_path_that_lost_its_files_is_reported_until_somebody_accepts_it(fstab)


def test_much_less_than_before_in_bytes_is_reported_by_the_sources_own_percentage(fstab: Bed) -> None:
    bed = fstab
    many(bed, "/x", 3, size=12_000_000)
    scheduled(bed, paths=["/x"])
    assert outcome(bed.back_up()) == FINE
    bed.machine.ok("rm /x/1 /x/2")
    run = bed.back_up()
    assert outcome(run) == LOOK
    assert "much less was stored than before: 7 files of 12" in run.status["findings"][0]
    scheduled(bed, paths=["/x"], expect={"shrinkPercent": 70})
    assert outcome(bed.back_up()) == FINE


def test_a_rebuilt_host_is_compared_with_its_repository(fstab: Bed) -> None:
    bed = fstab
    many(bed, "/data", 50)
    assert outcome(bed.back_up()) == FINE
    bed.machine.ok("rm -rf /var/lib/lastcopy/contents* /data/* && echo new >/data/file")
    run = bed.back_up()
    assert outcome(run) == LOOK
    assert "much less was stored than before: 7 files" in run.status["findings"][0]


# Files that cannot be read


def test_a_run_that_cannot_read_some_files_is_partial_and_fails_after_a_week(fstab: Bed) -> None:
    bed = fstab
    bed.machine.ok("mkdir /data/other && touch /data/other/f")
    # restic runs without the right to ignore modes: what root cannot read here stands for what not even root can read.
    bed.machine.write(
        "/etc/systemd/system/lastcopy-backup.service.d/zz-test.conf",
        "[Service]\nCapabilityBoundingSet=~CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH\n",
    )
    bed.machine.ok("systemctl daemon-reload && chown nobody /data/other && chmod 700 /data/other")
    run = bed.back_up()
    assert outcome(run) == PARTIAL
    first = run.status["partial_since"]
    assert run.status["unreadable"] == 1
    assert "1 files or folders could not be read" in run.status["message"]
    assert run.status["last_success"]
    bed.machine.ok(f"sed -i '/partial_since/s/{first}/2026-01-01T00:00:00Z/' /var/lib/lastcopy/status.json")
    succeeded = run.status["last_success"]
    run = bed.back_up()
    assert outcome(run) == ("failed/failed", "partial", 77)
    assert "so on every run since 2026-01-01T00:00:00Z" in run.status["message"]
    assert (run.status["last_success"], run.status["consecutive_failures"]) == (succeeded, 1)
    bed.machine.ok("chmod 755 /data/other")
    run = bed.back_up()
    assert (outcome(run), run.status["partial_since"]) == (FINE, "")


# The source's options


NAME = 'a "b" \\ <c> & ü'  # as JSON escapes it


def test_the_options_of_the_stack_file_reach_restic(fstab: Bed) -> None:
    """On a separate file system: on an overlay, files and folders have different devices."""
    bed = fstab
    odd = shlex.quote(f"/x/{NAME}")
    bed.machine.ok(
        "mount -t tmpfs tmpfs /x && mkdir /x/cache /x/skip /x/odd /x/mounted && echo f | tee /x/f /x/cache/f /x/skip/f /x/odd/f"
        " >/dev/null && truncate -s 3M /x/large && printf 'Signature: 8a477f597d28d172789f06886806bc55' >/x/cache/CACHEDIR.TAG"
        " && touch /x/skip/.nobackup && echo 'not this, please' >'/x/odd/tag file' && mount -t tmpfs tmpfs /x/mounted && echo f >/x/mounted/f"
        f" && mkdir {odd} && echo f | tee {odd}/1 {odd}/2 >/dev/null && echo 'tmpfs /x/skip tmpfs nofail 0 0' >/etc/fstab"
    )
    try:
        scheduled(
            bed, paths=["/x", f"/x/{NAME}"], oneFileSystem=True, excludeCaches=True, excludeLargerThan="2M",
            excludeIfPresent=[".nobackup", "tag file:not this"],
        )  # fmt: skip
        assert (
            "on an overlay file system, such as a container's, oneFileSystem"
            in bed.back_up().status["message"]
        )
        bed.machine.ok(f"cp -a {CANARY} /m && mount -t tmpfs tmpfs {CANARY} && cp -a /m/. {CANARY}")
        run = bed.back_up()
        assert outcome(run) == FINE, run
        listed = {path for path in bed.restic("ls latest").splitlines() if path.startswith("/x/")}
        assert listed == {
            "/x/cache", "/x/cache/CACHEDIR.TAG", "/x/f", "/x/mounted", "/x/odd", "/x/odd/tag file", "/x/skip", "/x/skip/.nobackup",
            f"/x/{NAME}", f"/x/{NAME}/1", f"/x/{NAME}/2",
        }  # fmt: skip
        assert f"path=2 /x/{NAME}\n" in bed.machine.read("/var/lib/lastcopy/contents")
    finally:
        bed.machine.ok(f"umount /x/mounted /x; umount {CANARY} || true")


# The source's limits


def test_a_backup_respects_the_limit_of_its_hour_and_restarts_when_the_hour_changes(fstab: Bed) -> None:
    """At 1 MiB/s 60 MB would take a minute; when all hours become unlimited it ends at once."""
    bed = fstab
    many(bed, "/x", 6, size=10_000_000)
    scheduled(bed, paths=["/x"], rate={"hours": [{"from": "00:00", "to": "12:00", "uploadKiBps": 1024},
                                                 {"from": "12:00", "to": "00:00", "uploadKiBps": 1024}]})  # fmt: skip
    bed.machine.ok(
        "sed -i -e 's/^pause=.*/pause=1/' -e 's/^longest=.*/longest=1/' /usr/local/lib/lastcopy/run-backup"
    )
    bed.machine.ok("systemctl start --no-block lastcopy-backup.service")
    limited = "pgrep -xa restic | grep -c -- '--limit-upload 1024'"
    wait_until(
        lambda: bed.machine.run(f"{limited} && ls /srv/store/web1-1/data/*/*").code == 0, 60, pause=0.1
    )
    assert bed.snapshots_at_rest() == 0
    bed.machine.ok("sed -i 's/^rate=\\(.*\\) 1024 0/rate=\\1 0 0/' /etc/lastcopy/backup.conf")
    wait_until(
        lambda: (
            bed.machine.ok("systemctl show -p ActiveState --value lastcopy-backup.service") == "inactive\n"
        ),
        40,
        pause=0.2,
    )
    status = bed.status()
    assert (status["result"], status["exit_code"], status["files"]) == ("success", 0, 12)
    said = bed.machine.ok("journalctl --sync; journalctl -u lastcopy-backup -o cat -n 20")
    assert said.count("other limits hold at this hour; the backup is begun again with them") == 1
    assert bed.machine.run("ls /srv/store/web1-1/locks/*").code != 0
    assert bed.machine.run("pgrep -f '[r]un-backup backup'").code != 0
