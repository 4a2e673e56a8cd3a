"""restic's exclude patterns: finds patterns that restic refuses, without asking a host. Pure."""

from __future__ import annotations

import posixpath

LONGEST = 4096  # restic reads its exclude file in lines of at most 64 KiB


def find_malformed_part(pattern: str) -> str | None:
    """The component that is malformed, such as ``foo[``, or None if the whole pattern is valid.

    restic 0.19.1 cleans the path, splits it at slashes and gives each component to Go's ``filepath.Match``
    (internal/filter/filter.go). Match looks no further than it has to, so restic accepts some malformed patterns and
    warns about them for each file. Here a component is malformed if it breaks the grammar of ``filepath.Match`` anywhere.
    """
    text = pattern.removeprefix("!")
    cleaned = posixpath.normpath(text)
    if cleaned.startswith("//"):  # POSIX keeps two leading slashes, Go does not
        cleaned = cleaned[1:]
    return next((part for part in cleaned.split("/") if not _well_formed(part)), None)


def _well_formed(component: str) -> bool:
    return all(_chunk_well_formed(chunk) for chunk in _chunks(component))


def _chunks(component: str) -> list[str]:
    """The parts between the stars, as Go's ``scanChunk`` finds them. A star in brackets is an ordinary character."""
    chunks, begin, at, in_range = [], 0, 0, False
    while at < len(component):
        match component[at]:
            case "\\":
                at += 1
            case "[":
                in_range = True
            case "]":
                in_range = False
            case "*" if not in_range:
                chunks.append(component[begin:at])
                begin = at + 1
        at += 1
    return [*chunks, component[begin:]]


def _chunk_well_formed(chunk: str) -> bool:
    """Go's ``matchChunk`` without the matching."""
    at = 0
    while at < len(chunk):
        if chunk[at] == "[":
            end = _class_end(chunk, at + 1)
            if end is None:
                return False
            at = end
        elif chunk[at] == "\\":
            if at + 1 == len(chunk):
                return False
            at += 2
        else:
            at += 1
    return True


def _class_end(chunk: str, at: int) -> int | None:
    """The position after the closing bracket of the class whose first character is at ``at``, or None if it is malformed."""
    if chunk[at : at + 1] == "^":
        at += 1
    first = True
    while first or chunk[at] != "]":
        low = _class_character(chunk, at)
        if low is None:
            return None
        at = low
        if chunk[at] == "-":
            high = _class_character(chunk, at + 1)
            if high is None:
                return None
            at = high
        first = False
    return at + 1


def _class_character(chunk: str, at: int) -> int | None:
    """The position after one, possibly escaped, character of a class, which must not be the chunk's last (Go's ``getEsc``)."""
    if at >= len(chunk) or chunk[at] in "-]":
        return None
    if chunk[at] == "\\":
        at += 1
    return at + 1 if at + 1 < len(chunk) else None
