"""Hand-over: rclone or restic onto a host that fetches nothing itself, by SSH. `pulumi up` asks for it; see HostTool.

What to do is on standard input: the host (ops/hosts/dial.py) and ``tool``. On standard output one line of JSON: the tool's path and version
there.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.host.program_texts import script_text
from components.host.tool_release import release_values
from ops.hosts.connection import CommandResult, HostError, SshHost
from toolchain.progress import step
from toolchain.toolchain import Toolchain

FOLDER = "/usr/local/lib/lastcopy"
# Between the host's own file system and ours nothing is decided here: the step `host_tool` that follows on the same standard input checks
# what came. What an earlier hand-over left when it was killed goes first; so does what this one leaves, however it ends.
_RECEIVE = f"""\
set -eu
umask 077
mkdir -p -m 755 {FOLDER}
place=$(mktemp -d "{FOLDER}/.given.$3.XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM HUP
head -c "$1" | gzip -dc >"$place/$3" || {{ echo "error: $3 did not arrive whole (a cut connection, or a full disk); fix: run 'pulumi up' again" >&2; exit 1; }}
timeout -k 10 300 /bin/sh -s -- apply '' "$place/$3" "$2"
"""
_LOOK_SECONDS, _SEND_SECONDS = 400, 3600


@dataclass(frozen=True, kw_only=True)
class HandOverRequest:
    """What `pulumi up` asks for."""

    dial: dict[str, Any]
    tool: str

    @classmethod
    def read(cls, text: str) -> HandOverRequest:
        told = json.loads(text)
        return cls(dial=told, tool=told["tool"])


def hand_over_tool(host: SshHost, tool: str) -> dict[str, str]:
    """The host has the tool at or above its floor, its own or ours; the facts of its step, ``path`` and ``version``."""
    host.run("true")  # where it cannot be reached, or is another one, that is told here
    script = _script(tool)
    # Root's own shell there; the pattern names no folder but those of this tool's hand-over.
    look = host.shell(
        f'rm -rf {FOLDER}/.given.{tool}.??????; exec timeout -k 10 {_LOOK_SECONDS - 20} /bin/sh -s -- check ""',
        stdin=script, seconds=_LOOK_SECONDS, check=False,
    )  # fmt: skip
    facts = _facts(host, look, allowed=(0, 3))
    if look.code == 0:
        return facts
    ours = Toolchain().for_host(tool, facts["architecture"])
    program = ours.path.read_bytes()
    needed = (len(program) >> 20) + 2
    if int(facts["free_mib"]) < needed:
        raise HostError(
            f"{host.name} has no room for {tool} {ours.version}: it needs {needed} MiB of disk space below {FOLDER}, where {facts['free_mib']} MiB are free",
            where=host.endpoint.where,
            fix=f"free that space there (df -h {Path(FOLDER).parent}), then run 'pulumi up' again",
        )
    packed = gzip.compress(program, compresslevel=1)
    with step(f"{tool} {ours.version} ({ours.origin}) to {host.name}: {len(packed) >> 20} MiB"):
        return send_tool(host, tool, packed, hashlib.sha256(program).hexdigest(), script)


def send_tool(host: SshHost, tool: str, packed: bytes, sha256: str, script: bytes) -> dict[str, str]:
    """The packed program, and after it the step that checks it against the digest and puts it into place."""
    done = host.run(
        "sh", "-c", _RECEIVE, "hand-over", str(len(packed)), sha256, tool,
        stdin=packed + script, seconds=_SEND_SECONDS, check=False,
    )  # fmt: skip
    return _facts(host, done, allowed=(0,))


def _script(tool: str) -> bytes:
    return script_text("host_tool", release_values(tool, fetches=False)).encode()


def _facts(host: SshHost, done: CommandResult, *, allowed: tuple[int, ...]) -> dict[str, str]:
    if done.code not in allowed:
        raise HostError(
            f"the tool was not handed over to {host.name} (exit status {done.code}):\n{done.err.strip()}"
        )
    facts: dict[str, str] = json.loads(done.out.strip().splitlines()[-1])["facts"]
    return facts
