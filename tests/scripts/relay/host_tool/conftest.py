from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.relay.host_tool.makers import Makers, serve_releases


@pytest.fixture
def makers(tmp_path: Path) -> Iterator[Makers]:
    folder = tmp_path / "www"
    folder.mkdir()
    with serve_releases(folder) as made:
        yield made


@pytest.fixture
def view(tmp_path: Path) -> Path:
    """The content of /usr/local inside the view; kept between runs of one test."""
    local = tmp_path / "local"
    (local / "bin").mkdir(parents=True)
    return local
