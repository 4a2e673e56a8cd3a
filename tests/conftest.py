"""What runs side by side: every folder with machines, servers or an engine of its own is one group, and a group stays on one worker.

`make test` starts two workers (pytest-xdist, `--dist loadgroup`); without workers all of this changes nothing but the order.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Longest first, so that no worker is left alone with one at the end; what is not named here comes last, file by file.
GROUPS = (
    "integration",
    "aws",
    "scripts/relay",
    "scripts/source",
    "sandbox",
    "conformance",
    "enforced",
    "recover",
    "toolchain",
)


def group(folder: str, file: str) -> tuple[int, str]:
    """Place in the order, and the name that keeps tests on one worker."""
    for place, name in enumerate(GROUPS):
        if folder == name or folder.startswith(f"{name}/"):
            return place, name
    return len(GROUPS), f"{folder}/{file}"


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def of(item: pytest.Item) -> tuple[int, str]:
        return group(item.path.parent.relative_to(HERE).as_posix(), item.path.name)

    for item in items:
        item.add_marker(pytest.mark.xdist_group(of(item)[1]))
    items.sort(key=lambda item: of(item)[0])
