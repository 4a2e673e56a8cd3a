"""One running local stack for all integration tests: built once by the real engine, after a first attempt that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from attack_drill.proc_watch import ProcWatch
from tests.integration.checkout import Running, make_local_stack


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    def one_as_many_are(config: dict[str, Any]) -> None:
        """Debian 12, no restic, and no way to the Internet."""
        config["lastcopy:sources"][1]["sandbox"] = {"debian": 12, "toolsFrom": "workstation"}

    stack = make_local_stack(tmp_path_factory.mktemp("checkout"), "itest", one_as_many_are)
    try:
        # A7 from the start: the very first `up` is killed in the middle, and the next one must simply go on.
        stack.killed_output = stack.up_killed_when("relay-sshd-config-command")
        stack.stack.run("cancel", "itest", "--yes", quiet=True)
        with ProcWatch() as stack.watched:
            stack.first_up = stack.up()
        yield stack
    finally:
        stack.close()
