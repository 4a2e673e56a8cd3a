"""The exit codes of `lastcopy`, the same for every verb."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a verb ended. `lastcopy agent` exits with its command's status."""

    OK = 0  # done; nothing needs attention
    # Done, and something needs attention: a silent source, a failed row, a failed restore test.
    PROBLEMS_FOUND = 1
    REFUSED = 1  # not done, or not completely; the error says why and how to fix it
    USAGE = 2  # the verb does not accept these arguments
    INTERRUPTED = 130  # by a person or a signal; anything left over is reported
