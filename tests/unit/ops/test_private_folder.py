"""A verb's secrets do not stay on disk: not when it ends, not when it is killed, not even when its guard is killed, too."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.kit.sealed import write_new
from ops.private_folder import LONGEST_SOCKET, MARK, private_folder, remove_leftovers, socket_folder
from tests.guards import guard_of, guards_of
from tests.waiting import wait_until
from toolchain.checkout import ROOT

# The files of `recover`, `prune` and `restore-test` for restic and rclone.
HOLDS_SECRETS = """
import sys
from pydantic import SecretStr
from ops.storage.access import Access, RepositoryRecord, StorageKey, StorageLocation
from ops.restic.repository import open_workspace
where = StorageLocation(endpoint="https://s3.example.com", region="r", bucket="bucket")
key = StorageKey(accessKeyId="EXAMPLE", secretAccessKey="a-storage-secret")
with open_workspace(Access(where=where, record=RepositoryRecord(name="web1"), key=key, password=SecretStr("a-password"))) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def verb(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that holds a recovery's secrets, and its folder."""
    running = subprocess.Popen(
        [sys.executable, "-c", HOLDS_SECRETS], cwd=ROOT, env={**os.environ, "TMPDIR": str(place)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    try:
        folder = Path(running.stdout.readline().strip())
        assert {"password", "rclone.conf"} <= {file.name for file in folder.iterdir()}
        yield running, folder
    finally:
        running.kill()
        running.communicate()


def test_a_killed_verbs_secrets_are_removed_at_once(tmp_path: Path) -> None:
    with verb(tmp_path) as (running, folder):
        running.kill()
        running.wait()
        wait_until(lambda: not folder.exists(), 20, "the guard did not remove it", 0.05)
    assert list(tmp_path.iterdir()) == []


def test_if_the_guard_is_killed_as_well_the_next_start_removes_them_and_keeps_a_running_verbs(
    tmp_path: Path,
) -> None:
    with verb(tmp_path) as (_, living), verb(tmp_path) as (running, folder):
        os.kill(guard_of(folder), signal.SIGKILL)
        running.kill()
        running.wait()
        assert (folder / "password").exists(), "nobody is left to remove it"
        with private_folder("next", tmp_path) as next_one:
            assert sorted(tmp_path.iterdir()) == sorted([living, next_one])
        assert (living / "password").exists()
    wait_until(lambda: list(tmp_path.iterdir()) == [], 20, "the living one's guard did not remove it", 0.05)


def test_it_is_private_to_its_owner_and_removed_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), private_folder("x", tmp_path) as folder:  # noqa: PT012
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "deep").mkdir(mode=0o000)
        guard = guard_of(folder)
        raise KeyError
    assert not folder.exists()
    assert not Path(f"/proc/{guard}").exists()


def test_a_folder_inside_another_needs_no_guard_of_its_own(tmp_path: Path) -> None:
    with private_folder("outer", tmp_path) as outer, private_folder("inner", outer) as inner:
        assert guards_of(inner) == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_verbs_is_never_removed(tmp_path: Path) -> None:
    kept = [tmp_path / "lastcopy-state", tmp_path / f"{MARK}file", tmp_path / f"{MARK}link"]
    kept[0].mkdir()
    kept[1].touch()
    kept[2].symlink_to(kept[0])
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_kit_or_page_that_was_half_written_is_gone_with_the_next(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, living = tmp_path / f".kit.html.{ended.pid}", tmp_path / f".kit.html.{os.getppid()}"
    left.touch()
    living.touch()
    write_new(tmp_path / "kit.html", b"page")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([living.name, "kit.html"])


def test_no_verb_makes_folders_for_secrets_in_any_other_way() -> None:
    """Files that `tempfile` makes stay if the verb is killed; a file without a name does not."""
    found = [
        f"{file.relative_to(ROOT)}: {word}"
        for folder in ("ops", "attack_drill")
        for file in (ROOT / folder).rglob("*.py")
        for word in ("TemporaryDirectory", "mkdtemp", "NamedTemporaryFile", "mkstemp")
        if word in file.read_text() and file.name != "private_folder.py"
    ]
    assert found == []


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_socket_with_the_longest_name_fits_wherever_its_folder_is(beyond: int) -> None:
    # Below /tmp, as tmp_path may be too long by itself, and longer than the folder that is made in its place.
    with tempfile.TemporaryDirectory(dir="/tmp") as given:
        folder = Path(given) / ("long" * 10)
        folder.mkdir()
        longest = LONGEST_SOCKET - len(os.fsencode(folder)) - len("/") + beyond
        with socket_folder(folder, "test", longest) as place:
            assert (place == folder) is (beyond == 0)
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(os.fspath(place / ("s" * longest)))
        assert place.exists() is (beyond == 0)
