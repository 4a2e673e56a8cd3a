"""Test groups for pytest-xdist: tests that share machines, servers or an engine are one group, which stays on one worker.

`make test` starts three workers for each of two cores, because a test on machines waits most of its time. Without workers all of
this only changes the order.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Compiled tests are kept, also in a container that asks Python to write none: to rewrite every assertion again costs each worker some seconds.
sys.dont_write_bytecode = False
# The SDKs and the tests stay until the end: the collector need not walk over them again and again (a quarter of the unit tests' CPU time).
gc.disable()  # until all tests are collected

pytest_plugins = ["tests.plugins.nightly", "tests.plugins.times"]

HERE = Path(__file__).parent
# The duration of an example depends on the machine, so it is not checked. A parametrized test counts as one test with several executors.
_ANY_SPEED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors]
)
# The same examples on every run, so that a suite which runs at each commit does not depend on luck. New ones are tried nightly.
settings.register_profile("fast", _ANY_SPEED, max_examples=25, derandomize=True)
settings.register_profile("thorough", _ANY_SPEED, max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
# A group contains the tests whose paths, below tests/, begin with one of its entries. Longest first, so that no worker is left alone with one at
# the end; all other tests come last, file by file. Each group of the attack drill's rows has its own stack, which takes a minute to make; each of
# the relay's steps its own machines, which boot in three seconds.
GROUPS: tuple[tuple[str, ...], ...] = (
    ("drill/test_r_", "drill/test_trusted_"),
    ("integration/",),
    ("scripts/source/",),
    ("drill/test_s_",),
    ("drill/",),
    ("scripts/relay/test_storage_", "scripts/relay/test_second_", "scripts/relay/test_upload_"),
    ("scripts/relay/test_s", "scripts/relay/test_lockout", "scripts/relay/test_ipv6"),
    ("aws/",),
    # No relay: host keys, first boots and tools, on machines of their own.
    ("scripts/relay/test_host_", "scripts/relay/test_first_boot", "scripts/relay/test_rclone_conf"),
    ("scripts/relay/",),
    ("prune/",),
    ("recover/",),
    ("restore_test/",),
    ("own_hosts/",),
    ("gates/",),
    ("sandbox/",),
    ("conformance/",),
    ("enforced/",),
    ("toolchain/",),
    ("uploads/",),
    ("hosts/",),
    # They share recorded graphs, which each worker would have to record for itself.
    ("unit/program/", "unit/host/test_step_values.py"),
)


def group(test: Path) -> tuple[int, str]:
    """The group's place in the order, and the name that keeps its tests on one worker. ``test``: the file, below tests/."""
    path = test.as_posix()
    for place, beginnings in enumerate(GROUPS):
        if path.startswith(beginnings):
            return place, beginnings[0]
    return len(GROUPS), path


class ByGroup(LoadScopeScheduling):
    """Schedules by folder, because xdist's own `--dist loadgroup` relies on names that pytest 9.2 no longer lets it change."""

    def _split_scope(self, nodeid: str) -> str:
        return group((HERE.parent / nodeid.split("::")[0]).relative_to(HERE))[1]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup:
    gc.enable()  # this process collects no tests
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: group(item.path.relative_to(HERE))[0])


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    gc.freeze()  # pytest collects five times more when it ends
