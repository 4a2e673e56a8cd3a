"""A8 and S10's alert, from a listing alone: which source is silent, grows too fast or was attacked. It needs no password."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from components.settings.silence import find_silence_limit
from components.settings.sources import DEFAULT_DELAY, DEFAULT_SCHEDULE
from ops.access_request import CommandOptions
from ops.history.versions import Entry
from ops.status import health as status
from ops.status.health import GIB, HealthLimits, SourceHealth, choose_limits, judge
from ops.storage import checkpoint
from ops.storage.access import (
    DAILY_SILENT_HOURS,
    RepositoryLocation,
    RepositoryRecord,
    StorageKey,
    StorageLocation,
)
from ops.verbs.status import render_table
from tests.unit.ops.history.model import Store, healthy, named

WHERE = StorageLocation.read(
    {"endpoint": "https://s3.example.com", "region": "eu-central-1", "bucket": "backups"}, "test"
)
KEY = StorageKey.read({"accessKeyId": "EXAMPLE", "secretAccessKey": "a-secret-0123456789"}, "test")


def seen(store: Store, *more: Entry, notes: tuple[dict[str, Any], ...] = (), **limits: float) -> SourceHealth:
    return judge(
        "web1", [*store.entries, *more], store.history(), list(notes), store.now, HealthLimits(**limits)
    )


def words(found: SourceHealth) -> str:
    return "\n".join(problem.what for problem in found.problems)


def test_a_source_that_backs_up_every_day_has_no_problem() -> None:
    store = healthy()
    found = seen(store)
    assert found.problems == ()
    assert found.silent_hours is not None
    assert 23 < found.silent_hours < 25
    assert found.signs == {}


def test_a8_silence_is_noticed_by_the_storages_clock() -> None:
    store = healthy()
    store.wait(hours=5)
    assert "SILENT for 29 h, more than 28 h" in words(seen(store))
    assert seen(store, silent_hours=30).problems == ()


def test_a8_a_weekly_source_is_silent_by_its_own_schedule_and_an_older_stack_counts_as_daily() -> None:
    def limit(asked: float | None = None, **told: int) -> float:
        record = RepositoryRecord.read({"name": "web1", **told}, "output sources.web1")
        place = RepositoryLocation(where=WHERE, record=record, key=KEY)
        return choose_limits(place, asked, HealthLimits.growth_gib).silent_hours

    assert limit(silentAfterHours=172) == 172
    assert limit() == DAILY_SILENT_HOURS == find_silence_limit(DEFAULT_SCHEDULE, DEFAULT_DELAY)
    assert limit(12.5, silentAfterHours=172) == 12.5
    store = healthy()
    store.wait(hours=100)
    assert seen(store, silent_hours=limit(silentAfterHours=172)).problems == ()
    store.wait(hours=50)
    assert "SILENT for 174 h, more than 172 h" in words(seen(store, silent_hours=limit(silentAfterHours=172)))


def test_a8_sabotage_a_snapshot_that_was_hidden_does_not_count_as_a_backup() -> None:
    store = healthy()
    newest = max(e.name for e in store.entries if e.name == named("snapshots", 4))
    store.hide(newest)
    assert "SILENT for 48 h" in words(seen(store))


def test_s10_fast_growth_is_noticed_anywhere_below_the_sources_prefix() -> None:
    store = healthy()
    elsewhere = Entry(name="g99/data/x", id="x", at=store.now - timedelta(hours=1), size=101 * GIB)
    assert "GROWS TOO FAST: 101.0 GiB" in words(seen(store, elsewhere))
    assert seen(store, elsewhere, growth_gib=102).problems == ()
    old = Entry(name="g1/data/x", id="x", at=store.now - timedelta(hours=25), size=101 * GIB)
    assert seen(store, old).problems == ()


def hide_everything(store: Store) -> None:
    for name in store.history().live():
        store.hide(name)


def overwrite(store: Store) -> None:
    store.put(named("data", 1), "garbage")


def keys(store: Store) -> None:
    for number in range(9, 20):
        store.put(named("keys", number))


def snapshots(store: Store) -> None:
    for number in range(1000, 1030):
        store.put(named("snapshots", number))


def many_locks(store: Store) -> None:
    for number in range(1000, 1300):
        store.put(named("locks", number))


ATTACKS: dict[Callable[[Store], None], str] = {
    hide_everything: "NO SNAPSHOT in the storage",
    overwrite: "SIGNS OF AN ATTACK: 1 objects overwritten",
    keys: "burst of keys",
    snapshots: "A BURST OF 30 SNAPSHOTS",
    many_locks: "300 LOCKS",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_what_no_backup_does_is_reported_clearly_with_a_command(attack: Callable[[Store], None]) -> None:
    store = healthy()
    attack(store)
    found = seen(store)
    assert ATTACKS[attack] in words(found)
    assert all("lastcopy" in problem.fix for problem in found.problems)


def test_its_commands_refer_to_the_same_stack() -> None:
    store = healthy()
    hide_everything(store)
    options = CommandOptions(stack="--stack prod", storage="--stack prod --storage-key k.env")
    found = judge("web1", store.entries, store.history(), [], store.now, HealthLimits(), options)
    fixes = "; ".join(problem.fix for problem in found.later(100, HealthLimits()).problems)
    assert "lastcopy cut-off --source web1 --stack prod;" in fixes
    assert "lastcopy recover look --source web1 --stack prod --storage-key k.env" in fixes
    assert "STACK" not in fixes


def note(store: Store) -> dict[str, Any]:
    history = store.history()
    assert history.last is not None
    return {
        "at": history.last.isoformat(),
        "state": checkpoint.digest(history.live()),
        "why": "pruned",
        "mac": "?",
    }


def test_objects_hidden_by_a_noted_prune_are_no_sign_and_later_ones_are() -> None:
    store = healthy()
    store.hide(named("snapshots", 0))
    store.hide(named("data", 1))
    noted = note(store)
    found = seen(store, notes=(noted,))
    assert found.problems == ()
    assert found.hidden == 2  # still reported
    store.hide(named("data", 2))
    assert "1 objects hidden" in words(seen(store, notes=(noted,)))


def test_a_note_that_does_not_match_the_storage_covers_nothing_and_no_note_covers_a_hidden_configuration() -> (
    None
):
    store = healthy()
    wrong = {**note(store), "state": "0" * 64}
    store.hide(named("data", 1))
    assert "1 objects hidden" in words(seen(store, notes=({**wrong, "at": store.now.isoformat()},)))
    store.hide("config")
    forged = note(store)
    assert "CONFIGURATION" in words(seen(store, notes=(forged,)))


def test_the_table_and_the_data_name_every_source() -> None:
    found = [seen(healthy()), seen(Store())]
    data = [status.as_data(one) for one in found]
    assert [bool(one["problems"]) for one in data] == [False, True]
    assert data[1]["newest"] is None
    assert render_table(found).row_count == 2
