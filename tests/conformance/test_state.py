"""The state in a folder: an engine that is killed at any moment leaves one that the next run can read (A7)."""

from __future__ import annotations

from pathlib import Path

from .stack import Stack


def beside_the_state(stack: Stack) -> list[Path]:
    """The engine does not write these files atomically; it renames everything else into place."""
    return sorted((stack.folder / "state").glob("**/*.attrs"))


def test_nothing_that_is_not_written_atomically_is_beside_the_state(stack: Stack) -> None:
    stack.up("pulumi.export('x', 1)")
    assert stack.outputs() == {"x": 1}
    assert beside_the_state(stack) == []


def test_sabotage_without_the_setting_a_kill_can_shut_the_state(stack: Stack) -> None:
    """A kill between the making of such a file and its first byte; and the way out that docs/troubleshooting.md names."""
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
