"""S8 and S9 on a real storage: whatever a source's root forges, the trusted prune drops no good snapshot and deletes no version."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from ops.__main__ import app
from ops.kit.kit import Kit, KitSource
from ops.kit.sealed import seal
from ops.prune import locks, prune, suspicion
from ops.recover.recovery import Recovery
from tests.prune import forger
from tests.recover.bed import Bed, bogus_keys, malformed_keys, named, now

ROOT = Path(__file__).resolve().parents[2]
# All snapshots of a test come within minutes: only --keep-last can tell them apart.
KEEP = ("--keep-last", "2", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0")


def words(bed: Bed) -> list[str]:
    """A kit that opens with a key: a passphrase would cost a second of a processor each time."""
    kit, identity = bed.folder / "kit.age", bed.folder / "identity"
    if not kit.exists():
        mine = pyrage.x25519.Identity.generate()
        identity.touch(0o600)
        identity.write_text(f"{mine}\n")
        room = KitSource(**bed.access.room.model_dump(), password=bed.access.password)
        made = Kit(
            made="2026-11-24T12:00:00Z",
            stack="test",
            where=bed.access.where,
            storage_key=bed.vault.key,
            how_to_get_identities="",
            sources=(room,),
            tools={},
            commands=(),
        )
        kit.write_bytes(seal(made.text(), recipients=(str(mine.to_public()),), passphrase=None))
    return ["--kit", str(kit), "--identity", str(identity), "--source", bed.access.room.name]


def run(bed: Bed, *more: str, action: str = "run") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["prune", action, *words(bed), *KEEP, *more], env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def plan(bed: Bed, *more: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["prune", "plan", "--json", *words(bed), *KEEP, *more])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def live(bed: Bed) -> set[str]:
    return {name.removeprefix("snapshots/") for name in bed.names() if name.startswith("snapshots/")}


def stands_as(bed: Bed) -> set[str]:
    """Everything that shows, locks left out."""
    return {name for name in bed.names() if not name.startswith("locks/")}


def refused(bed: Bed, *more: str, says: str) -> str:
    """A run that changes nothing and says why."""
    before = stands_as(bed), bed.versions()
    code, said = run(bed, *more)
    assert code == 1, said
    assert says in said, said
    assert (stands_as(bed), bed.versions()) == before
    return said


def restores(bed: Bed, snapshot: str, target: Path) -> str:
    with bed.restic(key_hint=bed.access.room.key_id) as repository:
        done = repository.ask("restore", snapshot, "--target", str(target))
        assert done.ok, done.words
    return bed.came_back(target)


def by_arrival(bed: Bed) -> list[str]:
    return [one["id"] for one in plan(bed)["snapshots"]]


def test_a_prune_drops_what_no_rule_keeps_and_recovery_knows_that_it_was_one(
    grown: Bed, tmp_path: Path
) -> None:
    first, *others = by_arrival(grown)
    before = grown.versions()
    packs = len(forger.packs(grown))
    code, said = run(grown, action="plan")
    assert code == 0, said
    assert "1 drop" in said
    assert live(grown) == {first, *others}

    code, said = run(grown)
    assert code == 0, said
    assert "1 snapshots dropped" in said
    assert live(grown) == set(others)
    assert len(forger.packs(grown)) <= packs
    assert grown.versions() >= before, "a version was deleted"
    assert restores(grown, others[-1], tmp_path / "back") == grown.tree
    with grown.recovery() as found:
        assert found.since is not None
        assert "pruned" in found.since[1]
        assert found.proposal.sign is None
        assert found.good(None, even_if_damaged=False).whole

    code, said = run(grown)  # and again: nothing to do
    assert code == 0, said
    assert "nothing to drop" in said
    grown.back_up()
    with grown.recovery() as found:  # what was dropped comes back from before, for as long as the lock holds
        good = found.good(
            found.history.names[f"snapshots/{first}"][-1].at - timedelta(milliseconds=1),
            even_if_damaged=False,
        )
        assert first in {one["id"] for one in good.snapshots}


def days(number: int, *, back: bool) -> list[datetime]:
    return [now() + timedelta(days=day) * (-1 if back else 1) for day in range(3, 3 + number)]


FORGED: dict[str, tuple[Callable[[Bed], list[str]], str]] = {
    "past": (lambda bed: forger.snapshot_like(bed, days(5, back=True)), "more than 48 h before it arrived"),
    "future": (lambda bed: forger.snapshot_like(bed, days(5, back=False)), "still to come when it arrived"),
    "end of time": (lambda bed: forger.snapshot_like(bed, ["9999-12-31T23:59:59-14:00"]), "still to come"),
    "host": (lambda bed: forger.snapshot_like(bed, [now()] * 3, hostname="\x1b[2Jdb1"), "is of host \\x1b[2Jdb1"),
    "unreadable": (lambda bed: forger.put_sealed(bed, "snapshots", ["no snapshot"]), "restic cannot read it"),
}  # fmt: skip


@pytest.mark.parametrize("lie", FORGED)
def test_s8_forged_snapshots_are_refused_by_name_and_set_aside_they_displace_no_good_one(
    grown: Bed, lie: str, tmp_path: Path
) -> None:
    good = by_arrival(grown)
    forge, reason = FORGED[lie]
    ids = forge(grown)
    said = refused(grown, says=reason)
    assert all(one[:8] in said for one in ids)
    assert "\x1b[2J" not in said
    if lie == "unreadable":  # restic can prune nothing over it; recovery hides it
        refused(grown, "--set-aside", ids[0], says="check of what stands fails")
        return
    code, said = run(grown, *(word for one in ids for word in ("--set-aside", one[:10])))
    assert code == 0, said
    assert live(grown) == {*good[1:], *ids}
    assert restores(grown, good[-1], tmp_path / "back") == grown.tree


def test_s8_a_burst_of_a_thousand_is_refused_and_displaces_nothing(grown: Bed) -> None:
    good = by_arrival(grown)
    forger.snapshot_like(grown, [now()] * 1000)
    said = refused(grown, says="1003 snapshots are suspicious")
    assert "one of a burst of 1003" in said
    found = plan(grown, "--set-aside", "suspicious")
    assert not [row for row in found["snapshots"] if row["verdict"] == "drop"]
    assert {row["id"] for row in found["snapshots"]} > set(good)


def test_s8_sabotage_a_prune_that_trusts_claims_drops_good_snapshots(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = by_arrival(grown)
    forger.snapshot_like(grown, days(5, back=False))
    read = suspicion.read

    def trusting(stored: Any, told: Any) -> Any:
        claims = {one["id"]: datetime.fromisoformat(one["time"]) for one in told}
        return read({name: claims[name] for name in stored}, told)

    monkeypatch.setattr(prune, "read", trusting)
    code, said = run(grown)
    assert code == 0, said
    assert not live(grown) & set(good)


def test_s9_bogus_and_malformed_keys_stop_a_prune_until_somebody_looked_and_then_do_not_matter(
    grown: Bed,
) -> None:
    bogus_keys(grown)
    malformed_keys(grown)
    said = refused(grown, says="look first")
    assert "added in a burst of keys" in said
    time.sleep(1.1)
    code, said = run(grown, "--seen-until", now().isoformat())
    assert code == 0, said
    assert "1 snapshots dropped" in said


def test_s9_sabotage_without_the_key_hint_the_same_prune_cannot_open_the_repository(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bogus_keys(grown)
    time.sleep(1.1)
    opens = Recovery.open

    def unhinted(self: Recovery, at: datetime | None) -> Any:
        return replace(opens(self, at), key_hint=None)

    monkeypatch.setattr(Recovery, "open", unhinted)
    refused(grown, "--seen-until", now().isoformat(), says="cannot be listed")


def bogus_locks(bed: Bed, number: int) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(
            pool.map(
                lambda one: bed.put(f"locks/{hashlib.sha256(b'%d' % one).hexdigest()}", b"no lock"),
                range(number),
            )
        )


def test_s9_young_locks_are_waited_for_and_thousands_of_old_ones_removed(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    forger.put_sealed(
        grown, "locks", [{"time": now().isoformat(), "hostname": "web1", "username": "root", "pid": 7}]
    )
    said = refused(grown, says="1 locks are younger than 30 minutes")
    assert "cut the source off" in said
    bogus_locks(grown, 1000)
    refused(grown, says="1001 locks are younger")
    monkeypatch.setattr(
        locks, "YOUNG", timedelta(seconds=-5)
    )  # half an hour later; the storage tells whole seconds
    began = time.monotonic()
    code, said = run(grown)
    assert code == 0, said
    assert "1001 locks that nobody holds" in said
    assert time.monotonic() - began < 90
    assert not [name for name in grown.names() if name.startswith("locks/")]


def test_s9_sabotage_a_prune_that_leaves_bogus_locks_does_not_run(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    forger.put_sealed(
        grown, "locks", [{"time": now().isoformat(), "hostname": "web1", "username": "root", "pid": 7}]
    )
    monkeypatch.setattr(locks, "YOUNG", timedelta(seconds=-5))
    monkeypatch.setattr(locks, "remove", lambda *_: None)
    code, said = run(grown)
    assert code == 1, said
    assert "already locked" in said


def two_files(bed: Bed) -> str:
    """Two more backups, of other paths: of one pack with two files one is still needed. The newer one's id."""
    more = bed.folder / "more"
    more.mkdir()
    for name in ("stays", "goes"):
        (more / name).write_bytes(os.urandom(50_000))
    ids = []
    with bed.restic(key_hint=bed.access.room.key_id) as repository:
        for _ in range(2):
            assert repository.ask("backup", str(more)).ok
            (more / "goes").unlink(missing_ok=True)
            ids.append(max(repository.snapshots(), key=lambda one: str(one["time"]))["id"])
    return str(ids[-1])


def garbage_pack_that_an_index_trusts(bed: Bed) -> None:
    """An index that claims that garbage holds a good file. The good pack holds more, which nobody needs once the older
    snapshot is dropped: a prune that trusts the index keeps the garbage and hides the good pack."""
    needed = (bed.folder / "more" / "stays").read_bytes()
    id_ = hashlib.sha256(needed).hexdigest()
    (blob,) = (
        blob
        for index in forger.indexes(bed)
        for pack in index["packs"]
        for blob in pack["blobs"]
        if blob["id"] == id_
    )
    # As large as restic expects of it: blob, header entry, the header's own encryption, its length.
    size = blob["length"] + (41 if blob.get("uncompressed_length") else 37) + 32 + 4
    body = os.urandom(size)
    name = hashlib.sha256(body).hexdigest()
    bed.put(f"data/{name[:2]}/{name}", body)
    forger.put_sealed(bed, "index", [{"packs": [{"id": name, "blobs": [{**blob, "offset": 0}]}]}])


def index_that_moves_blobs(bed: Bed) -> None:
    """No new pack: a new index says that a good pack holds another one's blobs."""
    packs = [pack for index in forger.indexes(bed) for pack in index["packs"]]
    forger.put_sealed(bed, "index", [{"packs": [{"id": packs[0]["id"], "blobs": packs[-1]["blobs"]}]}])


def garbage_index(bed: Bed) -> None:
    body = b"garbage index" * 20
    bed.put(f"index/{hashlib.sha256(body).hexdigest()}", body)


def damaged_pack(bed: Bed) -> None:
    """A pack of an own new backup whose content is not what its index says: only reading it shows it."""
    (bed.folder / "more" / "file").write_bytes(os.urandom(50_000))
    before = set(forger.packs(bed))
    with bed.restic(key_hint=bed.access.room.key_id) as repository:
        assert repository.ask("backup", str(bed.folder / "more")).ok
    for name in set(forger.packs(bed)) - before:
        bed.put(name, os.urandom(60_000))


POISON = {
    "garbage pack that an index trusts": (garbage_pack_that_an_index_trusts, "check of what stands fails"),
    "index that moves blobs": (index_that_moves_blobs, "check of what stands fails"),
    "garbage index": (garbage_index, "check of what stands fails"),
    "overwritten pack": (damaged_pack, "look first"),
}  # fmt: skip


@pytest.mark.parametrize("poison", POISON)
def test_s9_a_prune_refuses_until_what_is_new_was_read_and_found_good(grown: Bed, poison: str) -> None:
    two_files(grown)
    put, says = POISON[poison]
    put(grown)
    refused(grown, says=says)


def test_s9_a_garbage_pack_that_no_index_knows_is_swept_away(grown: Bed, tmp_path: Path) -> None:
    name = named("data", 4711)
    grown.put(name, b"garbage pack")
    code, said = run(grown)
    assert code == 0, said
    assert name not in grown.names()
    assert restores(grown, by_arrival(grown)[-1], tmp_path / "back") == grown.tree


ONE = ("--keep-last", "1")


def test_s9_sabotage_a_prune_that_reads_nothing_loses_a_good_file_from_sight(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes through and says that all is well; the file comes back only from the versions below."""
    good = two_files(bed)
    garbage_pack_that_an_index_trusts(bed)
    moment = now()
    check = Recovery.check
    monkeypatch.setattr(Recovery, "check", lambda self, at, **_: check(self, at))
    code, said = run(bed, *ONE)
    assert code == 0, said
    with bed.restic(key_hint=bed.access.room.key_id) as repository:
        assert not repository.ask("restore", good, "--target", str(tmp_path / "now")).ok
    with bed.restic(at=moment, key_hint=bed.access.room.key_id) as repository:
        assert repository.ask("restore", good, "--target", str(tmp_path / "then")).ok


def test_s9_poison_that_comes_while_restic_prunes_is_found_and_every_version_is_there_for_the_way_back(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source's root sees our lock and writes at once; no lock stops him."""
    good = two_files(bed)
    forget = prune._forget_and_prune

    def raced(before: Recovery, drops: Any) -> None:
        garbage_pack_that_an_index_trusts(bed)
        forget(before, drops)

    monkeypatch.setattr(prune, "_forget_and_prune", raced)
    before = bed.versions()
    code, said = run(bed, *ONE)
    assert code == 1, said
    assert "after the prune restic's check fails" in said
    assert bed.versions() >= before
    (at,) = re.findall(r"rebuild --at (\S+Z)", said)
    done = CliRunner().invoke(app, ["recover", "rebuild", *words(bed), "--at", at, "--really"])
    assert done.exit_code == 0, done.output
    with bed.restic(key_hint=bed.access.room.key_id) as repository:
        assert repository.ask("restore", good, "--target", str(tmp_path / "back")).ok


def test_signs_of_an_attack_stop_a_prune(grown: Bed) -> None:
    grown.hide(next(name for name in grown.names() if name.startswith("data/")))
    refused(grown, says="look first")


def test_a_backup_that_comes_while_everything_is_read_stops_the_prune(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Recovery.check

    def slow(self: Recovery, at: datetime | None, **more: Any) -> Any:
        answer = check(self, at, **more)
        grown.back_up()
        return answer

    good = live(grown)
    monkeypatch.setattr(Recovery, "check", slow)
    code, said = run(grown)
    assert code == 1, said
    assert "came or went while the repository was read" in said
    assert live(grown) > good


def killed_when(bed: Bed, seen: str, number: signal.Signals, *, nth: int = 1, wait: float = 0) -> None:
    """`prune run`, killed as soon as it says this; with its children, for it leads a group of its own."""
    running = subprocess.Popen(
        [sys.executable, "-m", "ops", "prune", "run", *words(bed), *KEEP],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if said.count(seen) == nth:
            time.sleep(wait)
            os.killpg(running.pid, number)
            break
    running.communicate(timeout=60)
    assert running.returncode != 0, said


READS, FORGOTTEN = "reads and checks every pack;", "snapshots are forgotten"


@pytest.mark.parametrize(
    ("seen", "nth", "wait", "number"),
    [
        (READS, 1, 0, signal.SIGKILL),
        (FORGOTTEN, 1, 0, signal.SIGKILL),
        (FORGOTTEN, 1, 0.5, signal.SIGKILL),
        (FORGOTTEN, 1, 0.1, signal.SIGTERM),
        (READS, 2, 0, signal.SIGKILL),
    ],
)
def test_a_prune_killed_anywhere_is_finished_by_the_next(
    grown: Bed, seen: str, nth: int, wait: float, number: signal.Signals, tmp_path: Path
) -> None:
    _, *others = by_arrival(grown)
    before = grown.versions()
    killed_when(grown, seen, number, nth=nth, wait=wait)
    assert live(grown) >= set(others)
    code, said = run(grown)
    assert code == 0, said
    assert "pruned:" in said
    assert live(grown) == set(others)
    assert grown.versions() >= before
    assert restores(grown, others[-1], tmp_path / "back") == grown.tree
    with grown.recovery() as found:
        assert found.proposal.sign is None
    code, said = run(grown)
    assert "nothing to drop" in said


def test_sabotage_without_the_note_of_intent_a_killed_prune_is_taken_for_an_attack(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_when(grown, FORGOTTEN, signal.SIGKILL)
    monkeypatch.setattr(prune.intent, "unfinished", lambda *_: ())
    refused(grown, says="look first")


def test_a_note_of_intent_excuses_no_other_snapshot_and_none_with_another_password(grown: Bed) -> None:
    first, second, _ = by_arrival(grown)
    with grown.recovery() as found:
        found.storage.write_note(*prune.intent.make(grown.access, found.history, [first]))
    grown.hide(f"snapshots/{second}")
    refused(grown, says="look first")


def test_a_forged_note_of_intent_does_not_count(grown: Bed) -> None:
    first, *_ = by_arrival(grown)
    forger_ = replace(grown.access, password=SecretStr("what the attacker guesses"))
    with grown.recovery() as found:
        found.storage.write_note(*prune.intent.make(forger_, found.history, [first]))
    grown.hide(f"snapshots/{first}")
    refused(grown, says="look first")


def test_a_lock_of_a_prune_that_was_killed_here_is_told_from_one_that_runs(grown: Bed) -> None:
    mine = {"time": now().isoformat(), "hostname": socket.gethostname(), "username": "root"}
    forger.put_sealed(grown, "locks", [{**mine, "pid": os.getpid()}])
    refused(grown, says="1 locks are younger")


@pytest.mark.parametrize(
    "bad",
    [
        (["--keep-last", "0"], "the newest snapshot must stay"),
        (["--keep-within", "3weeks"], "not a length of time"),
        (["--seen-until", "2999-01-01T00:00:00Z"], "in the future"),
        (["--set-aside", "nothex"], "0 snapshots have the id"),
    ],
)
def test_bad_words_change_nothing(grown: Bed, bad: tuple[list[str], str]) -> None:
    refused(grown, *bad[0], says=bad[1])
