"""Programs are sent to a host once, complete and unchanged; a step that finds them otherwise runs nothing (A7)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from components.host.program_texts import (
    STORE,
    Program,
    archive,
    digest_of,
    programs_of,
    script_path,
    stored_program,
    stored_step_text,
)
from components.host.programs import RELAY_AREAS, SOURCE_AREAS
from ops.hosts import programs as store
from ops.hosts.connection import HostError, SshEndpoint, SshHost, open_hosts
from tests.sabotage import weaken
from tests.scripts.relay.chain import Answer, Chain, Step
from toolchain.checkout import ROOT

SENDER = "urn:**::relay-programs"
MARKED = "/root/ran"
HARMLESS = Program(
    name="harmless.sh",
    text=f'values() {{ given=$1; }}\nmain() {{ echo "$1 $given" >{MARKED}; }}\n',
)


def order(chain: Chain, areas: Sequence[str] = RELAY_AREAS, **changes: Any) -> str:
    facts = chain.relay_facts
    told = {
        "name": "relay", "address": facts["address"], "port": facts["port"], "user": facts["user"], "hostKey": facts["host_key"],
        "privateKey": chain.box.admin_key.read_text(), "jump": None, "areas": list(areas), "digest": digest_of(programs_of(areas)),
    }  # fmt: skip
    return json.dumps({**told, **changes})


def verb(name: str, text: str, printed: str = "") -> subprocess.CompletedProcess[str]:
    """Run the verb as `pulumi up` does."""
    return subprocess.run(
        [sys.executable, "-m", "ops", name],
        cwd=ROOT,
        env={**os.environ, "PULUMI_COMMAND_STDOUT": printed},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def sent(chain: Chain, areas: Sequence[str] = RELAY_AREAS) -> str:
    done = verb("send-programs", order(chain, areas))
    assert done.returncode == 0, done.stderr
    return done.stdout


def kept(chain: Chain) -> set[str]:
    """Every name in the store."""
    return set(chain.sh(f"ls -A {STORE} 2>/dev/null || true").split())


def run(chain: Chain, text: str, mode: str = "apply") -> Answer:
    done = chain.admin(f'exec sudo -n timeout -k 10 300 /bin/sh -s -- {mode} "$SSH_CONNECTION"', text)
    last = done.stdout.strip().splitlines()[-1:] or ["{}"]
    return Answer(done.returncode, json.loads(last[0]), done.stderr)


def stored(step: Step) -> str:
    return stored_step_text(step.script, step.values, host="relay")


@pytest.fixture
def host(chain: Chain) -> Iterator[SshHost]:
    facts = chain.relay_facts
    target = SshEndpoint(
        name="relay", address=facts["address"], port=facts["port"], user=facts["user"], host_key=facts["host_key"],
        key_file=chain.box.admin_key,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, open_hosts([target], Path(folder)) as opened:
        yield opened["relay"]


@pytest.fixture(autouse=True)
def empty(chain: Chain) -> Iterator[None]:
    chain.sh(f"rm -rf {STORE} {MARKED}")
    yield
    chain.sh(f"rm -rf {STORE} {MARKED}")


def test_programs_are_sent_once_and_belong_to_root(chain: Chain) -> None:
    sent(chain)
    assert kept(chain) == {one.sha256 for one in programs_of(RELAY_AREAS)} | {".mark"}
    assert chain.sh(f"stat -c '%a %U:%G' {STORE} {STORE}/????* | sort -u") == "444 root:root\n755 root:root\n"
    assert chain.sh(f"cd {STORE} && sha256sum ????* | awk '$1 != $2'") == ""
    before = chain.sh(f"cat {STORE}/.mark")
    sent(chain)
    assert chain.sh(f"cat {STORE}/.mark") != before, "a second sending has another number"
    assert chain.sh("find /run/lastcopy -name '.new*'") == ""


def test_a_step_runs_what_is_in_the_store_and_converges(changing: Chain) -> None:
    sent(changing)
    for step in (
        changing.sshd(),
        changing.sshd("confirm"),
        changing.shared(),
        changing.firewall(),
        changing.firewall("confirm"),
    ):
        bare = Step(
            step.script,
            {name: text for name, text in step.values.items() if name not in ("WRAPPER", "HOLD", "REFRESH")},
        )
        first = run(changing, stored(bare))
        assert first.code == 0, first.words
        assert run(changing, stored(bare)).changed == []
        whole = changing.run(step, "check")
        assert (whole.code, whole.drift) == (0, []), "the same step, sent whole, finds nothing else to do"


def damaged(chain: Chain, host: SshHost, change: str) -> Answer:
    """A step whose program root changed on the host."""
    store.send_archive(host, [HARMLESS], "mark")
    chain.sh(change.format(file=f"{STORE}/{HARMLESS.sha256}"))
    return run(chain, harmless())


def harmless(**replaced: str) -> str:
    """A step of a program that leaves a mark."""
    step = stored_step_text("cutoff", {"A": "value"}, host="relay")
    cutoff = stored_program("cutoff")
    text = step.replace(cutoff.sha256, HARMLESS.sha256).replace(cutoff.name, HARMLESS.name)
    for old, new in replaced.items():
        text = weaken(text, old, new)
    return text


def test_the_program_that_was_sent_runs_with_its_values(chain: Chain, host: SshHost) -> None:
    store.send_archive(host, [HARMLESS], "mark")
    assert run(chain, harmless()).code == 0
    assert chain.sh(f"cat {MARKED}") == "apply :A\nvalue\n"


CHANGES = {
    "changed": "echo 'echo other >>/root/ran' >>{file}",
    "another one": "printf 'values() {{ :; }}; main() {{ echo other >/root/ran; }}' >{file}",
    "cut": "truncate -s -1 {file}",
    "missing": "rm {file}",
    "another account's": "chown nobody {file}",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_program_that_is_not_as_it_was_sent_is_not_run(chain: Chain, host: SshHost, change: str) -> None:
    answer = damaged(chain, host, change)
    assert answer.code == 1
    assert "harmless.sh on host" in answer.words
    assert f"pulumi up --replace '{SENDER}'" in answer.words
    assert chain.sh(f"ls {MARKED} 2>/dev/null || true") == ""


def test_sabotage_without_the_check_a_changed_program_runs(chain: Chain, host: SshHost) -> None:
    store.send_archive(host, [HARMLESS], "mark")
    chain.sh(CHANGES["another one"].format(file=f"{STORE}/{HARMLESS.sha256}"))
    [check] = [line for line in harmless().splitlines() if "sha256sum" in line]
    assert run(chain, harmless().replace(check, "true||{")).code == 0
    assert chain.sh(f"cat {MARKED}") == "other\n"


@pytest.mark.parametrize("part", [0, 1, 10_000, -1], ids=["nothing", "a byte", "half", "all but a byte"])
def test_an_incomplete_sending_leaves_nothing(
    chain: Chain, host: SshHost, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(store, "archive", lambda programs: archive(programs)[:part])
    with pytest.raises(HostError, match="did not arrive whole"):
        store.send_archive(host, programs_of(RELAY_AREAS), "mark")
    assert kept(chain) == set()


def test_a_program_whose_content_does_not_match_its_name_is_refused(
    chain: Chain, host: SshHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Liar(Program):
        sha256 = "0" * 64

    monkeypatch.setattr(store, "digest_of", lambda _: "any")
    with pytest.raises(HostError, match="is not the one that was sent"):
        store.send_archive(host, [HARMLESS, Liar(name="other", text="other")], "mark")
    assert kept(chain) == set()


def test_a_killed_sending_leaves_nothing_that_a_step_would_run(chain: Chain, host: SshHost) -> None:
    script = script_path("program_store").read_text()
    words = host.words("sh", "-c", script, "program_store", "send", "mark")
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin
    process.stdin.write(archive(programs_of(RELAY_AREAS))[:20_000])
    process.stdin.flush()
    chain.sh(f"until ls -d {STORE}/.new.*; do sleep 0.05; done")
    chain.sh(
        r"""for p in /proc/[0-9]*; do
  if tr '\0\n' '  ' <"$p/cmdline" 2>/dev/null | grep -q '^sh -c # shellcheck '; then kill -KILL "${p#/proc/}"; fi
done
true"""
    )
    process.stdin.close()
    process.wait(30)
    assert {name for name in kept(chain) if not name.startswith(".new.")} == set()
    sent(chain)
    assert kept(chain) == {one.sha256 for one in programs_of(RELAY_AREAS)} | {".mark"}


def test_an_older_program_stays_for_the_step_that_needs_it(chain: Chain, host: SshHost) -> None:
    store.send_archive(host, [HARMLESS], "mark")
    sent(chain)
    assert run(chain, harmless(), "remove").code == 0
    assert chain.sh(f"cat {MARKED}") == "remove :A\nvalue\n"


def test_removal_removes_all_of_its_own_sending_and_nothing_of_a_later_one(chain: Chain) -> None:
    first, second = sent(chain), sent(chain)
    assert verb("remove-programs", order(chain), first).returncode == 0
    assert kept(chain), "what was sent again later is still needed"
    done = verb("remove-programs", order(chain), second)
    assert done.returncode == 0, done.stderr
    assert chain.sh(f"ls -d {STORE} 2>/dev/null || true") == ""
    assert verb("remove-programs", order(chain), second).returncode == 0, "run again, it changes nothing"


def test_a_checkout_that_changed_meanwhile_is_refused(chain: Chain) -> None:
    done = verb("send-programs", order(chain, digest=digest_of(programs_of(SOURCE_AREAS))))
    assert done.returncode == 1
    assert "run 'pulumi up' again" in done.stderr
    assert kept(chain) == set()


def test_a_link_in_place_of_the_store_is_refused(chain: Chain, host: SshHost) -> None:
    chain.sh(f"mkdir -p /root/elsewhere $(dirname {STORE}) && ln -s /root/elsewhere {STORE}")
    try:
        with pytest.raises(HostError, match="is a symbolic link"):
            store.send_archive(host, [HARMLESS], "mark")
        assert chain.sh("ls -A /root/elsewhere") == ""
    finally:
        chain.sh(f"rm -rf {STORE} /root/elsewhere")
