"""An ssh agent with ten keys: a login gets as far as the right key, and no other key is offered."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from ops.hosts import filtered_agent
from ops.hosts.connection import HostError
from ops.hosts.filtered_agent import run_with_agent, serve_filtered_agent
from ops.stack import Stack
from tests.conformance.sshd import Sshd, make_key
from tests.hosts.conftest import dialled, endpoint
from tests.unit.fake_engine import FakeEngine
from tests.waiting import wait_until
from toolchain.checkout import ROOT


@pytest.fixture(scope="module")
def crowd(key: Path) -> Iterator[Path]:
    """The socket of a real ssh-agent with nine useless keys and, last, the admin's; and the folder with the files of these keys."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder, socket = Path(short), Path(short) / "agent"
        process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
        try:
            wait_until(socket.exists, pause=0.01)
            for number in range(9):
                make_key(folder / f"other-{number}")
                add(folder / f"other-{number}", socket)
            add(key, socket)
            yield socket
        finally:
            process.terminate()
            process.wait()


def add(key: Path, socket: Path) -> None:
    subprocess.run(["ssh-add", "-q", key], env={**os.environ, "SSH_AUTH_SOCK": str(socket)}, check=True)


def asked(socket: Path, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run OpenSSH's own client of an agent."""
    environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
    return subprocess.run(
        words, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=30
    )


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text().strip()


def test_sshd_ends_a_login_that_offers_ten_keys(
    crowd: Path, target: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem itself; `MaxAuthTries` is 6, the default."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(crowd))
    with pytest.raises(HostError, match="Too many authentication failures"):
        dialled(endpoint(target, None))


def test_the_operations_offer_only_the_named_key(
    crowd: Path, target: Sshd, jump: Sshd, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the jump host as well as to the host behind it."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(crowd))
    one = replace(endpoint(target, None), agent_keys=(public(key),))
    assert dialled(one) == "here\n"
    through = replace(endpoint(jump, None, "jump-web1"), agent_keys=(public(key),))
    assert dialled(replace(one, jump=through)) == "here\n"


def test_the_filtering_agent_lists_and_uses_only_the_named_keys(crowd: Path, key: Path) -> None:
    other = crowd.parent / "other-3"
    with serve_filtered_agent([public(key)], str(crowd)) as socket:
        assert oct(socket.stat().st_mode & 0o777) == "0o600"
        assert oct(socket.parent.stat().st_mode & 0o777) == "0o700"
        assert asked(socket, "ssh-add", "-L").stdout.strip() == public(key)
        sign = ("ssh-keygen", "-Y", "sign", "-n", "test", "-f")
        assert "BEGIN SSH SIGNATURE" in asked(socket, *sign, key.with_suffix(".pub"), stdin="text").stdout
        hidden = crowd.parent / "hidden.pub"  # without its private half beside it, which ssh-keygen would use
        hidden.write_text(public(other))
        assert "BEGIN SSH SIGNATURE" in asked(crowd, *sign, hidden, stdin="text").stdout
        assert asked(socket, *sign, hidden, stdin="text").returncode != 0
        for words in (("ssh-add", "-D"), ("ssh-add", "-q", other), ("ssh-add", "-d", other)):
            asked(socket, *words)
        assert asked(socket, "ssh-add", "-x", stdin="a\na\n").returncode != 0
    assert not socket.exists()
    assert len(asked(crowd, "ssh-add", "-L").stdout.splitlines()) == 10, "nothing was removed or locked"


def test_sabotage_without_its_check_the_filtering_agent_signs_with_any_key(
    crowd: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        filtered_agent, "_answered", lambda asked, agent, _: filtered_agent._passed_to(agent, asked)
    )
    hidden = crowd.parent / "hidden-too.pub"
    hidden.write_text(public(crowd.parent / "other-5"))
    with serve_filtered_agent([public(key)], str(crowd)) as socket:
        sign = ("ssh-keygen", "-Y", "sign", "-n", "test", "-f", hidden)
        assert "BEGIN SSH SIGNATURE" in asked(socket, *sign, stdin="text").stdout


@pytest.mark.parametrize(
    "rubbish", [b"", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1", b"\0\0\0\5\x0d\0\0\0\xff"]
)
def test_invalid_requests_are_refused_or_end_the_connection(crowd: Path, key: Path, rubbish: bytes) -> None:
    import socket as sockets

    with serve_filtered_agent([public(key)], str(crowd)) as at, sockets.socket(sockets.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(at))
        client.sendall(rubbish)
        client.shutdown(sockets.SHUT_WR)
        assert client.recv(100) in (b"", b"\0\0\0\1\5")
        assert asked(at, "ssh-add", "-L").stdout.strip() == public(key)


def test_the_exit_status_is_that_of_the_command(
    crowd: Path, key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    list_and_fail = ["sh", "-c", "ssh-add -L; exit 7"]
    assert run_with_agent([public(key)], str(crowd), list_and_fail) == 7
    assert capfd.readouterr().out.strip() == public(key)
    assert run_with_agent([public(key)], str(crowd), ["sh", "-c", "kill -TERM $$"]) == 143
    assert (
        run_with_agent(
            [public(key)],
            str(crowd),
            [sys.executable, "-c", "import os; assert 'SSH_AGENT_PID' not in os.environ"],
        )
        == 0
    )


@pytest.fixture
def engine(tmp_path: Path, crowd: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(crowd))
    return FakeEngine(tmp_path / "engine", monkeypatch)


def test_the_verb_runs_a_command_beside_the_named_keys(
    engine: FakeEngine, key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.config(admin={"agent": True, "agentKeys": [public(key)]})
    done = CliRunner().invoke(app, ["agent", "--stack", "prod", "--", "sh", "-c", "ssh-add -L; exit 5"])
    assert (done.exit_code, capfd.readouterr().out.strip()) == (5, public(key))


@pytest.mark.parametrize(
    ("admin", "socket", "said"),
    [
        ({"agent": True}, True, "lastcopy:admin.agentKeys"),
        ({"privateKeyFile": "/keys/admin"}, True, "lastcopy:admin.agentKeys"),
        ({"agent": True, "agentKeys": ["ssh-ed25519 AAAA"]}, False, "eval $(ssh-agent)"),
    ],
    ids=["none named", "no agent wanted", "no agent there"],
)
def test_the_verbs_errors_say_what_is_missing(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, admin: dict[str, object], socket: bool, said: str
) -> None:
    if not socket:
        monkeypatch.delenv("SSH_AUTH_SOCK")
    engine.config(admin=admin)
    done = CliRunner().invoke(app, ["agent", "--stack", "prod", "--", "true"])
    assert (done.exit_code, said in done.output) == (1, True), done.output


def test_a_verb_that_runs_the_engine_offers_it_only_the_named_keys(
    engine: FakeEngine, key: Path, crowd: Path
) -> None:
    """`lastcopy cut-off` must work at once, whatever else the agent holds."""
    stack = Stack.of_shell(ROOT, "prod")
    for admin, other in (({"agent": True, "agentKeys": [public(key)]}, True), ({"agent": True}, False)):
        engine.config(admin=admin)
        stack.up(quiet=True)
        up = [call for call in engine.calls() if call.words[0] == "up"][-1]
        assert (up.environment["SSH_AUTH_SOCK"] != str(crowd)) is other
