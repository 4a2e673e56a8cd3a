"""The restore drill on real repositories: what is sound passes; each thing that is not is told, recorded, and rings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from ops.kit.kit import KitSource
from ops.recover.engine import Answer, Repository
from ops.restore_drill import canary, drill, scratch
from ops.restore_drill.drill import Extent, Result
from tests.recover.bed import PASSWORD, make_tree
from tests.recover.test_bad_input import small_disk as small_disk  # a fixture
from tests.restore_drill.host import Host

ROOT = Path(__file__).resolve().parents[2]


def direct(host: Host, *, newest: float = 26, password: str = PASSWORD, everything: bool = False) -> Result:
    """One source's drill without the command line."""
    extent = Extent(
        everything=everything, sample_bytes=64 << 20, read_subset="100%", newest=timedelta(hours=newest), seed=1
    )  # fmt: skip
    access = replace(host.bed.access, password=SecretStr(password))
    return drill.drill(access, host.bed.tools, extent, host.scratch, lambda _: None)


def told(result: Result) -> str:
    return "\n".join(str(problem) for problem in result.problems)


def test_a_sound_repository_passes_and_is_recorded(host: Host) -> None:
    code, said = host.drill("--seed", "7")
    assert code == 0, said
    assert "6 canary files and 41 others as they must be" in said
    code, said = host.drill("--all", "--sample-mib", "1")
    assert code == 0, said
    assert "and 41 others" in said
    first, second = host.recorded()
    assert (first["result"], first["seed"], first["extent"], first["canaryFiles"]) == (
        "passed",
        7,
        "sample",
        6,
    )
    assert first["bytes"] > 1_000_000
    assert first["seconds"]["restore"] <= first["seconds"]["whole"]
    assert first["repository"] == host.bed.access.room.repository_id
    assert second["extent"] == "all"
    assert host.record.stat().st_mode & 0o777 == 0o600
    secret = host.bed.vault.key.secret_access_key.get_secret_value()
    assert not any(word in said + host.record.read_text() for word in (PASSWORD, secret))


def test_the_sample_is_bounded_and_its_seed_gives_it_again(host: Host) -> None:
    for _ in range(2):
        code, said = host.drill("--sample-mib", "1", "--seed", "5", "--read-data-subset", "5%")
        assert code == 0, said
    first, second = host.recorded()
    assert 0 < first["files"] < 41
    assert first["bytes"] <= (1 << 20) + sum(map(len, canary.expected("").values()))
    assert (first["files"], first["bytes"]) == (second["files"], second["bytes"])


def encrypt(host: Host) -> None:
    """As ransomware does: same name and size, other content; the snapshot before stays as it was."""
    for name in ("photo.jpg", "archive/database.sql"):
        file = host.canary / name
        file.write_bytes(bytes(byte ^ 0x5A for byte in file.read_bytes()))
    host.back_up()


def test_an_encrypted_canary_fails_and_says_what_it_means(host: Host) -> None:
    encrypt(host)
    code, said = host.drill()
    assert code == 1
    assert "2 of 6 canary files are not what they were (photo.jpg, archive/database.sql)" in said
    assert "most likely the source's files are being encrypted" in said
    assert "cut the source off" in said
    assert host.recorded()[0]["result"] == "failed"


def test_sabotage_a_drill_that_compares_no_canary_is_caught(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "compare", lambda *_: ([], []))
    with pytest.raises(AssertionError):
        test_an_encrypted_canary_fails_and_says_what_it_means(host)


def test_a_deleted_canary_fails_and_one_that_is_a_link_is_none(host: Host) -> None:
    (host.canary / "letter.txt").unlink()
    elsewhere = host.canary.parent / "elsewhere"
    shutil.move(host.canary / "report.pdf", elsewhere)
    (host.canary / "report.pdf").symlink_to(elsewhere)  # it would read right through the link on this machine
    host.back_up()
    code, said = host.drill()
    assert code == 1
    assert "2 of 6 canary files are missing from the newest snapshot (letter.txt, report.pdf)" in said
    shutil.rmtree(host.canary)
    host.back_up()
    assert "6 of 6 canary files are missing" in told(direct(host))


def test_a_backup_of_nothing_fails(host: Host) -> None:
    host.back_up(tree=False)
    assert "a backup of nothing" in told(direct(host))


def test_a_garbled_pack_fails_and_hostile_names_stay_words(host: Host) -> None:
    packs = [name for name in host.bed.names() if name.startswith("data/")]
    for name in packs:
        body = host.bed.s3.get_object(Bucket="backups", Key=host.bed.prefix + name)["Body"].read()
        middle = len(body) // 2
        host.bed.put(name, body[: middle - 20] + bytes(40) + body[middle + 20 :])
    code, said = host.drill()
    assert code == 1
    assert "recover look" in said
    assert "\x1b[31m" not in said
    (line,) = host.recorded()
    assert line["notices"], "the overwriting is seen in the storage's memory, too"


def test_damage_in_data_that_was_not_sampled_is_found_by_the_check(host: Host) -> None:
    """One pack of the first backup's own, after the drill was told to sample nothing of it."""
    result = direct(host)
    assert not result.problems
    sound = Repository.ask

    def damaged(self: Repository, *words: str) -> Answer:
        if words[0] == "check":
            assert "--read-data-subset=100%" in words
            return Answer(code=1, out="", words="    pack 1234 contains errors")
        return sound(self, *words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repository, "ask", damaged)
        assert "finds damage" in told(direct(host))


def test_sabotage_a_restore_that_brings_nothing_is_caught(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if restic itself claimed success."""
    follow = Repository.follow

    def lazy(self: Repository, *words: str, **more: object) -> Answer:
        if words[0] == "restore":
            return Answer(code=0, out="", words="")
        return follow(self, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Repository, "follow", lazy)
    for everything in (False, True):
        said = told(direct(host, everything=everything))
        assert "6 of 6 canary files are missing" in said
        assert "did not come back" in said or "0 files of 0 bytes came back; the snapshot has 41" in said


def test_a_stale_snapshot_is_told_by_the_storages_clock(host: Host) -> None:
    make_tree(host.bed.folder / "other", 3)
    with host.bed.restic(key_hint=host.bed.access.room.key_id) as live:
        forged = live.ask(
            "backup", "--time", "2031-01-01 00:00:00", str(host.bed.folder / "other"), "--quiet"
        )
        assert forged.ok, forged.words
    result = direct(host, newest=0)
    assert "the newest snapshot reached the storage 0.0 hours ago" in told(result)
    assert result.stored is not None
    assert result.stored.year < 2031
    assert not [one for one in direct(host).problems if "hours ago" in str(one)]


def test_a_newer_snapshot_that_cannot_be_read_is_told_and_the_one_before_is_tried(host: Host) -> None:
    host.bed.put("snapshots/" + "ab" * 32, b"garbage")
    result = direct(host)
    assert "1 newer snapshots cannot be read, the last is abababab" in told(result)
    assert result.tried
    assert result.canaries == 6


def test_hidden_snapshots_and_another_repository_are_told(host: Host) -> None:
    other = host.bed.access.room.model_copy(update={"repository_id": "0" * 64})
    exchanged = replace(host, bed=replace(host.bed, access=replace(host.bed.access, room=other)))
    assert "another repository stands at the source's place" in told(direct(exchanged))
    for name in host.bed.names():
        if name.startswith("snapshots/"):
            host.bed.hide(name)
    result = direct(host)
    assert result.verdict == "not tried"
    assert "no snapshot stands" in told(result)


def test_a_wrong_password_stops_no_other_source_and_rings(host: Host, tmp_path: Path) -> None:
    from ops.kit import sealed
    from tests.recover.bed import PASSPHRASE

    kit, phrase = host.bed.kit(host.bed.vault.key)
    known = sealed.unseal(kit, passphrase=PASSPHRASE, identity_file=None)
    wrong = "not-the-password-at-all"
    room = KitSource(**{**known.sources[0].model_dump(), "password": SecretStr(wrong)})
    both = known.model_copy(update={"sources": (room.model_copy(update={"name": "aaa"}), *known.sources)})
    wrong_place = both.sources[0].model_copy(update={"name": known.sources[0].name})
    two = both.model_copy(
        update={"sources": (wrong_place, known.sources[0].model_copy(update={"name": "zzz"}))}
    )
    for made, verdicts in ((both, ["not tried", "passed"]), (two, ["not tried", "not tried"])):
        host.record.unlink(missing_ok=True)
        kit.write_bytes(sealed.seal(made.text(), recipients=(), passphrase=PASSPHRASE))
        rang = tmp_path / "rang"
        bell = tmp_path / "bell"
        bell.write_text(f"#!/bin/sh\ncat >{rang}\n")
        bell.chmod(0o755)
        words = [
            "--kit", str(kit), "--passphrase-file", str(phrase), "--record", str(host.record),
            "--scratch", str(host.scratch), "--on-failure", str(bell),
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "ops", "restore-drill", "run", *words],
            cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stdout + done.stderr
        assert [line["result"] for line in host.recorded()] == verdicts
        assert wrong not in done.stdout + done.stderr + rang.read_text() + host.record.read_text()
        assert "not tried" in rang.read_text()
    assert "the password is not this repository's" in done.stdout


def test_a_scratch_without_room_is_refused_and_one_that_gets_full_told(
    host: Host, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = host.drill("--scratch", str(small_disk))
    assert code == 1
    assert "too little room for the restore" in said
    assert host.recorded()[0]["result"] == "not tried"
    assert not list(small_disk.iterdir())
    subprocess.run(["mount", "-o", "remount,size=3m", str(small_disk)], check=True)
    monkeypatch.setattr(drill, "_room", lambda *_: None)
    code, said = host.drill("--scratch", str(small_disk))
    assert code == 1
    assert "the disk got full, so nothing was proved" in said
    assert not list(small_disk.iterdir())


def started(host: Host, *more: str) -> subprocess.Popen[str]:
    """A drill in a process of its own, up to the moment when its programs are at work."""
    running = subprocess.Popen(
        [sys.executable, "-m", "ops", "restore-drill", *host.words(*more)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(host.scratch.glob("lastcopy-drill-*/lastcopy-recover-*/cache-*")):
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return running


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drill_leaves_nothing_and_rings(
    host: Host, tmp_path: Path, how: signal.Signals
) -> None:
    bell = tmp_path / "bell"
    bell.write_text(f"#!/bin/sh\ncat >{tmp_path}/rang\n")
    bell.chmod(0o755)
    running = started(host, "--on-failure", str(bell))
    running.send_signal(how)
    said = running.communicate(timeout=60)[0]
    assert running.returncode == 130, said
    assert not list(host.scratch.iterdir())
    assert "was interrupted" in (tmp_path / "rang").read_text()


def test_what_a_killed_drill_left_goes_at_the_next_start_and_a_living_ones_stays(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = started(host)
    running.kill()
    running.communicate(timeout=60)
    assert list(host.scratch.iterdir()), "so the next look can find it"
    monkeypatch.setattr(scratch, "_YOUNG_SECONDS", -1)
    with scratch.scratch_below(host.scratch) as living:
        assert list(host.scratch.iterdir()) == [living]
        with scratch.scratch_below(host.scratch) as second:
            assert sorted(host.scratch.iterdir()) == sorted([living, second])
    code, said = host.drill()
    assert code == 0, said


def test_the_scratch_is_emptied_of_folders_without_rights(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    code = (
        "import sys, os; from pathlib import Path; from ops.restore_drill.scratch import empty;"
        "top = Path(sys.argv[1]) / 'x'; deep = top / 'a' / 'b'; deep.mkdir(parents=True); (deep / 'f').touch();"
        "deep.chmod(0); (top / 'a').chmod(0); empty(top); sys.exit(top.exists())"
    )
    program = shutil.copytree(ROOT / "ops", tmp_path / "ops", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c",
         "import sys, types; m = types.ModuleType('ops.recover.errors'); m.RecoverError = Exception; m.shown = str;"
         "sys.modules['ops.recover.errors'] = m;" + code, str(place)],
        cwd=program.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_wrong_words_are_told_before_anything_is_dialled(host: Host, tmp_path: Path) -> None:
    for words, expected in (
        (["--read-data-subset", "5"], "is not a part of the data"),
        (["--read-data-subset", "0%"], "is not a part of the data"),
        (["--read-data-subset", "7/5"], "is not a part of the data"),
        (["--on-failure", "mail"], "cannot be run"),
        (["--scratch", str(tmp_path / "none")], "no folder can be made"),
        (["--source", "nobody"], "there is no source 'nobody'"),
        (["--stack", "prod"], "say where the passwords come from"),
    ):
        code, said = host.drill(*words)
        assert (code, expected in said) == (1, True), said
    host.record.parent.mkdir(exist_ok=True)
    host.record.unlink(missing_ok=True)
    host.record.symlink_to(tmp_path / "victim")
    code, said = host.drill()
    assert (code, "cannot be written" in said) == (1, True), said
    assert not (tmp_path / "victim").exists()


def test_a_bell_that_does_not_ring_is_told(host: Host) -> None:
    code, said = host.drill("--source", "nobody", "--on-failure", "/bin/false")
    assert code == 1
    assert "ended with exit status 1; nobody was told" in said
    assert json.loads(host.record.read_text())["result"] == "not tried"
