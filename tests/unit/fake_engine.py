"""A `pulumi` on PATH that records how it was called and answers as the test wants."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

# A shell starts in a tenth of the time of Python, and the tests start it some hundred times.
_PROGRAM = """\
#!/bin/sh
{{ printf '%s\\0' "$#" "$@"; /usr/bin/env -0; printf '\\0%s\\0' "$(pwd)"; }} >>{log}
words=
for word; do case $word in --non-interactive | --color | never | auto) ;; *) words="$words${{words:+ }}$word" ;; esac; done
case $words in
{answers}
esac
"""
_NOISE = ("--non-interactive", "--color", "never", "auto")


@dataclass(frozen=True)
class Call:
    """One call of the engine, without the words that all calls have."""

    words: list[str]
    environment: dict[str, str]
    cwd: str


class FakeEngine:
    """Commands without an answer succeed silently."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._answers: dict[str, tuple[int, str]] = {}
        self._log = folder / "calls"
        self._program = folder / "bin" / "pulumi"
        self._program.parent.mkdir(parents=True)
        self._program.touch(0o755)
        self.answer({})
        monkeypatch.setenv("PATH", f"{self._program.parent}:/usr/bin:/bin")

    def answer(self, answers: Mapping[str, Any]) -> None:
        """By how the command line begins; text, or something for JSON, or an exit status with the error's text."""
        for begin, said in answers.items():
            code, text = said if isinstance(said, tuple) else (0, said)
            self._answers[begin] = (code, text if isinstance(text, str) else json.dumps(text))
        lines = [
            f"{shlex.quote(begin)}*) printf '%s\\n' {shlex.quote(text)}{' >&2' if code else ''}; exit {code} ;;"
            for begin, (code, text) in self._answers.items()
        ]
        self._program.write_text(_PROGRAM.format(log=shlex.quote(str(self._log)), answers="\n".join(lines)))

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
        fields = iter(self._log.read_text().split("\0")[:-1] if self._log.exists() else [])
        found = []
        for count in fields:
            words = [word for word in islice(fields, int(count)) if word not in _NOISE]
            environment = dict(field.split("=", 1) for field in iter(fields.__next__, ""))
            found.append(Call(words, environment, next(fields)))
        return found
