"""The state in a folder: an engine that is killed at any moment leaves a state that the next run can read (A7)."""

from __future__ import annotations

from pathlib import Path

from .stack import Stack


def beside_the_state(stack: Stack) -> list[Path]:
    """Files beside the state, which the engine does not write atomically; it renames all others into place."""
    return sorted((stack.folder / "state").glob("**/*.attrs"))


def test_no_file_beside_the_state_is_written_without_a_rename(stack: Stack) -> None:
    stack.up("pulumi.export('x', 1)")
    assert stack.outputs() == {"x": 1}
    assert beside_the_state(stack) == []


def test_sabotage_without_the_setting_a_kill_can_make_the_state_unreadable(stack: Stack) -> None:
    """A kill between the creation of such a file and its first byte; and the fix that docs/troubleshooting.md gives."""
    stack.environ["PULUMI_BACKEND_URL"] = (stack.folder / "state").as_uri()
    stack.up("pulumi.export('x', 1)")
    written = [file for file in beside_the_state(stack) if file.name == "test.json.attrs"]
    assert len(written) == 1
    written[0].write_bytes(b"")
    said = stack.pulumi("cancel", "test", "--yes", check=False)
    assert said.returncode != 0
    assert "failed to load checkpoint: EOF" in said.stdout
    written[0].unlink()
    assert stack.outputs() == {"x": 1}
