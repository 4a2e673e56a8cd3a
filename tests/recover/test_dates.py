"""R3 on a storage such as minio that lets a writer choose a version's date: the end of the lock gives the true date, and restores use it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ops.errors import LastcopyError
from ops.history.dates import EARLY, parse_retention
from ops.history.timeline import Kind, find_acts
from ops.recover import recovery as whole
from ops.recover.rebuild import plan_rebuild, rebuild
from ops.recover.restore import choose_snapshot, restore
from ops.storage.client import LockReader
from tests.recover.bed import BUCKET, Bed, named


@contextmanager
def dated(bed: Bed, at: datetime) -> Iterator[None]:
    """Within the block, everything written gets this date."""
    date = at.isoformat().replace("+00:00", "Z")

    def add(params: dict[str, Any], **_: object) -> None:
        params["headers"]["x-minio-source-mtime"] = date

    calls = ("PutObject", "DeleteObject")
    for call in calls:
        bed.s3.meta.events.register(f"before-call.s3.{call}", add)
    try:
        yield
    finally:
        for call in calls:
            bed.s3.meta.events.unregister(f"before-call.s3.{call}", add)


def rows(bed: Bed) -> list[dict[str, Any]]:
    found = bed.s3.list_object_versions(Bucket=BUCKET.name, Prefix=bed.prefix)["Versions"]
    return [row for row in found if "/locks/" not in row["Key"]]


def overwrite_just_after(bed: Bed) -> None:
    """Garbage over every object, dated a millisecond after the object: it is in every view of the past but the oldest."""
    for row in rows(bed):
        with dated(bed, row["LastModified"] + timedelta(milliseconds=1)):
            bed.put(row["Key"].removeprefix(bed.prefix), b"garbage")


def index_of_long_ago(bed: Bed) -> None:
    """A garbage index dated before the repository existed: it is in every view."""
    body = b"garbage" * 50
    with dated(bed, datetime.fromisoformat("2001-01-01T00:00:00+00:00")):
        bed.put(f"index/{hashlib.sha256(body).hexdigest()}", body)


def hidden_long_ago(bed: Bed) -> None:
    """Delete markers with the dates of the objects that they hide, and one version that reveals the forger."""
    for row in rows(bed):
        with dated(bed, row["LastModified"] + timedelta(milliseconds=1)):
            bed.hide(row["Key"].removeprefix(bed.prefix))
    index_of_long_ago(bed)


def in_the_future(bed: Bed) -> None:
    """Garbage dated ahead, so that the last good moment seems to be in the future."""
    for row in rows(bed):
        with dated(bed, datetime.fromisoformat("2099-01-01T00:00:00+00:00")):
            bed.put(row["Key"].removeprefix(bed.prefix), b"garbage")


def later(attack: Callable[[Bed], None], bed: Bed) -> None:
    """An attack shortly after the last backup; later ones cannot be told apart (dates.EARLY)."""
    time.sleep(EARLY.total_seconds() + 1)
    attack(bed)


ATTACKS = (overwrite_just_after, index_of_long_ago, hidden_long_ago, in_the_future)


def restored(bed: Bed, target: Path) -> str:
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        restore(good, choose_snapshot(good, None), target)
    return bed.came_back(target)


@pytest.mark.parametrize("attack", ATTACKS)
def test_r3_forged_dates_do_not_affect_the_view_of_the_past(
    bed: Bed, tmp_path: Path, attack: Callable[[Bed], None]
) -> None:
    later(attack, bed)
    with bed.recovery() as found:
        assert Kind.BACKDATED in {act.kind for act in find_acts(found.history)}
        assert found.ahead is None, "a check of a view by forged dates is discarded"
    assert restored(bed, tmp_path / "back") == bed.tree


def test_a_check_of_a_view_by_honest_dates_counts(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object) -> None:
        raise AssertionError("it was begun before")

    with bed.recovery() as found:
        assert found.ahead is not None
        assert found.ahead.moment == found.proposal.at
        assert found.reload().ahead is None, "it belongs to the earlier history"
        monkeypatch.setattr(whole.Recovery, "check", late)
        good = found.open_moment(None, even_if_damaged=False)
        assert good.whole
        assert len(good.snapshots) >= 2
    with bed.recovery(ahead=False) as found, pytest.raises(AssertionError, match="begun before"):
        found.open_moment(None, even_if_damaged=False)


def test_sabotage_if_a_check_by_forged_dates_counts_the_good_moment_is_lost(bed: Bed) -> None:
    later(index_of_long_ago, bed)
    with bed.recovery(ahead=False) as honest:
        moment = honest.proposal.at
        forged = replace(honest, history=honest.storage.history())
        with forged.start_check(moment) as begun:
            assert begun is not None
            wrong = replace(honest, ahead=begun)
            with pytest.raises(LastcopyError):
                wrong.open_moment(moment, even_if_damaged=False)
        assert honest.open_moment(moment, even_if_damaged=False).whole


@pytest.mark.parametrize("attack", [overwrite_just_after, index_of_long_ago])
def test_r3_sabotage_by_the_storages_dates_recovery_fails(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: Callable[[Bed], None]
) -> None:
    monkeypatch.setattr(whole, "_by_writing", lambda _access, _storage, history, *_: history)
    later(attack, bed)
    with pytest.raises(LastcopyError):
        restored(bed, tmp_path / "back")


def test_the_fast_reader_of_locks_agrees_with_the_client(bed: Bed) -> None:
    """If there is no lock, no version, or no right to ask, it returns nothing, and the slower client is asked."""
    with bed.recovery() as found:
        storage, access = found.storage, found.access
        heads, ca = LockReader(access, found.folder / "ca.pem"), found.folder / "ca.pem"
        asked = [entry for entries in found.history.names.values() for entry in entries if not entry.marker]
        told = {entry.id: heads.lock_of(storage.prefix + entry.name, entry.id) for entry in asked}
        by_client = {
            entry.id: storage._s3.head_object(
                Bucket=storage.bucket, Key=storage.prefix + entry.name, VersionId=entry.id
            ).get("ObjectLockRetainUntilDate")
            for entry in asked
        }
        assert told == by_client
        assert None not in told.values()
        one = asked[0]
        assert heads.lock_of(storage.prefix + one.name, "no-such-version") is None
        wrong = access.key.model_copy(update={"secret_access_key": SecretStr("not-the-secret-at-all")})
        assert LockReader(replace(access, key=wrong), ca).lock_of(storage.prefix + one.name, one.id) is None
        nowhere = access.where.model_copy(update={"endpoint": "https://127.0.0.1:1"})
        assert (
            LockReader(replace(access, where=nowhere), ca).lock_of(storage.prefix + one.name, one.id) is None
        )


def test_honest_dates_are_not_changed(bed: Bed) -> None:
    with bed.recovery() as found:
        assert found.history.misdated == 0


def test_r3_a_pack_dated_long_ago_with_a_new_name_does_no_harm_and_costs_no_request(
    bed: Bed, tmp_path: Path
) -> None:
    """Locks of packs with one version are not requested: packs in no index are not read, whatever date they claim."""
    with dated(bed, datetime.fromisoformat("2001-01-01T00:00:00+00:00")):
        bed.put(named("data", 4711), b"garbage pack")
    overwritten = next(
        name for name in sorted(bed.names()) if name.startswith("data/") and name != named("data", 4711)
    )
    bed.put(overwritten, b"garbage")
    with bed.recovery() as found:
        known = found.storage.locks(found.history)
        assert known is not None
        asked = {
            entry.name
            for entries in found.history.names.values()
            for entry in entries
            if entry.id in known[0]
        }
        assert {name for name in asked if name.startswith("data/")} == {overwritten}
        assert {
            name for name in found.history.names if name.startswith(("index/", "snapshots/", "keys/"))
        } < asked
    assert restored(bed, tmp_path / "back") == bed.tree
    rebuilt(bed)
    with bed.restic(key_hint=bed.access.record.key_id) as live:
        assert live.ask("check", "--read-data").ok


def test_a_changed_default_retention_is_reported_and_can_be_given(bed: Bed, tmp_path: Path) -> None:
    """Whoever lengthens the lock is no forger: without the option no older version counts as good, with it all is as before."""
    time.sleep(EARLY.total_seconds() + 1)
    before = bed.s3.get_object_lock_configuration(Bucket=BUCKET.name)["ObjectLockConfiguration"]
    days = before["Rule"]["DefaultRetention"]["Days"]
    # By two days: a date that is off by only one is still accepted.
    longer = {"Mode": before["Rule"]["DefaultRetention"]["Mode"], "Days": days + 2}
    change = {**before, "Rule": {"DefaultRetention": longer}}
    bed.s3.put_object_lock_configuration(Bucket=BUCKET.name, ObjectLockConfiguration=change)
    try:
        said: list[str] = []
        with whole.open_recovery(bed.access, bed.tools, said.append) as found, pytest.raises(LastcopyError):
            found.open_moment(None, even_if_damaged=False)
        assert f"--lock-was {days}@TIME" in " ".join(said)
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        known = replace(bed.access, lock_was=(parse_retention(f"{days}@{at}", datetime.now(UTC)),))
        with bed.recovery(known) as found:
            assert found.history.misdated == 0
            good = found.open_moment(None, even_if_damaged=False)
            restore(good, good.snapshots[-1], tmp_path / "back")
        assert bed.came_back(tmp_path / "back") == bed.tree
    finally:
        bed.s3.put_object_lock_configuration(Bucket=BUCKET.name, ObjectLockConfiguration=before)


def rebuilt(bed: Bed) -> None:
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        rebuild(found, good, plan_rebuild(found, good.at))


def test_r3_a_rebuild_undoes_garbage_dated_into_the_past(bed: Bed, tmp_path: Path) -> None:
    there = bed.versions()
    later(overwrite_just_after, bed)
    index_of_long_ago(bed)
    rebuilt(bed)
    assert bed.versions() >= there
    with bed.restic(key_hint=bed.access.record.key_id) as live:
        assert live.ask("check", "--read-data").ok
    assert restored(bed, tmp_path / "back") == bed.tree


def test_r3_a_rebuild_reports_garbage_dated_into_the_future(bed: Bed) -> None:
    """This storage shows the version with the latest date, whatever is written after it: only a restore is possible."""
    later(in_the_future, bed)
    with pytest.raises(LastcopyError):
        rebuilt(bed)
