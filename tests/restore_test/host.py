"""A source as its own backup sees it: the canary is at its real path, in a mount namespace that only restic sees."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ops.__main__ import app
from ops.restore_test import canary
from tests.recover.bed import Bed, Vault, make_bed, make_master

_AT_ITS_PLACE = """
mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/lastcopy
[ ! -e "$0" ] || cp -a "$0" /var/lib/lastcopy/canary
exec "$@"
"""


@dataclass(frozen=True)
class Host:
    """A source with its test bed. ``canary``: the folder that a backup sees as /var/lib/lastcopy/canary."""

    bed: Bed
    canary: Path

    def back_up(self, *, tree: bool = True) -> None:
        """Back up as the source would, whatever its files are now; restic's exit status 3 (a path is missing) is a snapshot too."""
        with self.bed.restic(key_hint=self.bed.access.record.key_id) as live:
            paths = [str(self.bed.source_tree)] if tree else []
            words = live.words("backup", "--quiet", *paths, canary.FOLDER)
            done = subprocess.run(
                ["unshare", "--mount", "sh", "-c", _AT_ITS_PLACE, str(self.canary), *words],
                env=live.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode in (0, 3), done.stderr

    @property
    def record(self) -> Path:
        return self.bed.folder / "state" / "record.jsonl"

    def recorded(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.record.read_text().splitlines()]

    @property
    def scratch(self) -> Path:
        place = self.bed.folder / "scratch"
        place.mkdir(exist_ok=True)
        return place

    @cached_property
    def kit(self) -> list[str]:
        """The options that name its recovery kit, which a test may replace."""
        return self.bed.kit_words()

    def words(self, *more: str) -> list[str]:
        """The words of a restore test of this source from its kit; all data is read unless ``more`` says otherwise."""
        return [
            "run", *self.kit, "--record", str(self.record),
            "--scratch", str(self.scratch), "--read-data-subset", "100%", *more,
        ]  # fmt: skip

    def restore_test(self, *more: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["restore-test", *self.words(*more)])
        assert not list(self.scratch.iterdir()), "the scratch folder is empty after every restore test"
        return done.exit_code, done.output


def plant(folder: Path, repository_id: str) -> None:
    for name, content in canary.expected(repository_id).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def make_master_host(vault: Vault, folder: Path) -> Host:
    bed = make_master(vault, folder)
    with bed.restic() as live:
        config = json.loads(live.ask("cat", "config").out)
    record = bed.access.record.model_copy(update={"repository_id": config["id"]})
    made = Host(replace(bed, access=replace(bed.access, record=record)), folder / "canary")
    plant(made.canary, config["id"])
    made.back_up()
    return made


def make_host(master: Host, source: str, folder: Path) -> Host:
    bed = make_bed(master.bed, source, folder)
    shutil.copytree(master.canary, folder / "canary")
    return Host(bed, folder / "canary")
