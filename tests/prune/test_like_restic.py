"""With honest times the rules decide as `restic forget` does, which is asked itself."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toolchain
from attack_drill.forged_objects import MasterKey, cheap_key, open_master_key
from ops.prune.retention import Arrived, Keep, apply_rules

START = datetime(2025, 12, 20, 1, tzinfo=UTC)  # over a turn of the year, where ISO weeks are irregular
PASSWORD = "a password of this test alone"
PATHS = (("/srv",), ("/etc", "/srv"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MasterKey, Callable[..., Any]]:
    """A repository in a folder, with snapshot files that the test writes itself."""
    folder = tmp_path_factory.mktemp("restic")
    (folder / "password").write_text(PASSWORD)
    program = toolchain.ensure("restic")["restic"].path

    def restic(*words: str) -> Any:
        done = subprocess.run(
            [
                program,
                "-r",
                folder / "repository",
                "--password-file",
                folder / "password",
                "--no-cache",
                *words,
            ],
            env={"TZ": "UTC", "HOME": str(folder), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    restic("init")
    (key,) = (folder / "repository" / "keys").iterdir()
    master = open_master_key(key.read_bytes(), PASSWORD)
    name, text = cheap_key(key.read_bytes(), PASSWORD)
    key.unlink()
    (key.parent / name).write_bytes(text)
    return folder / "repository", master, restic


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    minutes=st.lists(st.tuples(st.integers(0, 120 * 24 * 60), st.sampled_from(PATHS)), min_size=1, max_size=40, unique_by=lambda one: one[0]),
    keep=st.builds(
        Keep, last=st.integers(1, 3), hourly=st.integers(0, 4), daily=st.integers(0, 5), weekly=st.integers(0, 5),
        monthly=st.integers(0, 3), yearly=st.integers(0, 2), within=st.integers(0, 20).map(lambda days: timedelta(days=days)),
    ),
)  # fmt: skip
def test_with_honest_times_the_rules_keep_what_restic_keeps(
    repository: tuple[Path, MasterKey, Callable[..., Any]],
    minutes: list[tuple[int, tuple[str, ...]]],
    keep: Keep,
) -> None:
    folder, master, restic = repository
    for old in (folder / "snapshots").iterdir():
        old.unlink()
    arrived = []
    for minute, paths in minutes:
        at = START + timedelta(minutes=minute)
        claims = {"time": at.isoformat(), "tree": "0" * 64, "paths": list(paths), "hostname": "web1"}
        body = master.seal(json.dumps(claims).encode())
        name = hashlib.sha256(body).hexdigest()
        (folder / "snapshots" / name).write_bytes(body)
        arrived.append(Arrived(id=name, at=at, paths=paths))
    words = [
        word
        for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly")
        if getattr(keep, rule)
        for word in (f"--keep-{rule}", str(getattr(keep, rule)))
    ]
    if keep.within:
        words += ["--keep-within", f"{keep.within.days}d"]
    groups = json.loads(restic("forget", "--dry-run", "--json", "--no-lock", *words))
    stays = {one["id"] for group in groups for one in group["keep"] or ()}
    assert apply_rules(arrived, keep).keys() == stays
