"""Processes are identified by id and start time; locks and files survive a killed process."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from sandbox import SandboxError
from sandbox.run import Process
from sandbox.store import hold, read_json, write_json


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_process_that_is_about_to_be_killed_does_not_count_as_running(
    sleeper: subprocess.Popen[bytes],
) -> None:
    known = Process.of(sleeper.pid)
    assert known
    assert known.alive()
    os.kill(sleeper.pid, signal.SIGSTOP)
    os.kill(sleeper.pid, signal.SIGKILL)
    assert not known.alive()


def test_a_later_process_with_the_same_number_is_never_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    known = Process.of(sleeper.pid)
    assert known
    earlier = Process(sleeper.pid, known.started - 1)
    assert not earlier.alive()
    earlier.end(grace=0)
    assert known.alive()
    known.end(grace=0)
    assert not known.there()


def test_a_lock_is_held_by_one_at_a_time_and_shared_locks_by_many(tmp_path: Path) -> None:
    inside, leave = Event(), Event()
    order: list[str] = []

    def first() -> None:
        with hold(tmp_path, shared=True):
            inside.set()
            leave.wait(5)
            order.append("first")

    def second() -> None:
        with hold(tmp_path):
            order.append("second")

    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(first)]
        inside.wait(5)
        with hold(tmp_path, shared=True):
            order.append("beside")
        waiting.append(pool.submit(second))
        leave.set()
    for future in waiting:
        future.result()
    assert order == ["beside", "first", "second"]


def test_a_lock_in_a_missing_folder_is_an_error_with_its_fix(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="network-up"), hold(tmp_path / "gone"):
        pass


def test_state_is_complete_and_private_or_an_error(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    assert read_json(file) is None
    write_json(file, {"a": 1})
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text('{"a"')
    with pytest.raises(SandboxError, match="unreadable state"):
        read_json(file)
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]
