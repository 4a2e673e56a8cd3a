"""What each source's host reports about its last backup (A9): its `status.json`, read over the operator's own SSH connection.

A compromised host can report anything. So this adds to what the storage shows and replaces none of it: the storage shows when a snapshot
arrived, but not what it contains.
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
# What needs a person at once. An outage is retried automatically; if it lasts, the source becomes silent.
_NEEDS_A_PERSON = {"unexpected": "LAST BACKUP NOT AS EXPECTED", "refused": "BACKUPS REFUSED"}
_CENTURY = 100 * 366 * 24 * 3600  # seconds; a host may send any number
PARTIAL_TOO_LONG = 77  # run-backup's exit code


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """One `status.json`, as far as it is readable. Texts are escaped.

    ``clock_ahead``: seconds by which the host's clock was ahead of the relay's (negative if behind), if that was more than a session takes to
    start. ``not_read``: why there is no report.
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
        """What needs a person's attention, or nothing."""
        too_long = self.code == PARTIAL_TOO_LONG
        word = "FILES UNREADABLE FOR DAYS" if too_long else _NEEDS_A_PERSON.get(self.result, "")
        alarms = [f"{word}: {'; '.join(self.findings) or self.message}"] if word else []
        if self.clock_ahead:
            # The trusted prune refuses a snapshot with an impossible time until a person accepts it.
            side = "ahead of" if self.clock_ahead > 0 else "behind"
            alarms.append(f"CLOCK WRONG: {abs(self.clock_ahead)} s {side} the relay's")
        return "; ".join(alarms)


def parse_last_run(text: str) -> LastRun:
    """Parse whatever the host sent."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return LastRun(not_read=f"{STATUS} is not JSON")
    if not isinstance(record, Mapping):
        return LastRun(not_read=f"{STATUS} contains no record")
    code, findings, ahead = record.get("exit_code"), record.get("findings"), record.get("clock_ahead_seconds")
    return LastRun(
        result=escape_text(record.get("result", ""), 20),
        code=code if type(code) is int else 0,
        ended=escape_text(record.get("last_end", ""), 20),
        message=escape_text(record.get("message", ""), 600),
        findings=tuple(escape_text(one, 400) for one in findings[:20]) if isinstance(findings, list) else (),
        clock_ahead=ahead if type(ahead) is int and abs(ahead) < _CENTURY else 0,
    )


def read_last_run(host: SshHost) -> LastRun:
    """Read the host's report. A host that is not reached is not an error."""
    try:
        done = host.run("head", "-c", str(_MOST), STATUS, seconds=_SECONDS, check=False)
        if done.code in (124, 255):
            host.run("true", seconds=_SECONDS)  # raises an error with the reason
            return LastRun(not_read="the host did not answer in time")
    except LastcopyError as error:
        return LastRun(not_read=escape_text(error.what, 300))
    if done.code != 0:
        return LastRun(not_read=f"no backup has finished there yet, or {STATUS} cannot be read")
    return parse_last_run(done.out)


def read_last_runs(stack: Stack, names: Sequence[str], sandbox: Path | None) -> dict[str, LastRun]:
    """The reports by source. A source enrolled by script cannot be reached from here and is missing."""
    outputs = stack.outputs()
    managed = [name for name in names if outputs["sources"][name].get("managed")]
    with ExitStack() as opened:
        folder = opened.enter_context(private_folder("status"))
        reachable = (
            read_sandbox_endpoints(sandbox, outputs, managed)
            if sandbox is not None
            else read_endpoints(outputs, managed, read_admin_keys(stack.config(), folder))
        )
        reached = opened.enter_context(open_hosts(reachable, folder))
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # a host that does not answer delays no other
            return dict(
                zip(managed, pool.map(lambda name: read_last_run(reached[name]), managed), strict=True)
            )
