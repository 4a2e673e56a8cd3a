"""An ssh agent that offers only some of another agent's keys: sshd closes a login after six keys that do not match, and the plugin that
connects for `pulumi up` offers every key of the agent.

It forwards to the agent behind it. It lists and uses the named keys only, and refuses to add, remove or lock keys.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import socketserver
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from ops.private_folder import private_folder
from ops.socket_server import serve_on_socket

_FAILURE, _LIST, _LISTED, _SIGN, _EXTENSION = 5, 11, 12, 13, 27
_BIND = b"session-bind@openssh.com"  # keys that are restricted to certain hosts need this message; it changes nothing else
_LONGEST = 256 * 1024  # bytes in one message, the limit of OpenSSH's own agent


@contextmanager
def serve_filtered_agent(keys: Sequence[str], behind: str) -> Iterator[Path]:
    """Serve an agent that offers only these public keys (authorized-key lines) of the agent at ``behind``. Yields its socket."""
    blobs = [base64.b64decode(line.split()[1]) for line in keys]

    class Filter(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as real, suppress(OSError):
                real.connect(behind)
                with real.makefile("rwb") as agent:
                    while (asked := _message(self.rfile)) is not None:
                        self.wfile.write(_framed(_answered(asked, agent, blobs)))

    with private_folder("agent") as folder:
        at = folder / "agent"
        with serve_on_socket(at, Filter):
            yield at


def read_agent_keys(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The agent's keys that a stack's settings name; empty if they name none."""
    admin = config.get("admin") or {}
    return tuple(map(str, admin.get("agentKeys") or ())) if admin.get("agent") else ()


@contextmanager
def offer_named_keys(environment: Mapping[str, str], config: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The environment with an agent that offers only the named keys; unchanged if there is no agent or no key is named."""
    keys, behind = read_agent_keys(config), environment.get("SSH_AUTH_SOCK")
    if not keys or not behind:
        yield dict(environment)
        return
    with serve_filtered_agent(keys, behind) as at:
        yield {**environment, "SSH_AUTH_SOCK": str(at)}


def run_with_agent(keys: Sequence[str], behind: str, command: Sequence[str]) -> int:
    """Run the command with a filtered agent at SSH_AUTH_SOCK and return its exit status. Ctrl-C is left to the command."""
    with serve_filtered_agent(keys, behind) as at:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(at)}
        environment.pop("SSH_AGENT_PID", None)
        with subprocess.Popen(command, env=environment) as process, _passed_on(process):
            code = process.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Forward SIGTERM to the command. A terminal sends its interrupt to both processes, so SIGINT is only ignored here."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answered(asked: bytes, agent: BufferedIOBase, blobs: Sequence[bytes]) -> bytes:
    """This agent's answer to one message."""
    kind, what = asked[:1], _strings(asked[1:])
    if kind == bytes([_LIST]):
        return _only(_passed_to(agent, asked), blobs)
    if kind == bytes([_SIGN]) and what[:1] and what[0] in blobs:
        return _passed_to(agent, asked)
    if kind == bytes([_EXTENSION]) and what[:1] == [_BIND]:
        return _passed_to(agent, asked)
    return bytes([_FAILURE])


def _passed_to(agent: BufferedIOBase, asked: bytes) -> bytes:
    agent.write(_framed(asked))
    agent.flush()
    answer = _message(agent)
    return bytes([_FAILURE]) if answer is None else answer


def _only(answer: bytes, blobs: Sequence[bytes]) -> bytes:
    """Reduce a list of keys to the named ones, in the order in which they are named."""
    if answer[:1] != bytes([_LISTED]):
        return bytes([_FAILURE])
    words = _strings(answer[5:])
    comments = dict(zip(words[::2], words[1::2], strict=True))
    shown = [_framed(blob) + _framed(comments[blob]) for blob in blobs if blob in comments]
    return bytes([_LISTED]) + len(shown).to_bytes(4) + b"".join(shown)


def _message(stream: BufferedIOBase) -> bytes | None:
    """The next message; None at the end, or if it is longer than an agent accepts."""
    head = stream.read(4)
    size = int.from_bytes(head)
    content = stream.read(size) if len(head) == 4 and size <= _LONGEST else b""
    return content if content and len(content) == size else None


def _strings(data: bytes) -> list[bytes]:
    """The length-prefixed strings at the start of the data."""
    found = []
    while len(data) >= 4 and len(data) >= (end := 4 + int.from_bytes(data[:4])):
        found.append(data[4:end])
        data = data[end:]
    return found


def _framed(content: bytes) -> bytes:
    return len(content).to_bytes(4) + content
