from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit import recording


@pytest.fixture(scope="session", autouse=True)
def _shared_graphs_stay_as_recorded() -> Iterator[None]:
    yield
    assert recording.changed_since_recorded() == []
