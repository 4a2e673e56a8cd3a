"""The text of the files that say what a backup stores, from validated settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components.host.safe_text import require_line, require_name, require_word

# The files that a restore test compares (made by components/source/repository/repository.sh): in every snapshot, whatever the user selects or excludes.
CANARY = "/var/lib/lastcopy/canary"

# The kernel's own trees and the cache: never files that anybody could miss.
NEVER_BACKED_UP = ("/dev/*", "/proc/*", "/run/*", "/sys/*", "/var/cache/lastcopy/*")


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Limits in KiB/s between two minutes of the day; the end may be on the next day. 0: no limit."""

    begin: int
    end: int
    upload: int
    download: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What of the paths is stored, and what is expected of the result. ``upload``, ``download``: KiB/s, 0: no limit."""

    one_file_system: bool
    exclude_caches: bool
    exclude_if_present: Sequence[str]
    exclude_larger_than: str | None
    shrink_percent: int
    partial_days: int
    may_be_empty: Sequence[str]
    upload: int
    download: int
    hours: Sequence[Hours]

    def lines(self) -> Iterator[str]:
        """The lines that run-backup and backup-contents read."""
        if self.one_file_system:
            yield "one_file_system=yes"
        if self.exclude_caches:
            yield "exclude_caches=yes"
        yield from (
            f"exclude_if_present={require_line(tag, 'a tag file')}" for tag in self.exclude_if_present
        )
        if self.exclude_larger_than is not None:
            yield f"exclude_larger_than={require_word(self.exclude_larger_than, 'the size')}"
        yield f"shrink_percent={self.shrink_percent}"
        yield f"partial_days={self.partial_days}"
        yield from (f"may_be_empty={require_line(path, 'a path')}" for path in self.may_be_empty)
        yield f"rate=0 1440 {self.upload} {self.download}"
        for one in self.hours:
            yield f"rate={one.begin} {one.end} {one.upload} {one.download}"  # the last match counts


def backup_conf(
    *,
    source: str,
    read_concurrency: int,
    pre_hook: str | None,
    post_hook: str | None,
    selection: Selection,
) -> str:
    """The settings of scheduled backups, except their paths."""
    hooks = {"pre_hook": pre_hook, "post_hook": post_hook}
    lines = [f"{name}={require_word(hook, name)}\n" for name, hook in hooks.items() if hook is not None]
    lines += [f"{line}\n" for line in selection.lines()]
    return (
        "# Made by lastcopy; changes are overwritten. Read by run-backup, never run.\n"
        f"source={require_name(source, 'the source name')}\n"
        f"read_concurrency={read_concurrency}\n" + "".join(lines)
    )


def paths_file(paths: Sequence[str]) -> str:
    """One path per line, the canary last. run-backup passes them to restic NUL-separated, so no character has a special meaning."""
    every = [*paths, *([] if CANARY in paths else [CANARY])]
    return "".join(f"{require_line(path, 'a path')}\n" for path in every)


def excludes_file(patterns: Sequence[str]) -> str:
    """restic's patterns, one per line, without what its exclude *file* adds to the syntax of patterns.

    In such a file ``$NAME`` is an environment variable, ``#`` begins a comment and blanks at both ends are dropped
    (restic 0.19.1, internal/filter/exclude.go); here they are literal. No pattern can exclude the canary.
    """
    lines = [
        "# Made by lastcopy; changes are overwritten. restic patterns; $$ is a dollar sign.",
        *NEVER_BACKED_UP,
    ]
    for pattern in patterns:
        text = require_line(pattern, "an exclude pattern")
        if text[0] in "#":
            text = f"[{text[0]}]{text[1:]}"
        if text[0].isspace():
            text = f"[{text[0]}]{text[1:]}"
        if text[-1].isspace():
            text = f"{text[:-1]}[{text[-1]}]"
        lines.append(text.replace("$", "$$"))
    lines.append(f"!{CANARY}")  # the last line counts
    return "\n".join(lines) + "\n"
