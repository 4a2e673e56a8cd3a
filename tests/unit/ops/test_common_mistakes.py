"""Common mistakes of operators: each error says what is wrong, where, and what fixes it, without a traceback.

The engine's messages are those of a real one: tests/conformance/test_refusals.py.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.command_line.app import app
from ops.command_line.exit_codes import ExitCode
from ops.engine_errors import REFUSALS
from ops.stack import Stack, StackError
from tests.unit.fake_engine import FakeEngine
from tests.unit.ops.storage.test_access import OUTPUTS
from tests.unit.recording import SAMPLE_KEY
from toolchain.checkout import ROOT

STACKS = [{"name": "prod"}, {"name": "test"}]
# For each mistake: the engine's message, and what the error must contain: in `what`, `where`, `allowed` and `fix`.
SAID = {
    "no login": (
        "error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
        ("not logged in", "PULUMI_BACKEND_URL", "file://", "export PULUMI_BACKEND_URL"),
    ),
    "a state folder that is not there": (
        'error: unable to open state directory "file:///x": stat /x: no such file or directory',
        ("cannot be opened", "backend file:///srv/state", "credentials", "PULUMI_BACKEND_URL"),
    ),
    "no stack is selected": (
        "error: no stack selected; please use `pulumi stack select` or `pulumi stack init` to choose one",
        ("no stack is selected", "--stack", "one of: prod, test", "--stack NAME"),
    ),
    "a stack that does not exist": (
        "error: no stack named 'prd' found",
        ("there is no stack prd", "--stack, in backend file:///srv/state", "one of: prod, test", "PULUMI_BACKEND_URL"),
    ),
    "no passphrase": (
        "error: passphrase must be set with PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE environment variables",
        ("no passphrase", "PULUMI_CONFIG_PASSPHRASE_FILE", "", "export PULUMI_CONFIG_PASSPHRASE_FILE=FILE"),
    ),
    "another stack's passphrase": (
        "error: incorrect passphrase",
        ("not the one of stack prd", "PULUMI_CONFIG_PASSPHRASE", "", "export PULUMI_CONFIG_PASSPHRASE_FILE=FILE"),
    ),
    "a passphrase file that is not there": (
        "error: unable to read PULUMI_CONFIG_PASSPHRASE_FILE: open /x: no such file or directory",
        ("cannot be read", "PULUMI_CONFIG_PASSPHRASE_FILE", "", "export PULUMI_CONFIG_PASSPHRASE_FILE=FILE"),
    ),
}  # fmt: skip
FIELDS = ("what", "where", "allowed", "fix")
VERBS = (
    ("status", "--storage-key", "KEY"),
    ("recover", "look", "--source", "web1", "--storage-key", "KEY"),
    ("cut-off", "--source", "web1"),
    ("attack-drill",),
    ("cost", "--data-gib", "1", "--change-gib-per-day", "1"),
)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///srv/state")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr("ops.restic.repository.Tools.get", classmethod(lambda _: None))
    made = FakeEngine(tmp_path / "engine", monkeypatch)
    made.answer({"stack ls": STACKS})
    return made


def error_of(words: tuple[str, ...], tmp_path: Path) -> dict[str, str]:
    """The one error of a command line, from its JSON; the output for people says the same."""
    key = tmp_path / "key.env"
    key.touch(0o600)
    key.write_text("AWS_ACCESS_KEY_ID=EXAMPLE\nAWS_SECRET_ACCESS_KEY=a-secret-key\n")
    given = [str(key) if word == "KEY" else word for word in words]
    done = CliRunner().invoke(app, [*given, "--json"])
    assert done.exit_code == ExitCode.REFUSED, done.output
    assert isinstance(done.exception, SystemExit), "no traceback"
    (error,) = json.loads(done.stdout)["errors"]
    assert {"what", "where", "fix"} <= set(error)
    assert all(text in done.stderr for text in error.values())
    assert done.stderr.count("fix:") == done.stderr.count("where:") == 1
    assert "Traceback" not in done.stderr
    return dict(error)


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_every_verb_says_what_an_unreadable_stack_lacks(
    words: tuple[str, ...], engine: FakeEngine, tmp_path: Path
) -> None:
    said, expected = SAID["a stack that does not exist"]
    engine.answer(dict.fromkeys(("stack output", "config --json"), (255, said)))
    error = error_of((*words, "--stack", "prd"), tmp_path)
    assert all(text in error[name] for name, text in zip(FIELDS, expected, strict=True)), error


@pytest.mark.parametrize("mistake", SAID)
def test_an_unreadable_stack(mistake: str, engine: FakeEngine, tmp_path: Path) -> None:
    said, expected = SAID[mistake]
    engine.answer({"stack output": (255, said)})
    error = error_of((*VERBS[0], "--stack", "prd"), tmp_path)
    assert all(text in error.get(name, "") for name, text in zip(FIELDS, expected, strict=True)), error


def test_each_known_refusal_of_the_engine_is_tested() -> None:
    assert len(REFUSALS) == len(SAID)


def test_without_a_selected_stack_the_names_are_listed(engine: FakeEngine, tmp_path: Path) -> None:
    engine.answer({"stack --show-name": (255, SAID["no stack is selected"][0])})
    assert error_of(("status", "--storage-key", "KEY"), tmp_path)["allowed"] == "one of: prod, test"


def test_a_backend_that_lists_nothing_hides_no_error(engine: FakeEngine, tmp_path: Path) -> None:
    engine.answer({"stack ls": (1, "error: no"), "stack output": (255, "error: no stack named 'prd' found")})
    error = error_of(("status", "--storage-key", "KEY", "--stack", "prd"), tmp_path)
    assert "allowed" not in error
    assert error["what"] == "there is no stack prd"


def test_other_messages_of_the_engine_are_passed_on(engine: FakeEngine, tmp_path: Path) -> None:
    engine.answer({"stack output": (255, "error: the moon is full")})
    error = error_of(("status", "--storage-key", "KEY", "--stack", "prod"), tmp_path)
    assert "error: the moon is full" in error["what"]
    assert error["where"] == "stack prod, backend file:///srv/state"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_an_unreachable_relay_of_an_attack_drill(engine: FakeEngine, tmp_path: Path) -> None:
    host = {"address": "127.0.0.1", "port": closed_port(), "user": "admin", "hostKey": SAMPLE_KEY}
    sources = {"web1": {**host, "managed": True}}
    engine.answer({"stack output": {"relay": host, "sources": sources}, "config --json": {}})
    (tmp_path / "id").touch(0o600)
    error = error_of(("attack-drill", "--stack", "prod", "--ssh-key", str(tmp_path / "id")), tmp_path)
    assert "relay was not reached" in error["what"]
    assert f"127.0.0.1 port {host['port']}" in error["where"]
    assert "pulumi up" in error["fix"]


def test_an_unreachable_relay_of_a_cut_off(engine: FakeEngine, tmp_path: Path) -> None:
    """The engine reports it as it happens; then the verb says what to do."""
    entries: dict[str, Any] = {
        "lastcopy:sources": {"value": "", "objectValue": [{"name": "web1", "cutOff": True}]}
    }
    engine.answer({"config --json": entries, "up": (255, "failed attempts: dial tcp 127.0.0.1:22: refused")})
    error = error_of(("cut-off", "--source", "web1", "--stack", "prod"), tmp_path)
    assert error["what"].startswith("pulumi up ")
    assert "docs/troubleshooting.md" in error["fix"]
    assert error["fix"].endswith("then run it again: it continues")


def test_an_unreachable_storage(engine: FakeEngine, tmp_path: Path) -> None:
    storage = {
        "endpoint": f"https://127.0.0.1:{closed_port()}",
        "region": "eu-central-1",
        "bucket": "a-bucket",
    }
    engine.answer({"stack output": {**OUTPUTS, "vault": storage}})
    error = error_of(("status", "--storage-key", "KEY", "--stack", "prod"), tmp_path)
    assert storage["endpoint"] in error["what"]
    assert (error["where"], "reach the storage" in error["fix"]) == ("bucket a-bucket", True)


@pytest.mark.parametrize("words", VERBS[:4], ids=lambda words: words[0])
def test_a_stack_without_a_first_run(words: tuple[str, ...], engine: FakeEngine, tmp_path: Path) -> None:
    engine.answer({"stack output": {}, "config --json": {}})
    error = error_of((*words, "--stack", "prod"), tmp_path)
    assert error["what"], error


def test_a_command_works_from_any_folder(engine: FakeEngine, tmp_path: Path) -> None:
    engine.answer({"stack output": (255, "error: no stack named 'prd' found")})
    environment = {
        "PATH": f"{engine.folder / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    code = "from ops.command_line.app import app; app(prog_name='lastcopy')"
    words = ["kit", "write", "--stack", "prd", "--out", "kit", "--passphrase-file", "phrase"]
    (tmp_path / "phrase").touch(0o600)
    (tmp_path / "phrase").write_text("six random words of a person\n")
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "there is no stack prd" in done.stderr) == (ExitCode.REFUSED, True), done.stderr
    assert {one.cwd for one in engine.calls()} == {str(ROOT)}


def test_a_command_installed_without_its_checkout_says_so(tmp_path: Path) -> None:
    with pytest.raises(StackError) as raised:
        Stack.of_shell(tmp_path, "prod")
    assert raised.value.where == str(tmp_path)
    assert "pip install -e ." in raised.value.fix
