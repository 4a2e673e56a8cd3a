"""HostTool: a host that fetches nothing gets its tool before the step that looks for it; the graph of other hosts is unchanged."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from components.host import programs, tool_release
from components.host.connection import Host, Jump
from components.host.host_step import HostStep, HostStepArgs
from components.host.host_tool import HostTool, HostToolArgs
from tests.unit.recording import SAMPLE_KEY, Graph, Secret, record
from tests.unit.stacks import before


def graph(*, fetches: bool, key: str | None = "PRIVATE", jump: Jump | None = None) -> Graph:
    def program() -> None:
        host = Host(
            name="web1", address="web1.example.com", port=2022, host_key=SAMPLE_KEY, user="admin", private_key=key,
            fetches=fetches, jump=jump, incarnation="i-1",
        )  # fmt: skip
        HostTool("web1-restic", HostToolArgs(host=host, tool="restic"))
        HostStep("other", HostStepArgs(host=host, script="source_key", values={"EXPECTED": ""}))

    return record(program)


def test_the_tool_is_handed_over_before_the_step_that_looks_for_it() -> None:
    made = graph(fetches=False)
    command = made.named("web1-restic-hand-over")
    assert (command.type, command.parent) == ("command:local:Command", "web1-restic")
    assert "web1-restic-hand-over" in before(made, "web1-restic-install-command")
    assert shlex.split(command.inputs["create"])[-3:] == ["-m", "ops", "hand-over"]
    assert not {"update", "delete", "environment", "dir"} & command.inputs.keys()
    assert command.inputs["triggers"] == ["i-1"], "another machine behind the address has no tool"
    assert command.inputs["addPreviousOutputInEnv"] is False


def test_the_key_is_a_secret_on_standard_input_and_the_program_is_nowhere_in_the_state() -> None:
    command = graph(fetches=False).named("web1-restic-hand-over")
    stdin = command.inputs["stdin"]
    assert isinstance(stdin, Secret)
    order = json.loads(stdin.value)
    assert order.pop("told")
    assert order == {
        "name": "web1", "address": "web1.example.com", "port": 2022, "user": "admin", "hostKey": SAMPLE_KEY,
        "privateKey": "PRIVATE", "jump": None, "tool": "restic",
    }  # fmt: skip
    assert "PRIVATE" not in repr({**command.inputs, "stdin": ""})
    assert len(stdin.value) < 1000


def test_an_agents_key_and_a_jump_host_are_passed_on() -> None:
    jump = Jump(address="jump.example.com", host_key=SAMPLE_KEY, user="jumper")
    stdin = graph(fetches=False, key=None, jump=jump).named("web1-restic-hand-over").inputs["stdin"]
    order = json.loads(stdin.value)
    assert order["privateKey"] is None
    assert order["jump"] == {
        "address": "jump.example.com", "port": 22, "user": "jumper", "hostKey": SAMPLE_KEY, "privateKey": None,
    }  # fmt: skip


def test_it_runs_again_whenever_the_steps_values_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before = graph(fetches=False).named("web1-restic-hand-over").inputs["stdin"]
    monkeypatch.setattr(tool_release, "floor", lambda _: "99.0.0")
    assert graph(fetches=False).named("web1-restic-hand-over").inputs["stdin"] != before


def test_nothing_is_added_for_a_host_that_fetches() -> None:
    made = graph(fetches=True)
    assert "web1-restic-hand-over" not in [one.name for one in made]
    for step in ("web1-restic-install", "other"):
        assert "FETCHES" not in made.named(step).inputs["values"]
    for step in ("web1-restic-install", "other"):
        assert graph(fetches=False).named(step).inputs["values"]["FETCHES"] == "no"


def test_the_interpreter_has_a_path_relative_to_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Otherwise every other operator's checkout would be a change of every host."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(programs.sys, "executable", f"{tmp_path}/.venv/bin/python")
    assert programs.workstation_command("x") == "exec .venv/bin/python -m ops x"
    monkeypatch.setattr(programs.sys, "executable", "/opt/venv/bin/python")
    assert programs.workstation_command("x") == "exec /opt/venv/bin/python -m ops x"
