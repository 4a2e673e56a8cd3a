"""The restore test on real repositories: sound ones pass; every kind of damage is reported and recorded, and rings the alarm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from pyrage.x25519 import Identity

from ops.errors import LastcopyError
from ops.kit import sealed
from ops.restic.repository import Repository, ResticResult
from ops.restore_test import canary, record, scratch, trial
from ops.restore_test.trial import Extent, RestoreTestResult
from ops.verbs import restore_test as cli
from tests.guards import guard_of
from tests.recover.bed import PASSWORD, make_tree
from tests.recover.test_bad_input import small_disk as small_disk  # a fixture
from tests.restore_test.host import Host
from tests.waiting import wait_until
from toolchain.checkout import ROOT


def direct(
    host: Host, *, newest: float | None = 26, password: str = PASSWORD, everything: bool = False
) -> RestoreTestResult:
    """Test one source without the command line."""
    hours = None if newest is None else timedelta(hours=newest)
    extent = Extent(
        everything=everything, sample_bytes=64 << 20, read_subset="100%", newest=hours, seed=1
    )  # fmt: skip
    access = replace(host.bed.access, password=SecretStr(password))
    return trial.run_restore_test(access, host.bed.tools, extent, host.scratch, lambda _: None)


def told(result: RestoreTestResult) -> str:
    return "\n".join(str(problem) for problem in result.problems)


def test_a_sound_repository_passes_and_is_recorded(host: Host) -> None:
    code, said = host.restore_test("--seed", "7", "--sample-mib", "1", "--read-data-subset", "5%")
    assert code == 0, said
    assert "6 canary files and" in said
    (line,) = host.recorded()
    assert (line["result"], line["seed"], line["extent"], line["canaryFiles"]) == ("passed", 7, "sample", 6)
    assert 0 < line["files"] < 41
    assert 0 < line["bytes"] <= (1 << 20) + sum(map(len, canary.expected("").values()))
    assert line["seconds"]["restore"] <= line["seconds"]["whole"]
    assert line["repository"] == host.bed.access.record.repository_id
    assert host.record.stat().st_mode & 0o777 == 0o600
    secret = host.bed.vault.key.secret_access_key.get_secret_value()
    assert not any(word in said + host.record.read_text() for word in (PASSWORD, secret))


def test_option_all_restores_everything_and_keeps_holes_as_holes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sparse disk image must not fill the scratch folder."""
    image = host.canary / "image"  # beside the canaries, so that the tree's file count stays the same
    image.touch()
    os.truncate(image, 64 << 20)
    host.back_up()
    seen: list[os.stat_result] = []
    compare = trial._canary

    def looked(result: RestoreTestResult, target: Path) -> None:
        seen.append((target / canary.FOLDER.lstrip("/") / image.name).stat())
        compare(result, target)

    monkeypatch.setattr(trial, "_canary", looked)
    result = direct(host, everything=True)
    assert not result.problems
    (restored,) = seen
    assert (restored.st_size, restored.st_blocks < 2048) == (64 << 20, True)
    assert (result.canaries, result.files) == (6, 41)


def encrypt(host: Host) -> None:
    """As ransomware does: same name and size, other content. The earlier snapshot stays as it was."""
    for name in ("photo.jpg", "archive/database.sql"):
        file = host.canary / name
        file.write_bytes(bytes(byte ^ 0x5A for byte in file.read_bytes()))
    host.back_up()


def test_an_encrypted_canary_fails_the_test_with_an_explanation(host: Host) -> None:
    encrypt(host)
    code, said = host.restore_test()
    assert code == 1
    assert "2 of 6 canary files have changed (photo.jpg, archive/database.sql)" in said
    assert "most likely the source's files are being encrypted" in said
    assert "cut the source off" in said
    assert host.recorded()[0]["result"] == "failed"


def test_sabotage_a_test_that_compares_no_canary_is_caught(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "compare", lambda *_: ([], []))
    encrypt(host)
    assert not direct(host).problems, "so the test above depends on the comparison"


def test_a_canary_that_is_deleted_or_a_link_counts_as_missing(host: Host) -> None:
    (host.canary / "letter.txt").unlink()
    elsewhere = host.canary.parent / "elsewhere"
    shutil.move(host.canary / "report.pdf", elsewhere)
    (host.canary / "report.pdf").symlink_to(elsewhere)  # a careless reader would follow it on this machine
    host.back_up()
    code, said = host.restore_test()
    assert code == 1
    assert "2 of 6 canary files are missing from the newest snapshot (letter.txt, report.pdf)" in said


def test_a_backup_without_its_files_fails_the_restore_test(host: Host) -> None:
    """The trusted place itself reports what is missing of a path since the previous snapshot (A9)."""
    host.back_up(tree=False)
    said = told(direct(host))
    assert "a backup of nothing" in said
    assert "the newest snapshot is much smaller than that of" in said
    assert f"it does not contain {host.bed.source_tree}" in said


def garble(host: Host, packs: list[str]) -> None:
    """Overwrite a few bytes in the middle; name and size stay the same."""
    assert packs
    for name in packs:
        body = host.bed.s3.get_object(Bucket="backups", Key=host.bed.prefix + name)["Body"].read()
        middle = len(body) // 2
        host.bed.put(name, body[: middle - 20] + bytes(40) + body[middle + 20 :])


def test_a_garbled_pack_fails_the_test_and_hostile_names_are_printed_as_text(host: Host) -> None:
    garble(host, [name for name in host.bed.names() if name.startswith("data/")])
    code, said = host.restore_test()
    assert code == 1
    assert "recover look" in said
    assert "\x1b[31m" not in said
    (line,) = host.recorded()
    assert line["notices"], "the overwriting is seen in the storage's history, too"


def test_damage_in_data_that_was_not_restored_is_found_by_restics_check(host: Host) -> None:
    """The damage is in a pack that only an older snapshot needs."""
    make_tree(host.bed.folder / "other", 3)
    before = set(host.bed.names())
    with host.bed.restic(key_hint=host.bed.access.record.key_id) as live:
        assert live.ask("backup", str(host.bed.folder / "other"), "--quiet").ok
    packs = [name for name in set(host.bed.names()) - before if name.startswith("data/")]
    host.back_up()
    garble(host, packs)
    result = direct(host)
    assert (result.canaries, result.files) == (6, 41)
    (problem,) = result.problems
    assert "restic's check, reading 100% of the data, found damage" in str(problem)


def test_sabotage_a_restore_that_restores_nothing_is_caught(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if restic itself claims success."""
    follow = Repository.follow

    def lazy(self: Repository, *words: str, **more: object) -> ResticResult:
        if words[0] == "restore":
            return ResticResult(code=0, out="", words="")
        return follow(self, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Repository, "follow", lazy)
    for everything in (False, True):
        said = told(direct(host, everything=everything))
        assert "6 of 6 canary files are missing" in said
        assert "were not restored" in said or "0 files of 0 bytes were restored; the snapshot has 41" in said


def test_the_age_of_a_snapshot_is_judged_by_the_storages_clock(host: Host) -> None:
    make_tree(host.bed.folder / "other", 3)
    with host.bed.restic(key_hint=host.bed.access.record.key_id) as live:
        forged = live.ask(
            "backup", "--time", "2031-01-01 00:00:00", str(host.bed.folder / "other"), "--quiet"
        )
        assert forged.ok, forged.words
    result = direct(host, newest=0)
    assert "the newest snapshot reached the storage 0.0 hours ago" in told(result)
    assert result.stored is not None
    assert result.stored.year < 2031


def test_the_allowed_age_of_a_snapshot_follows_from_the_sources_schedule(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weekly source is not stale after a day. Only the question to the storage is replaced here."""
    seen: list[timedelta] = []

    def asked(_: RestoreTestResult, __: object, newest: timedelta) -> None:
        seen.append(newest)
        raise LastcopyError("far enough")

    monkeypatch.setattr(trial, "_age", asked)
    record = host.bed.access.record.model_copy(update={"silent_after_hours": 200})
    weekly = replace(host, bed=replace(host.bed, access=replace(host.bed.access, record=record)))
    for newest in (None, 5):
        assert "far enough" in told(direct(weekly, newest=newest))
    assert seen == [timedelta(hours=200), timedelta(hours=5)]


def test_an_unreadable_newest_snapshot_is_reported_and_the_previous_one_is_tested(host: Host) -> None:
    host.bed.put("snapshots/" + "ab" * 32, b"garbage")
    result = direct(host)
    assert "1 snapshots cannot be read, among them the newest, abababab" in told(result)
    assert result.tried
    assert result.canaries == 6


def test_hidden_snapshots_and_an_exchanged_repository_are_reported(host: Host) -> None:
    other = host.bed.access.record.model_copy(update={"repository_id": "0" * 64})
    exchanged = replace(host, bed=replace(host.bed, access=replace(host.bed.access, record=other)))
    assert "another repository is in the place of the source's" in told(direct(exchanged))
    for name in host.bed.names():
        if name.startswith("snapshots/"):
            host.bed.hide(name)
    result = direct(host)
    assert result.verdict == "not tried"
    assert "there is no snapshot" in told(result)


def test_a_wrong_password_rings_the_alarm_and_does_not_stop_other_sources(
    host: Host, other_host: Host, tmp_path: Path
) -> None:
    _, kit, _, identity = host.kit
    known = sealed.unseal(Path(kit), passphrase=None, identity_file=identity)
    wrong = "not-the-password-at-all"
    first = known.sources[0].model_copy(update={"password": SecretStr(wrong)})
    second = known.sources[0].model_copy(update={"name": other_host.bed.access.record.name})
    made = known.model_copy(update={"sources": (first, second)})
    mine = Identity.from_str(Path(identity).read_text().strip()).to_public()
    Path(kit).write_bytes(sealed.seal(made.text(), recipients=(str(mine),), passphrase=None))
    code, said = host.restore_test("--on-failure", str(bell(tmp_path)))
    assert code == 1, said
    assert "the password does not belong to this repository" in said
    assert [line["result"] for line in host.recorded()] == ["not tried", "passed"]
    rang = (tmp_path / "rang").read_text()
    assert f"{first.name}: not tried" in rang
    assert second.name not in rang
    assert wrong not in said + rang + host.record.read_text()


def test_an_internal_error_of_the_restore_test_is_reported_and_rings_the_alarm(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise KeyError("passwords\x1b[2J")

    monkeypatch.setattr(trial, "_try_source", fault)
    result = direct(host)
    assert result.verdict == "not tried"
    assert "the restore test itself failed: KeyError" in told(result)
    assert "\x1b" not in told(result)
    monkeypatch.setattr(cli, "run_all", fault)
    assert host.restore_test("--on-failure", str(bell(tmp_path)))[0] == 1
    assert "did not finish: KeyError" in (tmp_path / "rang").read_text()


def bell(folder: Path) -> Path:
    """An alarm program that keeps its input."""
    program = folder / "bell"
    program.write_text(f"#!/bin/sh\ncat >{folder}/rang\n")
    program.chmod(0o755)
    return program


def test_too_little_disk_space_is_refused_and_a_disk_that_fills_up_is_reported(
    host: Host, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = host.restore_test("--scratch", str(small_disk))
    assert code == 1
    assert "not enough disk space for the restore" in said
    assert host.recorded()[0]["result"] == "not tried"
    assert not list(small_disk.iterdir())
    subprocess.run(["mount", "-o", "remount,size=3m", str(small_disk)], check=True)
    monkeypatch.setattr(trial, "_require_space", lambda *_: None)
    code, said = host.restore_test("--scratch", str(small_disk))
    assert code == 1
    assert "the disk is full, so nothing was proved" in said
    assert not list(small_disk.iterdir())


def started(host: Host, *more: str) -> subprocess.Popen[str]:
    """Start a restore test in a separate process, and wait until its programs run."""
    running = subprocess.Popen(
        [sys.executable, "-m", "ops", "restore-test", *host.words(*more)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
        start_new_session=True,
    )  # fmt: skip

    def at_work() -> list[Path]:
        assert running.poll() is None, running.communicate()[0]
        return list(host.scratch.glob("lastcopy-tmp-drill-*/lastcopy-tmp-recover-*/cache-*"))

    wait_until(at_work, 60, pause=0.02)
    return running


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_restore_test_leaves_nothing_and_rings_the_alarm(
    host: Host, tmp_path: Path, how: signal.Signals
) -> None:
    running = started(host, "--on-failure", str(bell(tmp_path)))
    running.send_signal(how)
    said = running.communicate(timeout=60)[0]
    assert running.returncode == 130, said
    assert not list(host.scratch.iterdir())
    assert "was interrupted" in (tmp_path / "rang").read_text()


def test_leftovers_of_a_killed_test_are_removed_and_those_of_a_running_test_are_kept(
    host: Host,
) -> None:
    running = started(host)
    os.killpg(running.pid, signal.SIGKILL)  # with its restic, which would keep making folders there
    running.communicate(timeout=60)
    wait_until(lambda: not list(host.scratch.iterdir()), 30, "the guard did not remove it")

    running = started(host)
    (left,) = host.scratch.iterdir()
    os.kill(guard_of(left), signal.SIGKILL)  # as if the machine had been switched off
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    assert left.exists(), "so the next start finds it"
    with scratch.open_scratch(host.scratch) as living:
        assert list(host.scratch.iterdir()) == [living]
        with scratch.open_scratch(host.scratch) as second:
            assert sorted(host.scratch.iterdir()) == sorted([living, second])


def test_a_user_other_than_root_can_empty_a_scratch_folder_that_holds_unreadable_folders() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        shutil.copytree(ROOT / "ops", place / "ops", ignore=shutil.ignore_patterns("__pycache__"))
        (place / "open").mkdir()
        (place / "open").chmod(0o777)
        code = (
            "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
            "from ops.private_folder import remove_folder\n"
            "top = Path(sys.argv[1], 'open', 'x'); deep = top / 'a' / 'b'; deep.mkdir(parents=True); (deep / 'f').touch()\n"
            "deep.chmod(0); (top / 'a').chmod(0); remove_folder(top); sys.exit(top.exists())"
        )
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", code, name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("subset", ["5", "0%", "101%", "7/5", "0/3", "5 %", "-1%", "3k", "--x"])
def test_a_malformed_subset_is_refused(subset: str) -> None:
    with pytest.raises(LastcopyError, match="is not a part of the data"):
        cli.check_subset(subset)
    for good in ("5%", "0.5%", "100%", "1/20", "2G"):
        cli.check_subset(good)


def test_wrong_options_and_an_alarm_that_fails_are_reported(host: Host, tmp_path: Path) -> None:
    for words, expected in (
        (["--on-failure", "mail"], "cannot be run"),
        (["--scratch", str(tmp_path / "none")], "no folder can be made"),
        (["--stack", "prod"], "say where the passwords come from"),
    ):
        code, said = host.restore_test(*words)
        assert (code, expected in said) == (1, True), said
    code, said = host.restore_test("--source", "nobody", "--on-failure", "/bin/false")
    assert code == 1
    assert "there is no source 'nobody'" in said
    assert "ended with exit status 1; nobody was notified" in said
    assert [line["result"] for line in host.recorded()] == ["not tried"]


def test_a_record_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record").symlink_to(tmp_path / "victim")
    extent = Extent(everything=True, sample_bytes=1, read_subset="5%", newest=timedelta(), seed=1)
    with pytest.raises(LastcopyError, match="cannot be written"):
        record.append(tmp_path / "record", RestoreTestResult(source="web1"), extent)
    assert not (tmp_path / "victim").exists()
