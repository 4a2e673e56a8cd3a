"""Only the arrival decides what is kept, the newest snapshot is always kept, and forged claims change nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import LastcopyError
from ops.prune.decision import Decision, Verdict, decide
from ops.prune.retention import Arrived, Keep, apply_rules, parse_span
from ops.prune.suspicion import PlausibleLimits, Snapshot, find_new_paths, find_reasons, read_snapshots

START = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
arrivals = st.lists(
    st.builds(
        Arrived,
        id=st.uuids().map(lambda one: one.hex),
        at=st.integers(0, 900 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes)),
        paths=st.sampled_from([("/srv",), ("/srv", "/etc")]),
    ),
    max_size=60,
)
rules = st.builds(
    Keep,
    last=st.integers(1, 5),
    hourly=st.integers(0, 5),
    daily=st.integers(0, 9),
    weekly=st.integers(0, 9),
    monthly=st.integers(0, 9),
    yearly=st.integers(0, 3),
    within=st.integers(0, 60).map(lambda days: timedelta(days=days)),
)


@given(arrivals, rules)
def test_the_newest_of_each_set_of_paths_is_always_kept_and_every_rule_has_its_number(
    snapshots: list[Arrived], keep: Keep
) -> None:
    found = apply_rules(snapshots, keep)
    for paths in {one.paths for one in snapshots}:
        group = [one for one in snapshots if one.paths == paths]
        newest = max(group, key=lambda one: (one.at, one.id))
        assert newest.id in found
        here = [found[one.id] for one in group if one.id in found]
        for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly"):
            assert sum(rule in "".join(why) for why in here) <= getattr(keep, rule)
        assert len(here) >= min(keep.last, len(group))
        assert {one.id for one in group if keep.within and one.at > newest.at - keep.within} <= found.keys()


@given(arrivals, rules, st.randoms())
def test_the_order_of_the_input_has_no_effect(snapshots: list[Arrived], keep: Keep, random: Any) -> None:
    mixed = list(snapshots)
    random.shuffle(mixed)
    assert apply_rules(mixed, keep) == apply_rules(snapshots, keep)


@given(arrivals, arrivals, rules)
def test_snapshots_of_other_paths_never_reduce_what_is_kept(
    snapshots: list[Arrived], others: list[Arrived], keep: Keep
) -> None:
    forged = [Arrived(id=one.id, at=one.at, paths=("/forged",)) for one in others]
    assert apply_rules(snapshots, keep).items() <= apply_rules([*snapshots, *forged], keep).items()


def honest(days: int, host: str = "web1") -> list[Snapshot]:
    """One snapshot a night, each of which took an hour."""
    return [
        Snapshot(
            id=f"{day:064x}",
            arrived=START + timedelta(days=day, hours=1),
            claimed=START + timedelta(days=day),
            host=host,
            paths=("/srv",),
        )
        for day in range(days)
    ]


def forged(number: int, arrived: datetime, claimed: datetime | None, host: str = "web1") -> Snapshot:
    return Snapshot(id=f"f{number:063x}", arrived=arrived, claimed=claimed, host=host, paths=("/srv",))


def told(snapshots: list[Snapshot], *aside: str, **limits: Any) -> Decision:
    in_order = sorted(snapshots, key=lambda one: (one.arrived, one.id))
    return decide(in_order, Keep(), PlausibleLimits(**limits), aside)


def test_an_honest_history_is_thinned_out_and_nothing_is_suspicious() -> None:
    found = told(honest(400))
    assert not found.of(Verdict.SUSPICIOUS)
    assert found.rows[-1].verdict is Verdict.KEEP
    assert 14 <= len(found.of(Verdict.KEEP)) <= 14 + 8 + 12
    assert len(found.drops) == 400 - len(found.of(Verdict.KEEP))


AT = START + timedelta(days=30)
LIES: dict[str, list[Snapshot]] = {
    "in the future": [forged(1, AT, AT + timedelta(minutes=11))],
    "more than 48 h before": [forged(1, AT, AT - timedelta(hours=49))],
    "from host db1": [forged(1, AT, AT, host="db1")],
    "time cannot be read": [forged(1, AT, None)],
    "cannot read it": [Snapshot(id="f" * 64, arrived=AT, readable=False)],
    "burst of 21": [forged(n, AT + timedelta(seconds=n), AT) for n in range(21)],
    "burst of 1000": [forged(n, AT + timedelta(seconds=n), AT) for n in range(1000)],
    "more than 50 within 24 hours": [forged(n, AT + timedelta(minutes=20 * n), AT + timedelta(minutes=20 * n)) for n in range(60)],
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_s8_each_forgery_is_named_and_no_good_snapshot_is_dropped_for_it(lie: str) -> None:
    good = honest(30)
    found = told([*good, *LIES[lie]])
    suspicious = found.of(Verdict.SUSPICIOUS)
    assert {row.snapshot.id for row in suspicious} >= {one.id for one in LIES[lie]}
    assert any(lie in reason for row in suspicious for reason in row.why)
    # Set aside, they are neither counted nor dropped: the good ones are treated as without them.
    aside = told([*good, *LIES[lie]], "suspicious")
    assert not aside.of(Verdict.SUSPICIOUS)
    assert set(aside.drops) <= set(told(good).drops)
    assert {row.snapshot.id for row in aside.of(Verdict.ASIDE)} >= {one.id for one in LIES[lie]}


def test_s8_sabotage_a_decision_by_claimed_times_drops_good_ones() -> None:
    good = honest(20)
    lies = [forged(n, AT, AT + timedelta(days=n + 1)) for n in range(20)]
    by_claim = [Arrived(id=one.id, at=one.claimed or AT, paths=one.paths) for one in [*good, *lies]]
    stays = apply_rules(by_claim, Keep())
    assert not {one.id for one in good[-14:]} <= stays.keys()


def test_slow_backups_and_small_clock_errors_are_not_suspicious() -> None:
    slow = forged(1, AT, AT - timedelta(hours=47))
    early = forged(2, AT + timedelta(hours=1), AT + timedelta(hours=1, minutes=9))
    assert not told([*honest(30), slow, early]).of(Verdict.SUSPICIOUS)
    assert told([*honest(30), slow], longest_backup=timedelta(hours=24)).of(Verdict.SUSPICIOUS)


def test_a_new_host_name_is_accepted_if_it_is_given() -> None:
    renamed = forged(1, AT, AT, host="web1.example.com")
    assert told([*honest(30), renamed]).of(Verdict.SUSPICIOUS)
    assert not told([*honest(30), renamed], hosts=("web1", "web1.example.com")).of(Verdict.SUSPICIOUS)


def test_new_paths_are_only_noted() -> None:
    other = Snapshot(id="e" * 64, arrived=AT, claimed=AT, host="web1", paths=("/tmp",))
    found = told([*honest(30), other])
    assert not found.of(Verdict.SUSPICIOUS)
    assert [row.snapshot.id for row in found.rows if row.new_paths] == [other.id]
    assert find_new_paths(honest(3)) == frozenset()


@pytest.mark.parametrize("word", ["", "0" * 7, "zz", "e" * 64, "0" * 64 + "0", "--keep-last", "0" * 8])
def test_an_id_to_set_aside_must_name_one_snapshot(word: str) -> None:
    with pytest.raises(LastcopyError, match="snapshots have the id"):
        told(honest(3), word)


@pytest.mark.parametrize(
    "said", ["", "x", "2026-01-01", "2026-13-45T00:00:00Z", "99999-01-01T00:00:00Z", None, 7]
)
def test_an_unreadable_time_is_suspicious_and_no_crash(said: object) -> None:
    (one,) = read_snapshots(
        {"a" * 64: AT}, [{"id": "a" * 64, "time": said, "paths": "/srv", "hostname": None}]
    )
    assert one.claimed is None
    assert "time cannot be read" in find_reasons([one], PlausibleLimits())[one.id][0]


@pytest.mark.parametrize("text", ["", "h", "3", "3w", "-3d", "3 d", "1000000d", "\u0661d"])
def test_an_invalid_time_span_is_refused(text: str) -> None:
    with pytest.raises(LastcopyError, match="not a length of time"):
        parse_span(text)


@pytest.mark.parametrize("given", [{"last": 0}, {"daily": -1}, {"weekly": 100_001}])
def test_rules_that_could_drop_everything_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(LastcopyError, match="--keep-"):
        Keep(**given)
