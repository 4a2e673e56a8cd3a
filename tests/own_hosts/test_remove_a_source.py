"""Two chapters of docs/operations.md, as they are written: a host is made as the stack says again, and a source whose host is gone leaves.

The second source, ext1, was enrolled by script: web1 is `lastcopy:sources[0]`, as in the document.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.doc_shell import blocks, commands
from tests.own_hosts.conftest import OwnHosts, make_identity
from tests.unit.recording import SAMPLE_KEY
from toolchain.checkout import ROOT

OPERATIONS = ROOT / "docs" / "operations.md"
TIMER = "/etc/systemd/system/lastcopy-backup.timer"
STORED = "restic-backup snapshots --json"
KEY = "ls /etc/ssh/lastcopy/keys"
LEFT_ON_RELAY = "getent passwd bk-web1 || true; find /etc /var/lib /usr/local /home -name '*web1*'"
EXT1_SECRET = "a-secret-of-ext1-alone-0123456789"


@pytest.fixture(scope="module")
def operator(own: OwnHosts) -> OwnHosts:
    """In a shell that knows `urn`, with a stack of two sources."""
    own.shell.run(blocks(OPERATIONS, "# Operations")[0]).ok()
    make_identity(own.box, "ext1", "own-ext1", EXT1_SECRET)
    for key, value in {
        "name": "ext1", "publicKey": SAMPLE_KEY, "paths[0]": "/etc", "identity.accessKeyId": "own-ext1"
    }.items():  # fmt: skip
        own.shell.run(f"pulumi config set --path 'lastcopy:sources[1].{key}' '{value}'").ok()
    secret = "pulumi config set --path --secret 'lastcopy:sources[1].identity.secretAccessKey'"
    own.shell.run(secret, stdin=f"{EXT1_SECRET}\n").ok()
    own.shell.run("pulumi up").ok()
    return own


def inline(heading: str) -> list[str]:
    """Pulumi's commands in the chapter's sentences, in their order; after them come those of its block."""
    chapter = OPERATIONS.read_text().partition(f"\n{heading}\n")[2].partition("\n### ")[0]
    return [" ".join(one.split()) for one in re.findall(r"`(pulumi [^`]+)`", chapter.replace("```", ""))]


def test_a_host_that_somebody_changed_is_made_as_the_stack_says_again(operator: OwnHosts) -> None:
    timer, stored = operator.on("own-web1", f"cat {TIMER}"), operator.on("own-web1", STORED)
    password = operator.on("own-web1", "cat /etc/lastcopy/password")
    operator.on("own-web1", f"sed -i 's/^OnCalendar=.*/OnCalendar=1999-01-01/' {TIMER}")
    unnoticed = operator.shell.run("pulumi up").ok()
    assert "updated" not in unnoticed.out
    assert operator.on("own-web1", f"cat {TIMER}") != timer, "pulumi up does not look at hosts"
    (block,) = blocks(OPERATIONS, "### Make a host as the stack says again")
    for command in commands(block):
        operator.shell.run(command).ok()
    assert operator.on("own-web1", f"cat {TIMER}") == timer
    assert operator.on("own-web1", STORED) == stored
    assert operator.on("own-web1", "cat /etc/lastcopy/password") == password
    operator.shell.run("pulumi preview --expect-no-changes").ok()


def test_a_source_whose_host_is_gone_is_removed_and_comes_back_into_its_repository(
    operator: OwnHosts,
) -> None:
    heading = "### Remove a source"
    keep, preview, unprotect, remove, up, first_up, bring_back = inline(heading)
    assert (preview, up, first_up) == ("pulumi preview", "pulumi up", "pulumi up")
    stored = operator.on("own-web1", STORED)
    assert json.loads(stored)
    operator.shell.run("cp stacks/Pulumi.prod.yaml ~/with-web1.yaml").ok()
    operator.on("own-web1", "systemctl stop ssh.service")
    try:
        password = json.loads(operator.shell.run(keep).ok().out)["web1"]
        operator.shell.run(unprotect).ok()
        operator.shell.run(remove).ok()
        refused = operator.shell.run(up)
        assert refused.code != 0
        assert "failed attempts: dial tcp" in refused.out + refused.err
        assert "bk-web1" not in operator.on("own-relay", KEY).split(), "its key no longer works"
        (block,) = blocks(OPERATIONS, heading)
        forget_steps, fails_again, forget_programs, last = commands(block)
        operator.shell.run(forget_steps).ok()
        refused = operator.shell.run(fails_again)
        assert refused.code != 0
        assert "web1-programs" in refused.out + refused.err
        assert operator.on("own-relay", LEFT_ON_RELAY) == ""
        operator.shell.run(forget_programs).ok()
        operator.shell.run(last).ok()
        operator.shell.run("pulumi preview --expect-no-changes").ok()
        assert json.loads(operator.shell.run(keep).ok().out).keys() == {"ext1"}
    finally:
        operator.on("own-web1", "systemctl start ssh.service")
    operator.shell.run("cp ~/with-web1.yaml stacks/Pulumi.prod.yaml").ok()
    operator.shell.run(bring_back, stdin=f"{password}\n").ok()
    operator.shell.run(first_up).ok()
    assert operator.on("own-web1", STORED) == stored
    operator.on("own-web1", "systemctl start lastcopy-backup.service")
