"""The source's key: made there, kept, and never seen elsewhere (S11)."""

from __future__ import annotations

import pytest

from components.host.program_texts import script_text
from components.source import step_values
from tests.sabotage import weaken
from tests.scripts.source.bed import Bed

KEY = "/etc/lastcopy/id_ed25519"


def promise_key_is_kept(bed: Bed, script: str | None = None) -> None:
    def once() -> str:
        if script is None:
            return bed.key().facts["public_key"]
        bed.machine.ok("sh -s -- apply", stdin=script)
        return bed.machine.ok(f"ssh-keygen -y -f {KEY} | cut -d ' ' -f 1,2").strip()

    first = once()
    bed.machine.ok(f"rm {KEY}.pub")
    assert once() == first


def test_key_is_made_once_and_kept(bare: Bed) -> None:
    made = bare.key()
    assert made.code == 0
    assert made.facts["public_key"].startswith("ssh-ed25519 AAAA")
    assert bare.machine.ok(f"stat -c '%a %U:%G' {KEY}").strip() == "400 root:root"
    again = bare.key()
    assert (again.code, again.changed, again.facts) == (0, [], made.facts)
    assert bare.key("check").code == 0
    promise_key_is_kept(bare)


def test_sabotage_a_script_that_always_makes_a_key_is_caught(bare: Bed) -> None:
    script = weaken(
        script_text("source_key", step_values.key()), 'if [ ! -e "$key" ] && [ ! -L "$key" ]', "if true"
    )
    with pytest.raises(AssertionError):
        promise_key_is_kept(bare, script)


def test_private_key_never_leaves_the_host(bare: Bed) -> None:
    done = bare.machine.run("sh -s -- apply", stdin=script_text("source_key", step_values.key()))
    secret = bare.machine.read(KEY).splitlines()[1:-1]
    assert secret
    assert not [line for line in secret if line in done.out + done.err]
    assert bare.machine.ok("ls /run/lastcopy").split() == ["step.lock"], "a copy stayed behind"


@pytest.mark.parametrize(
    "make",
    [
        f"ssh-keygen -q -t ed25519 -N secret-phrase -f {KEY}",
        f"ssh-keygen -q -t rsa -b 2048 -N '' -f {KEY}",
        f"echo not a key >{KEY}",
        f"ssh-keygen -q -t ed25519 -N '' -f /root/elsewhere && ln -s /root/elsewhere {KEY}",
    ],
    ids=["passphrase", "rsa", "garbage", "link"],
)
def test_an_unsuitable_key_is_refused_and_not_changed(bare: Bed, make: str) -> None:
    bare.machine.ok(f"mkdir -p /etc/lastcopy; rm -f /root/elsewhere*; {make}")
    before = bare.machine.ok(f"ls -l {KEY}; cat {KEY}")
    refused = bare.key()
    assert refused.code == 1
    assert "left as it is" in refused.err
    assert "move it away" in refused.err
    assert bare.machine.ok(f"ls -l {KEY}; cat {KEY}") == before


def test_a_key_other_than_the_stacks_is_refused(bare: Bed) -> None:
    mine = bare.key().facts["public_key"]
    other = bare.machine.ok(
        "rm -f /root/o*; ssh-keygen -q -t ed25519 -N '' -C '' -f /root/o && cat /root/o.pub"
    )
    refused = bare.key(expected=other.strip())
    assert refused.code == 1
    assert mine in refused.err
    assert bare.key(expected=mine).code == 0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_while_the_key_is_made_leaves_no_partial_key(bare: Bed, moment: str) -> None:
    run = "/usr/bin/ssh-keygen" + ' "$@"'
    body = {"before": "kill -9 $PPID", "after": f"{run}; kill -9 $PPID"}[moment]
    bare.machine.write("/usr/local/sbin/ssh-keygen", f"#!/bin/sh\n{body}\n", "755")
    assert bare.key().code != 0
    bare.machine.ok("rm /usr/local/sbin/ssh-keygen")
    made = bare.key()
    assert made.code == 0, made.err
    bare.machine.ok(f"ssh-keygen -y -P '' -f {KEY}")
