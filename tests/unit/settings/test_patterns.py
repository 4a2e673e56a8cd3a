"""Exclude patterns: restic accepts what the preview accepts. restic itself is asked."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.settings import patterns
from components.settings.patterns import find_malformed_part
from components.source.schedule.backup_files import excludes_file
from tests.examples import few
from toolchain import ensure

BAD = (
    "foo[",
    "[]",
    "[a",
    "[a-]",
    "[-a]",
    "[^]",
    "[b-",
    "a\\",
    "[\\]",
    "a/[x/b]",
    "*[._]log[.-][0-9]",
    "[a/b]",
)
GOOD = (
    "*.tmp",
    "[^a]",
    "[a-c]*",
    "a\\[",
    "[\\]]",
    "**/cache",
    "a[/../b",
    "]",
    "a-b]",
    "[[]",
    "[z-a]",
    "*",
    "/srv/[!x]",
)
PATTERNS = st.text(st.sampled_from("[]^-\\*?/.a z!ü$"), min_size=1, max_size=12)


def refused_by_restic(folder: Path, several: Sequence[str]) -> set[str]:
    """The patterns that restic calls invalid, read from a file as run-backup passes them. Opens no repository:
    `restore` reads its patterns by the same code (internal/filter) before anything else.
    """
    file = folder / "excludes"
    file.write_text(excludes_file(several))
    words = [str(ensure("restic")["restic"].path), "restore", "--exclude-file", str(file)]
    said = subprocess.run(
        words, capture_output=True, text=True, check=False, env={"HOME": str(folder)}
    ).stderr
    if "no snapshot ID specified" in said:
        return set()
    assert "invalid pattern(s) provided:" in said, said
    return set(said.split("provided:\n", 1)[1].splitlines())


@pytest.mark.parametrize("pattern", BAD)
def test_a_malformed_pattern_is_refused_in_the_preview_with_the_wrong_part(pattern: str) -> None:
    part = find_malformed_part(pattern)
    assert part is not None
    assert part in pattern


@pytest.mark.parametrize("pattern", GOOD)
def test_a_good_pattern_is_accepted(pattern: str) -> None:
    assert find_malformed_part(pattern) is None


def promise_what_restic_refuses_the_preview_refuses(folder: Path, several: list[str]) -> None:
    given = [one for one in several if one[0] not in "#!" and one == one.strip()]
    refused = refused_by_restic(folder, given)
    for pattern in given:
        if pattern in refused:
            assert find_malformed_part(pattern) is not None, pattern
        elif (part := find_malformed_part(pattern)) is not None:
            # restic's self-match ends early at a star. Without what is before it, restic says the same.
            assert "*" in part, pattern
            rest = [part[at:] for at in range(1, len(part)) if part[at - 1] == "*"]
            assert refused_by_restic(folder, rest), pattern


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("patterns")


@few
@given(several=st.lists(PATTERNS, min_size=100, max_size=300))
@example([*BAD, *GOOD])
def test_what_restic_refuses_the_preview_refuses(folder: Path, several: list[str]) -> None:
    promise_what_restic_refuses_the_preview_refuses(folder, several)


def test_sabotage_a_preview_that_reads_no_classes_is_caught(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "_class_end", lambda _, at: at)
    with pytest.raises(AssertionError):
        promise_what_restic_refuses_the_preview_refuses(folder, [*BAD, *GOOD])
