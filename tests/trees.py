"""What a tree of files is, told by a shell: two trees are the same when both lists are."""

from __future__ import annotations


def listing_of(folder: str) -> str:
    """A command that lists kind, mode, owner, size, time, link and name of everything in the folder, and the content of its files."""
    contents = "find . -type f -exec sha256sum {} + | sort"
    return f"cd {folder} && find . -printf '%y %m %U:%G %s %T@ %l %p\\n' | sort && {contents}"
