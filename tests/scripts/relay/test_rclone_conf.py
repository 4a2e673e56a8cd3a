"""rclone reads back every value in its configuration byte for byte; values that it would read differently are refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toolchain
from components.relay.entry import source_account_files as relay

TRICKY = [
    "a%b",
    "a%%b",
    "100%",
    "a#b",
    "a;b",
    "a=b",
    "a = b",
    "[x]",
    "a'b",
    'a"b',
    "a`b",
    "$HOME",
    "${x}",
    "a\\b",
    "\u00e9\u2713",
    "a,b",
    "~",
    "=",
    "-",
    "#x",
    ";x",
]


@pytest.fixture(scope="session")
def rclone() -> Path:
    return toolchain.ensure("rclone")["rclone"].path


def read_back(rclone: Path, folder: Path, secret: str) -> None:
    try:
        text = relay.section_conf(f"type = b2\nkey = {secret}\n")
    except ValueError:
        return
    conf = folder / "rclone.conf"
    conf.write_text(text)
    said = subprocess.run(
        [str(rclone), "--config", str(conf), "config", "dump"],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(folder)},
    )
    assert json.loads(said.stdout)["lastcopy"].get("key", "") == secret.strip()
    assert json.loads(said.stdout).keys() == {"lastcopy"}


@pytest.mark.parametrize("secret", TRICKY)
def test_a_difficult_secret_is_read_back(rclone: Path, tmp_path: Path, secret: str) -> None:
    read_back(rclone, tmp_path, secret)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.sampled_from("abcXYZ019+/=#;%(){}[]\"'`\\$ ,:.~!*"), min_size=1, max_size=24))
def test_any_secret_is_read_back_or_refused(rclone: Path, tmp_path: Path, secret: str) -> None:
    read_back(rclone, tmp_path, secret)
