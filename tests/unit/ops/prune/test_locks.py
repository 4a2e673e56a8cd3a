"""A prune waits only for processes that may hold a lock."""

from __future__ import annotations

from datetime import timedelta

from ops.prune.locks import YOUNG, sort_locks
from tests.unit.ops.history.model import Store, named


def test_a_young_lock_is_waited_for_but_not_an_object_of_the_storage_step() -> None:
    store = Store()
    store.put(named("locks", 1))
    store.put("locks/lastcopy-probe-1-ab")
    found = sort_locks(store.history(), store.now + timedelta(minutes=1), lambda _: False)
    assert [entry.name for entry in found.young] == [named("locks", 1)]
    assert [entry.name for entry in found.old] == ["locks/lastcopy-probe-1-ab"]
    assert not sort_locks(store.history(), store.now + YOUNG + timedelta(minutes=1), lambda _: False).young
