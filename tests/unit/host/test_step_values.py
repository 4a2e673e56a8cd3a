"""The values of a step reach its script unchanged, however they were shortened on the way."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.host import program_texts
from components.host.program_texts import COMPONENTS, abridge, stored_step_text, usual_lines, value_text
from tests.unit.host.step_texts import values_of
from tests.unit.recording import Secret
from tests.unit.stacks import SHAPES, graph_of

USUAL = usual_lines("schedule")
# Lines that are usual, that look like parts of the short form, or that a shell or awk could misinterpret.
LINES = st.one_of(
    st.sampled_from(USUAL),
    st.sampled_from(
        [
            "",
            "'",
            "''",
            "$(reboot)",
            "`id`",
            "\\",
            "\\n",
            "&",
            "%s",
            ":PATHS",
            "@1-3",
            "+x",
            "++",
            "end'",
            "é…",
            "\r",
        ]
    ),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12),
)
VALUES = st.dictionaries(
    st.sampled_from(["A", "B9", "PATHS", "USUAL"]), st.lists(LINES, max_size=8).map("\n".join), max_size=3
)


def told(values: dict[str, str], shell: str) -> dict[str, str]:
    """What the script of such a step reads, without the files that it installs."""
    found = values_of("schedule", stored_step_text("schedule", values, host="web1"), shell)
    return {name: text for name, text in found.items() if name in ("A", "B9", "PATHS", "USUAL")}


@pytest.mark.parametrize("shell", ["dash", "bash"])
@settings(max_examples=25, deadline=None)
@given(values=VALUES)
def test_a_script_reads_the_values_of_its_step(shell: str, values: dict[str, str]) -> None:
    assert told(values, shell) == values


def test_a_run_of_usual_lines_is_named_instead_of_sent() -> None:
    first = USUAL.index(":SERVICE") + 1
    text = "\n".join([*USUAL[first : first + 20], "Description=mine", *USUAL[first + 20 : first + 30]])
    assert abridge(value_text({"A": text}), USUAL).splitlines() == [
        ":A",
        f"@{first + 1}-{first + 20}",
        "Description=mine",
        f"@{first + 21}-{first + 30}",
    ]
    assert told({"A": text}, "dash") == {"A": text}


@pytest.mark.parametrize("name", ["a", "A-B", "A;reboot", "", "1A", "A\n"])
def test_a_value_name_cannot_become_shell(name: str) -> None:
    with pytest.raises(ValueError, match="value names"):
        stored_step_text("schedule", {name: "x"}, host="web1")


def test_a_value_that_a_shell_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="value A holds a NUL"):
        stored_step_text("schedule", {"A": "x\0y"}, host="web1")


@pytest.mark.parametrize("breaks", ["awk() { false; }", "awk() { head -c 20; }", "awk() { cat; }"])
def test_a_step_whose_values_cannot_be_read_runs_nothing(breaks: str) -> None:
    """Sabotage: an awk that fails, that is cut off, or that does not exist."""
    text = stored_step_text("schedule", {"PATHS": "/srv\n"}, host="web1")
    values = text[text.index("values ") : text.index("main ")]
    program = program_texts.stored_program("schedule").text
    done = subprocess.run(
        ["dash", "-s"],
        input=f"{program}\n{breaks}\n{values}\necho went on\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "went on" not in done.stdout


def test_every_usual_line_occurs_in_a_step_of_some_stack() -> None:
    """So that the files do not outlive what they repeat. Lines that they lack only make the state larger: test_state_size.py."""
    files = {path.stem: path for path in COMPONENTS.rglob("*.usual")}
    unsaid = {script: set(path.read_text().splitlines()) for script, path in files.items()}
    with_usual_lines = set()
    for shape in SHAPES:
        graph = graph_of(shape)
        for step in graph.of_type("lastcopy:host:HostStep"):
            script, stdin = step.inputs["script"], graph.named(f"{step.name}-command").inputs["stdin"]
            assert isinstance(stdin, Secret)
            if usual_lines(script):
                with_usual_lines.add(script)
            if unsaid.get(script):  # reading a step's values starts a shell
                unsaid[script] -= set(value_text(values_of(script, stdin.value)))
    assert files.keys() == with_usual_lines
    assert not any(unsaid.values()), unsaid
