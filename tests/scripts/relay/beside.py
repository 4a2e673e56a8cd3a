"""A test server in the relay's own network: a program of this machine on the relay's loopback, which the relay's firewall lets sources reach."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.scripts.relay.chain import Chain
from toolchain.checkout import ROOT


class Program:
    """A module that answers each line of JSON with one line, and ends when stdin ends. ``facts``: its first answer, with its ``endpoint``."""

    def __init__(self, process: subprocess.Popen[str], given: object) -> None:
        self._process = process
        self.facts: dict[str, Any] = self.tell(given)
        self.endpoint: str = self.facts["endpoint"]

    def tell(self, line: object) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{json.dumps(line)}\n")
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def beside(chain: Chain, module: str, given: object) -> Iterator[Program]:
    """Run `python -m MODULE` during the block."""
    target = next(word for word in chain.box.command("relay", ["true"]) if word.startswith("--target"))
    with subprocess.Popen(
        ["nsenter", target, "--net", "--", sys.executable, "-m", module],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin
        try:
            program = Program(process, given)
            with chain.reached_by_sources(int(program.endpoint.rpartition(":")[2])):
                yield program
        finally:
            process.stdin.close()
