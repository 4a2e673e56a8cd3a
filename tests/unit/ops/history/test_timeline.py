"""The last good moment is found from the storage's history alone, and what was done is reported."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import LastcopyError, escape_text
from ops.history.timeline import GAP, SIGNS, Kind, find_acts, group_events, propose
from ops.history.versions import TICK, Entry, History, area, iso, parse_moment
from tests.unit.ops.history.model import Store, healthy, named


def delete_all(store: Store) -> None:
    for name in store.history().live():
        store.hide(name)


def overwrite_all(store: Store) -> None:
    for name in store.history().live():
        store.put(name, "garbage")


def bogus_keys(store: Store) -> None:
    for number in range(100, 125):
        store.put(named("keys", number), "bogus")


def malformed_key(store: Store) -> None:
    store.put("keys/../../etc/passwd")


def empty_pack(store: Store) -> None:
    store._add(named("data", 999))


def replace_config(store: Store) -> None:
    store.hide("config")
    store.wait(days=1)
    store.put("config", "another repository")


# attack -> the first sign of it
ATTACKS: dict[Callable[[Store], None], Kind] = {
    delete_all: Kind.DELETED,
    overwrite_all: Kind.OVERWRITTEN,
    bogus_keys: Kind.KEYS,
    malformed_key: Kind.FOREIGN,
    empty_pack: Kind.EMPTY,
    replace_config: Kind.DELETED,
}


def test_a_healthy_repository_shows_no_sign() -> None:
    store = healthy()
    found = propose(store.history())
    assert found.sign is None
    assert found.at == store.history().last
    assert {act.kind for act in find_acts(store.history())} == {Kind.BACKUP}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_moment_is_just_before_the_first_sign(attack: Callable[[Store], None]) -> None:
    store = healthy()
    before, good = store.shows(), store.now
    store.wait(hours=1)
    attack(store)
    store.wait(days=3)
    overwrite_all(store)  # later changes do not move it
    found = propose(store.history())
    assert found.at is not None
    assert found.sign is not None
    assert found.sign.kind is ATTACKS[attack]
    assert store.shows(found.at) == before
    assert found.at > good
    assert iso(found.sign.first) in found.why


def test_sabotage_one_tick_later_shows_the_attack() -> None:
    store = healthy()
    before = store.shows()
    delete_all(store)
    found = propose(store.history())
    assert found.at is not None
    assert store.shows(found.at) == before
    assert store.shows(found.at + TICK) != before


def test_locks_that_come_and_go_are_no_sign() -> None:
    store = healthy()
    for number in range(3000):
        store.put(f"locks/{number:064x}" if number % 2 else "locks/../x")
    delete_locks = [name for name in store.history().live() if name.startswith("locks/")]
    for name in delete_locks:
        store.hide(name)
    assert propose(store.history()).sign is None


def test_leftovers_of_the_storage_step_are_no_sign() -> None:
    """Its proof below locks/ (components/relay/storage_check/storage_proof.sh), and the marker that a too wide identity's removal of nothing can leave."""
    store = Store()
    store.put("locks/lastcopy-probe-1-ab", "first")
    store.put("locks/lastcopy-probe-1-ab", "second")
    store.hide("locks/lastcopy-probe-1-ab")
    store.put("locks/lastcopy-probe-2-cd")  # of a step that was killed
    store.hide("index/lastcopy-probe-ef")
    store.init()
    store.back_up(1)
    found = propose(store.history())
    assert found.sign is None
    assert {act.kind for act in find_acts(store.history())} == {Kind.BACKUP}


def test_after_a_moment_known_to_be_good_only_newer_signs_count() -> None:
    store = healthy()
    delete_all(store)
    since = store.wait(hours=1)
    assert propose(store.history(), since).sign is None
    store.back_up(70)
    good = store.now
    store.wait(days=1)
    store.hide(named("data", 700))
    found = propose(store.history(), since)
    assert found.at is None or found.at > good  # the old attack left no config: nothing whole to propose
    assert found.sign is not None
    assert found.sign.first > good
    assert found.sign.count == 1


def test_content_that_was_written_back_is_reported_as_restored() -> None:
    store = healthy(1)
    store.hide("config")
    store.put("config")
    kinds = [act.kind for act in find_acts(store.history()) if act.entry.name == "config"]
    assert kinds == [Kind.BACKUP, Kind.DELETED, Kind.RESTORED]


def test_an_object_dated_before_the_one_it_replaced_is_noticed() -> None:
    """Some services date an upload in parts by its beginning, which an attacker can have begun long before."""
    at = datetime(2026, 11, 1, tzinfo=UTC)
    entries = [
        Entry(name="config", id="garbage", at=at - timedelta(days=9), size=3, etag="g", order=0, latest=True),
        Entry(name="config", id="good", at=at, size=155, etag="c", order=1),
    ]
    assert [act.kind for act in find_acts(History(entries))] == [Kind.BACKDATED, Kind.BACKUP]
    assert propose(History(entries)).at is None


def test_bursts_of_snapshots_are_reported_and_prove_nothing() -> None:
    store = healthy()
    for number in range(100, 130):
        store.put(named("snapshots", number))
    told = group_events(find_acts(store.history()))
    (burst,) = [event for event in told if event.kind is Kind.SNAPSHOTS]
    assert burst.count == 30
    assert propose(store.history()).sign is None


def test_the_key_of_a_new_repository_is_not_part_of_a_burst_minutes_later() -> None:
    store = Store()
    store.init()
    store.back_up(1)
    before = store.shows()
    bogus_keys(store)
    found = propose(store.history())
    assert found.at is not None
    assert store.shows(found.at) == before


def test_four_keys_an_hour_are_not_a_burst() -> None:
    store = healthy()
    for number in range(1, 20):
        store.put(named("keys", number))
        store.wait(minutes=16)
    assert propose(store.history()).sign is None


def test_fallbacks_are_right_after_each_snapshot() -> None:
    store = healthy(4)
    delete_all(store)
    found = propose(store.history())
    assert len(found.fallbacks) == 4
    for number, moment in enumerate(found.fallbacks):
        seen = [name for name in store.shows(moment) if name.startswith("snapshots/")]
        assert len(seen) == number + 1


def test_an_empty_history_has_no_moment() -> None:
    found = propose(History([]))
    assert (found.at, found.sign) == (None, None)
    store = Store()
    store.put("nothing of restic's")
    assert propose(store.history()).at is None


def test_events_are_grouped_by_kind_and_time() -> None:
    store = healthy(2)
    delete_all(store)
    store.wait(seconds=GAP.total_seconds() + 1)
    store.put("config", "x")
    told = group_events(find_acts(store.history()))
    assert [event.kind for event in told] == [Kind.BACKUP, Kind.BACKUP, Kind.DELETED, Kind.OVERWRITTEN]
    deleted = told[2]
    assert dict(deleted.counts) == {"config": 1, "data": 6, "index": 2, "keys": 1, "snapshots": 2}
    assert deleted.first <= deleted.last
    assert len(deleted.names) == 3


acts_of_people = st.lists(
    st.one_of(
        st.tuples(st.just("back_up"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(1, 10**6)),
    ),
    max_size=12,
)
acts_of_attackers = st.lists(
    st.tuples(st.sampled_from(["hide", "overwrite", "foreign", "wait"]), st.integers(0, 40)), max_size=15
)


def played(good: list[tuple[str, int]], bad: list[tuple[str, int]]) -> tuple[Store, dict[str, str]]:
    """A history of both, and what stood before the first bad act that leaves a trace."""
    store = Store()
    store.init()
    for what, number in good:
        if what == "wait":
            store.wait(seconds=number)
        elif named("snapshots", number) not in store.shows():
            store.back_up(number)
    before = store.shows()
    for what, number in bad:
        names = sorted(store.shows())
        if what == "wait":
            store.wait(seconds=number)
        elif what == "foreign":
            store.put(f"data/{number}\x1b[2J")
        elif names and what == "hide":
            store.hide(names[number % len(names)])
        elif names:
            store.put(names[number % len(names)], f"garbage {number}")
    return store, before


@given(acts_of_people, acts_of_attackers)
def test_whatever_the_attacker_does_the_moment_shows_the_earlier_objects(
    good: list[tuple[str, int]], bad: list[tuple[str, int]]
) -> None:
    store, before = played(good, bad)
    found = propose(store.history())
    assert found.at is not None
    assert store.shows(found.at) == before
    assert (found.sign is None) == (not any(what != "wait" for what, _ in bad))


@given(acts_of_people, acts_of_attackers)
def test_every_act_is_in_exactly_one_event(good: list[tuple[str, int]], bad: list[tuple[str, int]]) -> None:
    store, _ = played(good, bad)
    told = find_acts(store.history())
    grouped = group_events(told)
    assert sum(event.count for event in grouped) == len(told)
    assert [event.first for event in grouped] == sorted(event.first for event in grouped)
    assert all(event.first <= act.entry.at <= event.last for event in grouped[:1] for act in told[:1])
    plain = {Kind.BACKUP, Kind.RESTORED, Kind.SNAPSHOTS}
    assert {event.kind for event in grouped} <= SIGNS | plain


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("config", "config"),
        (named("keys", 1), "keys"),
        (named("data", 1), "data"),
        ("data/ab/" + "c" * 64, "other"),  # in another pack's folder
        ("keys/" + "A" * 64, "other"),
        ("keys/" + "a" * 64 + "\n", "other"),
        ("index/../config", "other"),
        ("", "other"),
    ],
)
def test_names_of_restic_are_distinguished_from_others(name: str, where: str) -> None:
    assert area(name) == where


NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-24T11:59:00Z", 60),
        ("2026-11-24 11:59", 60),
        ("2026-11-24T12:59:00+01:00", 60),
        ("2026-11-24T11:59:59.5Z", 0.5),
    ],
)
def test_times_are_read_as_utc(text: str, seconds: float) -> None:
    assert parse_moment(text, NOW) == NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-24",
        "11:59",
        "2026-13-01T00:00:00Z",
        "20261124T115900Z",
        "1764000000",
        "\x1b[2J",
    ],
)
def test_a_wrong_time_is_refused_with_its_form(text: str) -> None:
    with pytest.raises(LastcopyError, match="is not a time") as caught:
        parse_moment(text, NOW)
    assert "2026-11-23T13:54:02Z" in str(caught.value)
    assert "--at" in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["2026-11-24T12:00:01Z", "2026-11-24T12:30:00-01:00", "9999-01-01T00:00:00Z"]
)
def test_a_future_time_is_refused(text: str) -> None:
    with pytest.raises(LastcopyError, match="is in the future"):
        parse_moment(text, NOW)


@given(st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(timezone(timedelta(hours=5)))))
def test_a_time_that_we_print_is_read_back(at: datetime) -> None:
    assert parse_moment(iso(at), datetime(9999, 12, 31, tzinfo=UTC)) == at


@given(st.text())
def test_whatever_a_name_holds_is_shown_on_one_line_without_control(text: str) -> None:
    safe = escape_text(text)
    assert safe.isprintable()
    assert len(safe) <= 200


def test_escapes_bidi_and_backslashes_are_visible() -> None:
    assert escape_text("\x1b]0;x\x07 \u202egpj.exe \\n\n") == "\\x1b]0;x\\x07 \\u202egpj.exe \\\\n\\n"
    assert escape_text("\ud800") == "\\ud800"
