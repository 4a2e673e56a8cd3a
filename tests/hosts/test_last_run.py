"""A9: `lastcopy status --hosts` reaches a host through the jump host in the stack's outputs, with the keys in its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ops.stack import Stack
from ops.status import last_run
from tests.conformance.sshd import Sshd
from tests.unit.fake_engine import FakeEngine

TOLD = '{"result": "unexpected", "exit_code": 72, "findings": ["/srv is empty"], "clock_ahead_seconds": 900}'


def reached_at(server: Sshd) -> dict[str, Any]:
    """The endpoint in the form of an output."""
    return {"address": "127.0.0.1", "port": server.port, "user": server.user, "hostKey": server.host_key}


def test_a_host_behind_a_jump_host_reports_how_its_last_backup_ended(
    target: Sshd, jump: Sshd, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the stack file differs, the outputs count; the key is only in the file that --config-file gives."""
    (tmp_path / "status.json").write_text(TOLD)
    monkeypatch.setattr(last_run, "STATUS", str(tmp_path / "status.json"))
    engine = FakeEngine(tmp_path / "engine", monkeypatch)
    behind = {**reached_at(target), "jumpHost": reached_at(jump)}
    engine.answer({"stack output": {"relay": behind, "sources": {"web1": {**behind, "managed": True}}}})
    engine.config(
        admin={"privateKeyFile": str(key)},
        sources=[{"name": "web1", "host": {"address": "elsewhere.invalid"}}],
    )
    before = (target.logins(), jump.logins())
    stack = Stack.of_shell(Path.cwd(), "prod", tmp_path / "other.yaml")
    run = last_run.read_last_runs(stack, ["web1"], None)["web1"]
    assert (run.result, run.not_read) == ("unexpected", "")
    assert run.alarm == "LAST BACKUP NOT AS EXPECTED: /srv is empty; CLOCK WRONG: 900 s ahead of the relay's"
    assert (target.logins(), jump.logins()) == (before[0] + 1, before[1] + 1)
    asked = [call.words for call in engine.calls() if call.words[0] == "config"]
    assert [words[-2:] for words in asked] == [["--config-file", str(tmp_path / "other.yaml")]]
