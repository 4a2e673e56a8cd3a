"""One small Pulumi project, run by the real engine with whichever plugins the toolchain found."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.waiting import becomes_true

PROJECT = """\
name: conformance
runtime:
  name: python
  options:
    virtualenv: {virtualenv}
"""

# `given` are the test's values; `connection()` leads to the test's server, with its key pinned and one attempt.
PRELUDE = """\
import json, pathlib, pulumi
from pulumi_command import local, remote

given = json.loads(pathlib.Path("given.json").read_text())
secret = pulumi.Output.secret

def connection(**change):
    base = dict(host="127.0.0.1", port=given["port"], user=given["user"], private_key=given["key"],
                host_key=given["host_key"], dial_error_limit=0)
    return remote.ConnectionArgs(**{**base, **change})

def step(name, connection=connection(), **args):
    return remote.Command(name, connection=connection, **args)

there = given["there"]

"""

SECONDS = 60
# Part of the command line of the language host, and of the official one's program (its shim's name begins with this).
LANGUAGE_HOST = "pulumi-language-python"


class Stack:
    """A project in `folder`. Its processes, including grandchildren, are marked in their environment."""

    def __init__(self, folder: Path, environ: dict[str, str], given: dict[str, Any]) -> None:
        self.folder, self.given = folder, given
        self.mark = f"LASTCOPY_MARK={uuid.uuid4()}"
        name, value = self.mark.split("=")
        own = {
            name: value,
            "PULUMI_BACKEND_URL": f"{(folder / 'state').as_uri()}?metadata=skip",
            "PULUMI_STACK": "test",
        }
        self.environ = {**environ, **own}

    @classmethod
    def new(cls, folder: Path, environ: dict[str, str]) -> Stack:
        """An empty stack to copy others from, which saves a run of the engine for each."""
        (folder / "state").mkdir(parents=True)
        made = cls(folder, environ, {})
        made.virtualenv(sys.prefix)
        made.program("pass", {})
        made.pulumi("stack", "init", "test")
        return made

    def virtualenv(self, path: str) -> None:
        (self.folder / "Pulumi.yaml").write_text(PROJECT.format(virtualenv=json.dumps(path)))

    def program(self, text: str, given: dict[str, Any]) -> None:
        (self.folder / "given.json").write_text(json.dumps({**self.given, **given}))
        (self.folder / "__main__.py").write_text(PRELUDE + textwrap.dedent(text))

    def pulumi(
        self, *words: str, check: bool = True, change: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the engine; stdout and stderr together, as a user sees them."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", "--color=never", *words],
            cwd=self.folder,
            env={**self.environ, **(change or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stdout
        return done

    def up(self, text: str, given: dict[str, Any] | None = None) -> str:
        self.program(text, given or {})
        return self.pulumi("up", "--yes", "--skip-preview").stdout

    def fails(
        self, text: str, given: dict[str, Any] | None = None, change: dict[str, str] | None = None
    ) -> str:
        """Run `up`, which must fail; `change` adds to the engine's environment."""
        self.program(text, given or {})
        done = self.pulumi("up", "--yes", "--skip-preview", check=False, change=change)
        assert done.returncode != 0, done.stdout
        return done.stdout

    def preview(self, text: str, given: dict[str, Any] | None = None, *words: str) -> str:
        self.program(text, given or {})
        return self.pulumi("preview", *words).stdout

    def unchanged(self) -> None:
        """Whether a second run changes nothing."""
        self.pulumi("preview", "--expect-no-changes")

    def outputs(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json", "--show-secrets").stdout)
        return result

    def state(self) -> str:
        """The state as it is stored, with secrets encrypted."""
        return self.pulumi("stack", "export").stdout

    def resources(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.state())["deployment"].get("resources", [])
        return {resource["urn"].rsplit("::", 1)[-1]: resource for resource in found}

    def processes(self, patience: float = 0) -> list[str]:
        """The processes ever started by this stack that can still change a host after at most `patience` seconds.

        The official language host and the program that it runs outlive a killed engine for a while. They can do nothing:
        the engine that would register their resources is gone.
        """
        becomes_true(lambda: not self._able(), patience)
        return self._able()

    def _able(self) -> list[str]:
        return [line for _, line in self._marked() if LANGUAGE_HOST not in line]

    def kill_leftovers(self) -> None:
        for pid, _ in self._marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)

    def _marked(self) -> Iterator[tuple[int, str]]:
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    yield int(entry.name), line[:200]
            except OSError:
                continue  # it has ended, or belongs to another user
