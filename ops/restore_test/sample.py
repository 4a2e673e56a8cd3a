"""Sample: chooses which files of a snapshot a test restores. The same seed and snapshot give the same sample. Pure."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping
from typing import Any

from ops.restore_test import canary

MOST_FILES = 200  # each is an argument of restic, which compares every path with all of them


class Sample:
    """Takes every node of a snapshot, keeps a bounded random choice of its regular files, and counts all of them."""

    def __init__(self, seed: int, most_bytes: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a sample, no secret
        self._most_bytes = most_bytes
        self._kept: list[tuple[float, str, int]] = []  # a heap with the largest draw on top
        self.files = self.bytes = 0  # of all regular files except the canary

    def offer(self, node: Mapping[str, Any]) -> None:
        """Consider one node from the output of `restic ls --json`."""
        path, size = node.get("path"), node.get("size", 0)
        if node.get("type") != "file" or not isinstance(path, str) or not isinstance(size, int):
            return
        if path.startswith(f"{canary.FOLDER}/"):
            return
        self.files, self.bytes = self.files + 1, self.bytes + size
        draw = self._random.random()
        if size > self._most_bytes or not _can_be_named(path):
            return
        heapq.heappush(self._kept, (-draw, path, size))
        if len(self._kept) > MOST_FILES:
            heapq.heappop(self._kept)

    def chosen(self) -> dict[str, int]:
        """Path and size of the sampled files: in the order of their draw, as long as they fit into the sample."""
        found: dict[str, int] = {}
        left = self._most_bytes
        for _, path, size in sorted(self._kept, reverse=True):
            if size <= left:
                found[path] = size
                left -= size
        return found


def _can_be_named(path: str) -> bool:
    """Whether a pattern can select the file. Bytes that are not UTF-8 arrive as U+FFFD, so no pattern would match."""
    return (
        path.startswith("/")
        and "\ufffd" not in path
        and "\0" not in path
        and not {".", ".."} & set(path.split("/"))
    )
