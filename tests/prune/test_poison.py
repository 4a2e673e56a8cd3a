"""S9 on a real storage: bogus keys, locks, packs and indexes stop a prune, and it never drops what only garbage replaces."""

from __future__ import annotations

import hashlib
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from ops.prune import locks, prune
from ops.recover.recovery import Recovery
from tests.prune import forger
from tests.prune.runs import by_arrival, refused, restores, run, words
from tests.recover.bed import Bed, bogus_keys, malformed_keys, named, now


def test_s9_bogus_and_malformed_keys_stop_a_prune_until_they_are_reviewed_and_then_do_no_harm(
    grown: Bed,
) -> None:
    bogus_keys(grown)
    malformed_keys(grown)
    said = refused(grown, says="examine it first")
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
    )  # half an hour later; the storage gives whole seconds
    code, said = run(grown)
    assert code == 0, said
    assert "1001 locks that nobody holds" in said
    assert not [name for name in grown.names() if name.startswith("locks/")]


def test_s9_sabotage_a_prune_that_leaves_bogus_locks_does_not_run(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    forger.put_sealed(
        grown, "locks", [{"time": now().isoformat(), "hostname": "web1", "username": "root", "pid": 7}]
    )
    monkeypatch.setattr(locks, "YOUNG", timedelta(seconds=-5))
    monkeypatch.setattr(locks, "remove_locks", lambda *_: None)
    code, said = run(grown)
    assert code == 1, said
    assert "already locked" in said


def two_files(bed: Bed) -> str:
    """Two more backups of other paths: of a pack with two files, one file is still needed. Returns the newer snapshot's id."""
    more = bed.folder / "more"
    more.mkdir()
    for name in ("stays", "goes"):
        (more / name).write_bytes(os.urandom(50_000))
    ids = []
    with bed.restic(key_hint=bed.access.record.key_id) as repository:
        for _ in range(2):
            assert repository.ask("backup", str(more)).ok
            (more / "goes").unlink(missing_ok=True)
            ids.append(max(repository.snapshots(), key=lambda one: str(one["time"]))["id"])
    return str(ids[-1])


def garbage_pack_that_an_index_trusts(bed: Bed) -> None:
    """An index that claims that garbage contains a good file. The good pack contains more, which nobody needs once the older
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
    # The size that restic expects: blob, header entry, the header's own encryption, its length.
    size = blob["length"] + (41 if blob.get("uncompressed_length") else 37) + 32 + 4
    body = os.urandom(size)
    name = hashlib.sha256(body).hexdigest()
    bed.put(f"data/{name[:2]}/{name}", body)
    forger.put_sealed(bed, "index", [{"packs": [{"id": name, "blobs": [{**blob, "offset": 0}]}]}])


def index_that_moves_blobs(bed: Bed) -> None:
    """No new pack: a new index claims that a good pack contains another one's blobs."""
    packs = [pack for index in forger.indexes(bed) for pack in index["packs"]]
    forger.put_sealed(bed, "index", [{"packs": [{"id": packs[0]["id"], "blobs": packs[-1]["blobs"]}]}])


def garbage_index(bed: Bed) -> None:
    body = b"garbage index" * 20
    bed.put(f"index/{hashlib.sha256(body).hexdigest()}", body)


def damaged_pack(bed: Bed) -> None:
    """A pack of a new backup whose content differs from its index: only reading it reveals that."""
    (bed.folder / "more" / "file").write_bytes(os.urandom(50_000))
    before = set(forger.packs(bed))
    with bed.restic(key_hint=bed.access.record.key_id) as repository:
        assert repository.ask("backup", str(bed.folder / "more")).ok
    for name in set(forger.packs(bed)) - before:
        bed.put(name, os.urandom(60_000))


POISON = {
    "garbage pack that an index trusts": (garbage_pack_that_an_index_trusts, "check of the repository fails"),
    "index that moves blobs": (index_that_moves_blobs, "check of the repository fails"),
    "garbage index": (garbage_index, "check of the repository fails"),
    "overwritten pack": (damaged_pack, "examine it first"),
}  # fmt: skip


@pytest.mark.parametrize("poison", POISON)
def test_s9_a_prune_refuses_until_new_packs_were_read_and_found_good(grown: Bed, poison: str) -> None:
    two_files(grown)
    put, says = POISON[poison]
    put(grown)
    refused(grown, says=says)


def test_s9_a_garbage_pack_in_no_index_is_removed(grown: Bed, tmp_path: Path) -> None:
    name = named("data", 4711)
    grown.put(name, b"garbage pack")
    code, said = run(grown)
    assert code == 0, said
    assert name not in grown.names()
    assert restores(grown, by_arrival(grown)[-1], tmp_path / "back") == grown.tree


ONE = ("--keep-last", "1")


def test_s9_sabotage_a_prune_that_reads_nothing_hides_a_good_file(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It completes and reports success; the file can only be restored from the earlier versions."""
    good = two_files(bed)
    garbage_pack_that_an_index_trusts(bed)
    moment = now()
    check = Recovery.check
    monkeypatch.setattr(Recovery, "check", lambda self, at, **_: check(self, at))
    code, said = run(bed, *ONE)
    assert code == 0, said
    with bed.restic(key_hint=bed.access.record.key_id) as repository:
        assert not repository.ask("restore", good, "--target", str(tmp_path / "now")).ok
    with bed.recovery() as found:
        assert found.open(moment).ask("restore", good, "--target", str(tmp_path / "then")).ok


def test_s9_poison_that_arrives_while_restic_prunes_is_found_and_every_version_is_kept(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root on a source sees the prune's lock and writes at once; no lock prevents that."""
    good = two_files(bed)
    forget = prune._forget_and_prune

    def raced(before: Recovery, drops: Any) -> None:
        garbage_pack_that_an_index_trusts(bed)
        forget(before, drops)

    monkeypatch.setattr(prune, "_forget_and_prune", raced)
    before = bed.versions()
    code, said = run(bed, *ONE)
    assert code == 1, said
    assert "restic's check fails after the prune" in said
    assert bed.versions() >= before
    (at,) = re.findall(r"rebuild --at (\S+Z)", said)
    done = CliRunner().invoke(app, ["recover", "rebuild", *words(bed), "--at", at, "--really"])
    assert done.exit_code == 0, done.output
    with bed.restic(key_hint=bed.access.record.key_id) as repository:
        assert repository.ask("restore", good, "--target", str(tmp_path / "back")).ok
