"""Which runs leave tests marked `nightly` out (tests/plugins/nightly.py)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.plugins.nightly import LEFT_OUT, pytest_collection_modifyitems


@pytest.mark.parametrize(
    ("asked", "expression", "left_out"), [(False, "", 1), (True, "", 0), (False, "nightly", 0)]
)
def test_nightly_tests_run_where_they_are_asked_for_and_are_counted_elsewhere(
    asked: bool, expression: str, left_out: int
) -> None:
    nightly, plain = (
        SimpleNamespace(get_closest_marker=lambda _, marked=marked: marked or None)
        for marked in ("nightly", "")
    )
    told: list[Any] = []
    config: Any = SimpleNamespace(
        getoption={"--nightly": asked, "markexpr": expression}.__getitem__,
        stash=pytest.Stash(),
        hook=SimpleNamespace(pytest_deselected=lambda items: told.extend(items)),
    )
    items: Any = [nightly, plain]
    pytest_collection_modifyitems(config, items)
    assert config.stash.get(LEFT_OUT, 0) == len(told) == left_out
    assert len(items) == 2 - left_out
    assert plain in items
