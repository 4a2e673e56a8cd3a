"""What each source's host says of its last backup (A9): its `status.json`, read over the operator's own SSH way in.

A host that was taken over says what it likes there. So this adds to what the storage tells and replaces none of it: the storage sees when a
snapshot came, and nothing of what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.errors import LastcopyError, escape_text
from ops.hosts.connection import SshHost, open_hosts
from ops.hosts.endpoints import read_admin_keys, read_endpoints, read_sandbox_endpoints
from ops.private_folder import private_folder

if TYPE_CHECKING:
    from ops.stack import Stack

STATUS = "/var/lib/lastcopy/status.json"
_MOST = 65536  # bytes; a host may send anything
_SECONDS = 40  # for one host
_AT_ONCE = 8
# What needs a person at once. An outage is tried again by itself, and where it lasts the source falls silent.
_NEEDS_A_PERSON = {"unexpected": "LAST BACKUP NOT AS MEANT", "refused": "BACKUPS REFUSED"}
_CENTURY = 100 * 366 * 24 * 3600  # seconds; a host may send any number
PARTIAL_TOO_LONG = 77  # run-backup's exit code


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """One `status.json`, as far as it is readable; texts are escaped.

    ``clock_ahead``: seconds by which the host's clock was ahead of the relay's (behind: negative), where that was more than a session takes
    to begin. ``not_read``: why there is none.
    """

    result: str = ""
    code: int = 0
    ended: str = ""
    message: str = ""
    findings: tuple[str, ...] = ()
    clock_ahead: int = 0
    not_read: str = ""

    @property
    def alarm(self) -> str:
        """The loud sentence, where somebody must look; else nothing."""
        too_long = self.code == PARTIAL_TOO_LONG
        word = "FILES UNREADABLE FOR DAYS" if too_long else _NEEDS_A_PERSON.get(self.result, "")
        told = [f"{word}: {'; '.join(self.findings) or self.message}"] if word else []
        if self.clock_ahead:
            # The trusted prune refuses a snapshot whose time cannot be, until a person accepts it.
            side = "ahead of" if self.clock_ahead > 0 else "behind"
            told.append(f"CLOCK WRONG: {abs(self.clock_ahead)} s {side} the relay's")
        return "; ".join(told)


def parse_last_run(text: str) -> LastRun:
    """Whatever the host sent."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return LastRun(not_read=f"{STATUS} is no JSON")
    if not isinstance(told, Mapping):
        return LastRun(not_read=f"{STATUS} holds no record")
    code, findings, ahead = told.get("exit_code"), told.get("findings"), told.get("clock_ahead_seconds")
    return LastRun(
        result=escape_text(told.get("result", ""), 20),
        code=code if type(code) is int else 0,
        ended=escape_text(told.get("last_end", ""), 20),
        message=escape_text(told.get("message", ""), 600),
        findings=tuple(escape_text(one, 400) for one in findings[:20]) if isinstance(findings, list) else (),
        clock_ahead=ahead if type(ahead) is int and abs(ahead) < _CENTURY else 0,
    )


def read_last_run(host: SshHost) -> LastRun:
    """Of this host; one that is not reached is no error."""
    try:
        done = host.run("head", "-c", str(_MOST), STATUS, seconds=_SECONDS, check=False)
        if done.code in (124, 255):
            host.run("true", seconds=_SECONDS)  # for the reason in its own words
            return LastRun(not_read="the host did not answer in time")
    except LastcopyError as error:
        return LastRun(not_read=escape_text(error.what, 300))
    if done.code != 0:
        return LastRun(not_read=f"no backup has ended there yet, or {STATUS} cannot be read")
    return parse_last_run(done.out)


def read_last_runs(stack: Stack, names: Sequence[str], sandbox: Path | None) -> dict[str, LastRun]:
    """By source. One that is enrolled by script is not reached from here, and missing."""
    outputs = stack.outputs()
    managed = [name for name in names if outputs["sources"][name].get("managed")]
    with ExitStack() as opened:
        folder = opened.enter_context(private_folder("status"))
        doors = (
            read_sandbox_endpoints(sandbox, outputs, managed)
            if sandbox is not None
            else read_endpoints(outputs, managed, read_admin_keys(stack.config(), folder))
        )
        reached = opened.enter_context(open_hosts(doors, folder))
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # one that does not answer keeps no other waiting
            return dict(
                zip(managed, pool.map(lambda name: read_last_run(reached[name]), managed), strict=True)
            )
