"""Opens the repository that a verb's options name, and shows how far the listing is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from ops.access_request import AccessRequest, check_request, open_access
from ops.command_line.output import progress_bar, say
from ops.errors import escape_text
from ops.history.versions import iso, parse_moment
from ops.recover.recovery import Recovery, open_recovery
from ops.restic.repository import Tools


def parse_at(at: str | None) -> datetime | None:
    return parse_moment(at, datetime.now(UTC)) if at is not None else None


@contextmanager
def open_repository(
    request: AccessRequest, *, ahead: bool = False, at: datetime | None = None
) -> Iterator[Recovery]:
    """Open the repository and list its history, with a progress bar. ``ahead``, ``at``: see ``open_recovery``."""
    check_request(request)
    tools = Tools.get()  # first: they may have to be downloaded over this machine's own network
    with open_access(request) as access, progress_bar() as progress:
        task = progress.add_task("versions listed", total=None)

        def report(what: str, seen: int) -> None:
            progress.update(task, description=what, completed=seen)

        with open_recovery(access, tools, say, report, ahead=ahead, at=at) as found:
            progress.stop()
            if found.since:
                say(
                    f"known to be good: {iso(found.since[0])} ({escape_text(found.since[1])}); older signs are ignored"
                )
            yield found
