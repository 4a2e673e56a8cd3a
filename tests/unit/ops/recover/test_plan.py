"""The plan of a rebuild: right for any history, safe to interrupt anywhere, and never without the old versions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import LastcopyError
from ops.history.timeline import propose
from ops.history.versions import History
from ops.recover.plan import StepKind, count_locks, find_undecided, make_plan
from tests.unit.ops.history.model import START, Store, healthy, named
from tests.unit.ops.history.test_timeline import (
    acts_of_attackers,
    acts_of_people,
    delete_all,
    overwrite_all,
    played,
)


@given(acts_of_people, acts_of_attackers, st.integers(0, 60), st.integers(0, 60))
def test_any_repository_is_restored_even_if_interrupted_twice(
    good: list[tuple[str, int]], bad: list[tuple[str, int]], first: int, second: int
) -> None:
    store, before = played(good, bad)
    at = propose(store.history()).at
    assert at is not None
    there = store.versions()
    for most in (first, second, None):
        store.apply(make_plan(store.history(), at).steps[:most])
    assert store.shows() == before
    assert store.versions() >= there
    assert make_plan(store.history(), at).steps == ()


@given(acts_of_people, acts_of_attackers)
def test_any_moment_can_be_restored_and_left_again(
    good: list[tuple[str, int]], bad: list[tuple[str, int]]
) -> None:
    store, before = played(good, bad)
    history = store.history()
    assert history.first
    assert history.last
    now, at = history.last, propose(history).at
    seen_now = store.shows()
    assert at is not None
    store.apply(make_plan(history, at).steps)
    if "config" in seen_now and not any(s.kind is StepKind.UNHIDE for s in make_plan(history, at).steps):
        store.apply(make_plan(store.history(), now).steps)
        assert store.shows() == seen_now
        store.apply(make_plan(store.history(), at).steps)
    assert store.shows() == before


def test_hidden_objects_are_restored_by_removing_the_markers() -> None:
    store = healthy()
    before, at = store.shows(), store.now
    delete_all(store)
    store.hide("config")
    found = make_plan(store.history(), at)
    assert {step.kind for step in found.steps} == {StepKind.UNHIDE}
    assert [len(step.markers) for step in found.steps if step.name == "config"] == [2]
    assert (found.copied_bytes, found.kept) == (0, 0)
    assert found.shown_bytes > 0
    store.apply(found.steps)
    assert store.shows() == before


def test_overwritten_objects_are_restored_by_a_copy_even_if_hidden_afterwards() -> None:
    store = healthy()
    at = store.now
    overwrite_all(store)
    delete_all(store)
    found = make_plan(store.history(), at)
    assert {step.kind for step in found.steps} == {StepKind.COPY}
    assert found.copied_bytes == found.shown_bytes > 0


def test_bogus_objects_and_all_locks_are_hidden() -> None:
    store = healthy()
    before, at = store.shows(), store.now
    store.put(named("keys", 77), "bogus")
    store.put("data/\x1b[2J")
    store.put(named("locks", 500))
    found = make_plan(store.history(), at)
    assert sorted(step.name for step in found.of(StepKind.HIDE)) == sorted(
        [named("keys", 77), "data/\x1b[2J", named("locks", 500)]
    )
    assert count_locks(found) == 1
    store.apply(found.steps)
    assert store.shows() == before


def test_the_configuration_comes_last_and_what_is_referred_to_first() -> None:
    store = healthy(2)
    at = store.now
    delete_all(store)
    store.put(named("snapshots", 99), "bogus")
    areas = [step.name.split("/")[0] for step in make_plan(store.history(), at).steps]
    order = ["data", "index", "keys", "snapshots", "config"]
    assert list(dict.fromkeys(areas)) == order
    assert make_plan(store.history(), at).steps[-2].kind is StepKind.HIDE


def test_a_moment_without_a_repository_is_refused() -> None:
    store = healthy()
    with pytest.raises(
        LastcopyError, match=r"there was no repository here at .*its first object is of 2026-11-01"
    ):
        make_plan(store.history(), START - timedelta(days=1))
    with pytest.raises(LastcopyError, match="there was no repository here"):
        make_plan(History([]), START)


def test_same_size_and_another_digest_are_decided_by_the_content() -> None:
    """A service may give a copy another digest: then only the content can tell, and the plan asks for it."""
    store = healthy(1)
    at = store.now
    store.put("config", "gifnoc")  # six bytes, as the good one
    (pair,) = find_undecided(make_plan(store.history(), at), store.history())
    assert [entry.name for entry in pair] == ["config", "config"]
    assert make_plan(store.history(), at, known_same={(pair[0].id, pair[1].id)}).steps == ()


def test_sabotage_a_plan_that_skips_overwritten_objects_does_not_restore_the_repository() -> None:
    store = healthy()
    before, at = store.shows(), store.now
    overwrite_all(store)
    whole = make_plan(store.history(), at)
    weak = replace(whole, steps=tuple(step for step in whole.steps if step.kind is not StepKind.COPY))
    store.apply(weak.steps)
    assert store.shows() != before
    assert make_plan(store.history(), at).steps != ()


def test_sabotage_the_model_notices_a_removed_version() -> None:
    store = Store()
    store.init()
    at = store.now
    store.hide("config")
    (step,) = make_plan(store.history(), at).steps
    version = next(entry for entry in store.entries if entry.name == "config")
    with pytest.raises(AssertionError):
        store.apply([replace(step, markers=(version,))])
