"""A `pulumi` on PATH that writes down how it was called and answers what the test says."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = """\
#!{python} -IS
import json, os, pathlib, sys
folder = pathlib.Path({folder!r})
words = [word for word in sys.argv[1:] if word not in ("--non-interactive", "--color", "never", "auto")]
with (folder / "calls").open("a") as log:
    log.write(json.dumps({{"words": words, "environment": dict(os.environ), "cwd": os.getcwd()}}) + "\\n")
for begin, (code, text) in json.loads((folder / "answers").read_text()).items():
    if " ".join(words).startswith(begin):
        print(text, file=sys.stderr if code else sys.stdout)
        sys.exit(code)
"""


@dataclass(frozen=True)
class Call:
    """One start of the engine, without the words that every one has."""

    words: list[str]
    environment: dict[str, str]
    cwd: str


class FakeEngine:
    """Commands that are not answered succeed and say nothing."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._answers: dict[str, tuple[int, str]] = {}
        (folder / "bin").mkdir(parents=True)
        program = folder / "bin" / "pulumi"
        program.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)))
        program.chmod(0o755)
        self.answer({})
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def answer(self, answers: Mapping[str, Any]) -> None:
        """By how the command line begins; text, or something for JSON, or an exit status with the error's text."""
        for begin, said in answers.items():
            code, text = said if isinstance(said, tuple) else (0, said)
            self._answers[begin] = (code, text if isinstance(text, str) else json.dumps(text))
        (self.folder / "answers").write_text(json.dumps(self._answers))

    def config(self, **settings: Any) -> None:
        """The answer to `pulumi config --json`, as the engine gives it."""
        entries = {
            f"lastcopy:{name}": {"value": value, "secret": False}
            if isinstance(value, str)
            else {"value": json.dumps(value), "objectValue": value, "secret": False}
            for name, value in settings.items()
        }
        self.answer({"config --json": entries})

    def calls(self) -> list[Call]:
        log = self.folder / "calls"
        return [Call(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
