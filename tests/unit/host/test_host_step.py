"""HostStep: secrets only on stdin (A2), pinned host key (A1), nothing runs before the whole step has arrived (A7)."""

from __future__ import annotations

import base64
import subprocess

import pytest

from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.host.program_texts import script_text
from tests.unit.recording import SAMPLE_KEY, Graph, Recorded, Secret, record


def one_step(machine: str | None = None, **kwargs: object) -> Graph:
    def program() -> None:
        host = Host(
            incarnation=machine,
            name="relay",
            address="198.51.100.10",
            host_key=SAMPLE_KEY,
            user="admin",
            private_key="PRIVATE-KEY",
        )
        HostStep("step", HostStepArgs(host=host, script="sshd", **kwargs))  # type: ignore[arg-type]

    return record(program)


def command(graph: Graph) -> Recorded:
    return graph.named("step-command")


def test_secret_values_are_only_on_stdin() -> None:
    graph = one_step(values={"PORT": "22"}, secrets={"PASSWORD": "hunter2-hunter2"})
    recorded = command(graph)
    stdin = recorded.inputs["stdin"]
    assert isinstance(stdin, Secret)
    assert base64.b64encode(b"hunter2-hunter2").decode() in stdin.value
    others = repr([r.inputs | {"stdin": None} for r in graph])
    assert "hunter2" not in others
    assert base64.b64encode(b"hunter2-hunter2").decode() not in others
    assert "environment" not in recorded.inputs
    assert {"stdout", "stderr"} <= set(recorded.secret_outputs)
    assert recorded.inputs["logging"] == "none"
    assert recorded.inputs["addPreviousOutputInEnv"] is False


def test_the_connection_is_pinned_and_its_key_secret() -> None:
    connection = command(one_step()).inputs["connection"]
    inner = connection.value if isinstance(connection, Secret) else connection
    assert inner["hostKey"] == SAMPLE_KEY
    key = inner["privateKey"]
    assert isinstance(connection, Secret) or isinstance(key, Secret)


def test_public_values_are_visible_to_the_reviewer() -> None:
    step = one_step(values={"CONFIG": "Port 22\n"}, secrets={"PASSWORD": "x"}).named("step")
    assert step.inputs["values"] == {"CONFIG": "Port 22\n"}
    assert step.inputs["secretNames"] == ["PASSWORD"]


def test_a_value_cannot_be_both_public_and_secret() -> None:
    with pytest.raises(Exception, match="both as value and as secret"):
        one_step(values={"A": "1"}, secrets={"A": "2"})


@pytest.mark.parametrize("name", ["a", "A-B", "A;reboot", "", "1A", "A\n"])
def test_a_value_name_cannot_become_shell(name: str) -> None:
    with pytest.raises(ValueError, match="value names"):
        script_text("sshd", {name: "x"})


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_step_truncated_anywhere_runs_nothing(shell: str) -> None:
    text = script_text("sshd", {"CONFIG": "x" * 50})
    cut_points = range(0, len(text) - len('main "$@" </dev/null\n'), 997)
    for cut in cut_points:
        done = subprocess.run(
            [shell, "-s", "--", "apply"], input=text[:cut], capture_output=True, text=True, check=False
        )
        assert done.stdout == "", f"cut at {cut}"


def test_a_step_has_an_undo_only_if_requested() -> None:
    assert "delete" not in command(one_step()).inputs
    assert "-- remove" in command(one_step(undo=True)).inputs["delete"]


def test_another_machine_behind_the_address_means_a_new_step() -> None:
    assert command(one_step(machine="i-1")).inputs["triggers"] == ["i-1"]
    assert "triggers" not in command(one_step()).inputs


def test_a_step_that_can_run_only_once_is_not_run_again_unless_the_machine_changes() -> None:
    once = command(one_step(machine="i-1", once=True))
    assert set(once.inputs) - set(once.ignore_changes) == {"triggers"}
    assert command(one_step(machine="i-1")).ignore_changes == ()
