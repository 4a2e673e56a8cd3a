"""The units that a trusted place gets: systemd takes them, and no secret is in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.__main__ import app

KIT = [
    "--kit",
    "/srv/kit/kit.age",
    "--passphrase-file",
    "/srv/kit/passphrase",
    "--storage-key",
    "/srv/kit/key",
]


def units(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["restore-drill", "units", *words])
    return done.exit_code, done.output


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    files = sorted(str(path) for path in folder.iterdir())
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "place", [KIT, ["--stack", "prod", "--storage-key", "/srv/key"]], ids=["kit", "stack"]
)
def test_systemd_takes_the_units(place: list[str], tmp_path: Path) -> None:
    code, said = units(
        *place, "--on-failure", "/usr/bin/true", "--source", "web1", "--all", "--out", str(tmp_path)
    )
    assert code == 0, said
    done = verify(tmp_path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    service = (tmp_path / "lastcopy-restore-drill.service").read_text()
    assert "--storage-key=%d/storage-key" in service
    assert "--read-data-subset=5%%" in service
    command = service.split("ExecStart=")[1].split("\nState")[0]
    assert "/srv" not in command, "secrets come by credentials only"
    assert units(*place, "--out", str(tmp_path))[0] == 1, "what stands there is not replaced"


def test_sabotage_a_wrong_word_in_a_unit_is_noticed(tmp_path: Path) -> None:
    assert units(*KIT, "--out", str(tmp_path))[0] == 0
    service = tmp_path / "lastcopy-restore-drill.service"
    service.write_text(service.read_text().replace("LoadCredential=kit:", "LoadCredentials=kit:"))
    done = verify(tmp_path)
    assert "LoadCredentials" in done.stdout + done.stderr


def test_both_are_printed_and_odd_words_refused() -> None:
    code, said = units(*KIT)
    assert code == 0
    assert "# /etc/systemd/system/lastcopy-restore-drill.service" in said
    assert "OnCalendar=weekly" in said
    for words in (
        ["--storage-key", "relative", *KIT[:2]],
        ["--storage-key", "/with space", *KIT[:2]],
        [*KIT, "--schedule", "weekly\nExecStart=/bin/sh"],
        [*KIT, "--user", "root; x"],
        [*KIT, "--source", "a b"],
        [*KIT, "--stack", "x"],
    ):
        code, said = units(*words)
        assert (code, "error:" in said) == (1, True), said
