"""Programs are sent to a host once; a step names them by digest, keeps little in the state, and runs nothing that is incomplete (A7)."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pulumi
import pytest

from components.host import program_texts
from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.host.program_texts import (
    archive,
    program_files,
    programs_of,
    stored_program,
    stored_step_text,
)
from components.host.programs import RELAY_AREAS, SOURCE_AREAS, Programs
from tests.unit.recording import SAMPLE_KEY, Graph, Secret, record
from tests.unit.stacks import before


def graph(script: str = "schedule") -> Graph:
    def program() -> None:
        machine = pulumi.ComponentResource("test:index:Machine", "machine")
        host = Host(
            name="web1", address="web1.example.com", host_key=SAMPLE_KEY, user="admin", private_key="PRIVATE",
            incarnation="i-1", ready=(machine,), machine=machine,
        )  # fmt: skip
        on = Programs("programs").send_to(host, SOURCE_AREAS)
        HostStep("step", HostStepArgs(host=on, script=script, values={"PATHS": "/srv\n"}))
        HostStep("key", HostStepArgs(host=on, script="source_key", values={"EXPECTED": ""}))

    return record(program)


def stdin(made: Graph, name: str) -> str:
    found = made.named(name).inputs["stdin"]
    assert isinstance(found, Secret)
    return str(found.value)


def test_a_step_comes_after_its_programs_and_names_them_by_digest() -> None:
    made = graph()
    assert "web1-programs" in before(made, "step-command")
    text = stdin(made, "step-command")
    assert stored_program("schedule").sha256 in text
    assert "step_apply" not in text
    assert len(text) < 500, "the state keeps this twice, and encrypted"


def test_the_sender_keeps_no_program_in_the_state_and_its_key_is_secret() -> None:
    sender = graph().named("web1-programs")
    order = json.loads(stdin(graph(), "web1-programs"))
    assert order.keys() == {
        "name",
        "address",
        "port",
        "user",
        "hostKey",
        "privateKey",
        "jump",
        "areas",
        "digest",
    }
    assert len(stdin(graph(), "web1-programs")) < 600
    assert "PRIVATE" not in repr({**sender.inputs, "stdin": ""})
    assert (sender.deleted_with, sender.inputs["triggers"]) == ("machine", ["i-1"])
    assert sender.inputs["create"].endswith("-m ops send-programs")
    assert sender.inputs["delete"].endswith("-m ops remove-programs")
    assert not {"update", "environment", "dir"} & sender.inputs.keys()


def test_a_script_that_was_not_sent_to_the_host_is_refused_before_anything_runs() -> None:
    with pytest.raises(
        ValueError, match=r"step sshd on host web1: not among the programs sent to it: sshd\.sh"
    ):
        graph(script="sshd")


def edited(monkeypatch: pytest.MonkeyPatch, folder: Path, file: str) -> None:
    shutil.copytree(program_texts.COMPONENTS, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    with (folder / file).open("a") as text:
        text.write("# a new line\n")
    monkeypatch.setattr(program_texts, "COMPONENTS", folder)
    monkeypatch.setattr("components.host.programs.COMPONENTS", folder)


@pytest.mark.parametrize(
    ("file", "touched"),
    [
        ("source/schedule/schedule.sh", {"step"}),
        ("source/schedule/run-backup", {"step"}),
        ("source/enrolment/source_key.sh", {"key"}),
        ("source/repository/repository.sh", set()),
        ("host/lib.sh", {"step", "key"}),
    ],
)
def test_a_changed_program_is_sent_and_shown_once_and_reruns_the_steps_that_use_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, touched: set[str]
) -> None:
    before = {one.name: one.inputs for one in graph()}
    edited(monkeypatch, tmp_path / "components", file)
    made = graph()
    after = {one.name: one.inputs for one in made}
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {"programs", "web1-programs", *touched, *(f"{name}-command" for name in touched)}
    assert after["programs"]["files"][file].endswith("# a new line\n")
    assert {
        name for name, text in before["programs"]["files"].items() if text != after["programs"]["files"][name]
    } == {file}


def test_a_file_of_the_relay_changes_nothing_on_a_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = graph().named("web1-programs").inputs
    edited(monkeypatch, tmp_path / "components", "relay/sshd/sshd.sh")
    assert graph().named("web1-programs").inputs == before


def test_a_reviewer_sees_values_and_which_programs_a_step_runs() -> None:
    shown = graph().named("step").inputs
    assert shown["values"] == {"PATHS": "/srv\n"}
    assert shown["programs"]["RUN_BACKUP"] == program_files("schedule")["RUN_BACKUP"].label
    assert shown["programs"]["script"] == stored_program("schedule").label
    assert stored_program("schedule").label.startswith("schedule.sh sha256:")


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_step_of_stored_programs_that_is_truncated_anywhere_runs_nothing(
    shell: str, tmp_path: Path
) -> None:
    """If it ran its first command, that would ask for a missing program and fail with this message."""
    text = stored_step_text("schedule", {"PATHS": "x" * 50}, host="web1")

    def said(part: str) -> str:
        done = subprocess.run(
            [shell, "-s", "--", "apply"],
            cwd=tmp_path,
            input=part,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + (done.stderr if "nothing was run" in done.stderr else "")

    last = 's "$@"\n'
    assert text.endswith(last)
    for cut in range(0, len(text) - len(last), 41):
        assert said(text[:cut]) == "", f"cut at {cut}"
    assert "nothing was run" in said(text), "the same message, when all of it arrives"


def test_every_program_is_in_one_archive_and_the_same_files_make_the_same_bytes() -> None:
    for areas in (RELAY_AREAS, SOURCE_AREAS):
        assert archive(programs_of(areas)) == archive(programs_of(areas))
        assert "host_tool.sh" in {one.name for one in programs_of(areas)}
    assert {"relay.sh", "sshd.sh", "cutoff.sh"} <= {one.name for one in programs_of(RELAY_AREAS)}
    assert {"source_client.sh", "schedule.sh"} <= {one.name for one in programs_of(SOURCE_AREAS)}
    run_backup = program_files("schedule")["RUN_BACKUP"].text
    assert shlex.quote(run_backup) in stored_program("schedule").text
    assert "storage_ask.sh" not in {one.name for one in programs_of(RELAY_AREAS)}, (
        "a prelude is part of its scripts"
    )
