"""The systemd units for a trusted place: systemd accepts them, and they contain no secret."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from ops.restore_test.units import NAME
from tests.restore_test.booted import Booted, booted
from tests.restore_test.host import Host
from tests.sabotage import weaken

KIT = [
    "--kit",
    "/srv/kit/kit.age",
    "--passphrase-file",
    "/srv/kit/passphrase",
    "--storage-key",
    "/srv/kit/key",
]


def units(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["restore-test", "units", *words])
    return done.exit_code, done.output


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    files = sorted(str(path) for path in folder.iterdir())
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "place",
    [KIT, ["--stack", "prod", "--storage-key", "/srv/key", "--environment-file", "/srv/pulumi.env"]],
    ids=["kit", "stack"],
)
def test_systemd_accepts_the_units(place: list[str], tmp_path: Path) -> None:
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
    assert "/srv" not in command, "secrets reach the service as credentials only"
    assert ("EnvironmentFile=/srv/pulumi.env" in service) is ("--stack" in place)
    assert units(*place, "--out", str(tmp_path))[0] == 1, "an existing file is not replaced"


def test_the_service_uses_the_tools_that_the_shell_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd may give a service another HOME, in which it would find no tools."""
    monkeypatch.delenv("LASTCOPY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, said = units(*KIT)
    assert code == 0, said
    assert f"Environment=LASTCOPY_CACHE={tmp_path}/cache/lastcopy\n" in said


def test_sabotage_a_misspelt_setting_in_a_unit_is_noticed(tmp_path: Path) -> None:
    assert units(*KIT, "--out", str(tmp_path))[0] == 0
    service = tmp_path / "lastcopy-restore-drill.service"
    service.write_text(weaken(service.read_text(), "LoadCredential=kit:", "LoadCredentials=kit:"))
    done = verify(tmp_path)
    assert "LoadCredentials" in done.stdout + done.stderr


def test_units_are_printed_and_bad_options_are_refused() -> None:
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
        [*KIT, "--environment-file", "/srv/pulumi.env"],
        ["--stack", "prod", "--storage-key", "/srv/key"],
        ["--stack", "prod", "--storage-key", "/srv/key", "--environment-file", "relative"],
    ):
        code, said = units(*words)
        assert (code, "error:" in said) == (1, True), said


@pytest.fixture
def scheduled(host: Host, tmp_path: Path) -> Iterator[Booted]:
    """A trusted place whose timer fires every two seconds, enabled as the operator would enable it."""
    kit, phrase = host.bed.kit(host.bed.vault.key)
    key, alarm, folder = tmp_path / "key", tmp_path / "alarm", tmp_path / "units"
    secret = host.bed.vault.key
    key.touch(0o600)
    key.write_text(
        f"AWS_ACCESS_KEY_ID={secret.access_key_id}\nAWS_SECRET_ACCESS_KEY={secret.secret_access_key.get_secret_value()}\n"
    )
    alarm.write_text("#!/bin/sh\ncat >>/run/rung\n")
    alarm.chmod(0o755)
    folder.mkdir()
    words = ["--kit", str(kit), "--passphrase-file", str(phrase), "--storage-key", str(key)]
    code, said = units(
        *words, "--on-failure", str(alarm), "--read-data-subset", "100%", "--schedule", "*:*:0/2",
        "--out", str(folder),
    )  # fmt: skip
    assert code == 0, said
    (folder / f"{NAME}.timer.d").mkdir()
    (folder / f"{NAME}.timer.d" / "test.conf").write_text("[Timer]\nRandomizedDelaySec=0\nAccuracySec=1ms\n")
    (folder / "timers.target.wants").mkdir()
    (folder / "timers.target.wants" / f"{NAME}.timer").symlink_to(f"../{NAME}.timer")
    with booted(folder, tmp_path) as there:
        yield there


def test_the_timer_runs_restore_tests_and_a_failure_rings_the_alarm(host: Host, scheduled: Booted) -> None:
    """With a real systemd and secrets as its credentials: passed tests are recorded; an encrypted canary fails the unit and rings the alarm."""
    record, service = f"/var/lib/{NAME}/record.jsonl", f"{NAME}.service"

    def words() -> str:
        return scheduled.run("journalctl", "--no-pager", "--unit", service).stdout

    scheduled.wait(lambda: '"result": "passed"' in scheduled.read(record), 90, words)
    assert scheduled.read("/run/rung") == ""
    (host.canary / "photo.jpg").write_bytes(b"encrypted")
    host.back_up()
    scheduled.wait(lambda: '"result": "failed"' in scheduled.read(record), 90, words)
    scheduled.wait(lambda: f"{service}: Failed with result 'exit-code'" in words(), 20, words)
    assert "1 of 6 canary files have changed (photo.jpg)" in scheduled.read("/run/rung")
    assert scheduled.run("stat", "-c", "%a %U", record).stdout == "600 root\n"
    # The next test may have begun already: let it end, with no other after it.
    scheduled.run("systemctl", "stop", f"{NAME}.timer")
    show = ("systemctl", "show", "-p", "ActiveState", "--value", service)
    scheduled.wait(lambda: scheduled.run(*show).stdout.strip() in ("failed", "inactive"), 60, words)
    assert scheduled.run("ls", "-A", f"/var/cache/{NAME}").stdout == ""
    assert "could not run" not in scheduled.read("/run/rung"), "one failure must not ring twice"


def test_a_restore_test_that_cannot_start_rings_the_alarm(scheduled: Booted, tmp_path: Path) -> None:
    """A credential's file is missing, so systemd does not start the test, which then cannot ring the alarm itself."""
    scheduled.run("rm", str(tmp_path / "key"))
    words = "the restore test could not run: exit-code"
    scheduled.wait(
        lambda: words in scheduled.read("/run/rung"), 60, lambda: scheduled.run("journalctl", "-n50").stdout
    )
