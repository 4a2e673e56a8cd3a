"""Lists the content of a tree of files with a shell: two trees are the same if their lists are."""

from __future__ import annotations


def listing_of(folder: str) -> str:
    """A command that prints kind, mode, owner, size, time, link and name of everything in the folder, and the content of its files."""
    contents = "find . -type f -exec sha256sum {} + | sort"
    return f"cd {folder} && find . -printf '%y %m %U:%G %s %T@ %l %p\\n' | sort && {contents}"
