"""The exit codes of `lastcopy`, the same for every verb."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a verb ended. `lastcopy agent` ends as its command did."""

    OK = 0  # done; nothing needs a person
    PROBLEMS_FOUND = (
        1  # done, and something needs a person: a silent source, a broken row, a failed restore test
    )
    REFUSED = 1  # not done, or not to its end; the error says why and what fixes it
    USAGE = 2  # the words of the command line are not ones that the verb takes
    INTERRUPTED = 130  # by a person or a signal; what was left over is told
