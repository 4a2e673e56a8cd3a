"""Hand-over: sends rclone or restic by SSH to a host that downloads nothing itself. `pulumi up` uses it; see HostTool.

Standard input says what to do: the host (ops/hosts/dial.py) and ``tool``. Standard output gets one line of JSON with the tool's path and
version on the host.
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
# Nothing is verified here: the step `host_tool`, which follows on the same standard input, checks what arrived. Leftovers of an earlier,
# killed hand-over are removed first, and those of this one at its end.
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
    """What `pulumi up` requests."""

    dial: dict[str, Any]
    tool: str

    @classmethod
    def read(cls, text: str) -> HandOverRequest:
        request = json.loads(text)
        return cls(dial=request, tool=request["tool"])


def hand_over_tool(host: SshHost, tool: str) -> dict[str, str]:
    """Ensure that the host has the tool at or above the minimum version: its own, or one that we send.

    Returns the facts of the step, ``path`` and ``version``. Raises HostError.
    """
    host.run("true")  # raises the error if the host cannot be reached or shows another key
    script = _script(tool)
    # Run in root's own shell. The pattern matches only folders of this tool's hand-over.
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
            f"{host.name} has too little disk space for {tool} {ours.version}: {needed} MiB are needed below {FOLDER}, {facts['free_mib']} MiB are free",
            where=host.endpoint.where,
            fix=f"free that space there (df -h {Path(FOLDER).parent}), then run 'pulumi up' again",
        )
    packed = gzip.compress(program, compresslevel=1)
    with step(f"{tool} {ours.version} ({ours.origin}) to {host.name}: {len(packed) >> 20} MiB"):
        return send_tool(host, tool, packed, hashlib.sha256(program).hexdigest(), script)


def send_tool(host: SshHost, tool: str, packed: bytes, sha256: str, script: bytes) -> dict[str, str]:
    """Send the packed program, followed by the step that checks its digest and installs it."""
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
