"""A prune that is killed anywhere is completed by the next; its signed note of intent covers exactly what it was going to hide."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from ops.prune import prune
from tests.prune import forger
from tests.prune.runs import KEEP, by_arrival, live, refused, restores, run, words
from tests.recover.bed import Bed, now
from toolchain.checkout import ROOT


def killed_when(bed: Bed, seen: str, number: signal.Signals, *, nth: int = 1, wait: float = 0) -> None:
    """Run `prune run` and kill it, with its process group, as soon as it prints this. It never writes its last note."""
    never = (
        "import time; from ops.prune import prune; prune._noted = lambda *_: time.sleep(600); "
        "from ops.__main__ import app; app()"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", never, "prune", "run", *words(bed), *KEEP],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if said.count(seen) == nth:
            time.sleep(wait)
            os.killpg(running.pid, number)
            break
    running.communicate(timeout=60)
    assert running.returncode != 0, said


READS, FORGOTTEN = "reads and checks every pack,", "snapshots are forgotten"


@pytest.mark.parametrize(
    ("seen", "nth", "wait", "number"),
    [
        (READS, 1, 0, signal.SIGKILL),
        (FORGOTTEN, 1, 0, signal.SIGKILL),
        (FORGOTTEN, 1, 0.5, signal.SIGKILL),
        (FORGOTTEN, 1, 0.1, signal.SIGTERM),
        (READS, 2, 0, signal.SIGKILL),
    ],
)
def test_a_prune_killed_anywhere_is_completed_by_the_next(
    grown: Bed, seen: str, nth: int, wait: float, number: signal.Signals, tmp_path: Path
) -> None:
    _, *others = by_arrival(grown)
    before = grown.versions()
    killed_when(grown, seen, number, nth=nth, wait=wait)
    assert live(grown) >= set(others)
    code, said = run(grown)
    assert code == 0, said
    assert "pruned:" in said
    assert live(grown) == set(others)
    assert grown.versions() >= before
    assert restores(grown, others[-1], tmp_path / "back") == grown.tree
    with grown.recovery() as found:
        assert found.proposal.sign is None
    code, said = run(grown)
    assert "nothing to drop" in said


def test_sabotage_without_the_note_of_intent_a_killed_prune_is_taken_for_an_attack(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_when(grown, FORGOTTEN, signal.SIGKILL)
    monkeypatch.setattr(prune.intent, "find_unfinished", lambda *_: ())
    refused(grown, says="examine it first")


def test_a_note_of_intent_covers_no_other_snapshot_and_none_with_another_password(grown: Bed) -> None:
    first, second, _ = by_arrival(grown)
    with grown.recovery() as found:
        found.storage.write_note(*prune.intent.make(grown.access, found.history, [first]))
    grown.hide(f"snapshots/{second}")
    refused(grown, says="examine it first")


def test_a_forged_note_of_intent_does_not_count(grown: Bed) -> None:
    first, *_ = by_arrival(grown)
    forger_ = replace(grown.access, password=SecretStr("what the attacker guesses"))
    with grown.recovery() as found:
        found.storage.write_note(*prune.intent.make(forger_, found.history, [first]))
    grown.hide(f"snapshots/{first}")
    refused(grown, says="examine it first")


def test_a_lock_of_a_killed_prune_is_distinguished_from_that_of_a_running_one(grown: Bed) -> None:
    mine = {"time": now().isoformat(), "hostname": socket.gethostname(), "username": "root"}
    forger.put_sealed(grown, "locks", [{**mine, "pid": os.getpid()}])
    refused(grown, says="1 locks are younger")
