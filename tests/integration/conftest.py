"""One running local stack for all integration tests: built once by the real engine, after a first attempt that was killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

import toolchain
from attack_drill.proc_watch import ProcWatch
from tests.integration.checkout import Running, copy_checkout
from tests.networks import free_network


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("checkout")
    toolchain.ensure()
    copy_checkout(root)
    stack = Running(root, "itest", free_network())
    template = yaml.safe_load((root / "stacks" / "templates" / "local.yaml").read_text())
    template["config"]["lastcopy:sandbox"] = {"network": stack.network}
    # One source like many real ones: Debian 12, no restic, and no Internet access.
    template["config"]["lastcopy:sources"][1]["sandbox"] = {"debian": 12, "toolsFrom": "workstation"}
    source = root / "itest.yaml"
    source.write_text(yaml.safe_dump(template, sort_keys=False))
    stack.stack.create(source)
    try:
        # A7 from the start: the very first `up` is killed in the middle, and the next one must simply go on.
        stack.killed_output = stack.up_killed_when("relay-sshd-config-command")
        stack.stack.run("cancel", "itest", "--yes", quiet=True)
        with ProcWatch() as stack.watched:
            stack.first_up = stack.up()
        yield stack
    finally:
        stack.close()
