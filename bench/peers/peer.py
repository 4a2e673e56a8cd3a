"""A peer, and what an attacker on its source has."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from attack_drill.http2 import Session
from attack_drill.storage_admin import StorageAdmin
from bench.contenders import RESTORED, Ours, Seed
from bench.farm import DATA, SOURCE, BenchError, Farm

HELD = "held"


@dataclass(kw_only=True)
class Peer:
    """One contender and what an attacker on its source has: an ssh command that reaches the relay, and (restic) a repository."""

    name: str
    farm: Farm
    judge: StorageAdmin
    way: Ours | Seed
    ssh: str  # shell words, without a command
    other: str  # another source's repository, below the bucket
    good: str = ""  # the id of the snapshot that existed before the attacks

    def stand(self) -> None:
        """Create an empty repository and one good backup. Ours records its key's id, as `pulumi up` does."""
        self.way.prepare()
        self.way.backup()
        self.good = json.loads(self.farm.on(SOURCE, f"{self.way.restic} snapshots --json"))[0]["id"]
        if isinstance(self.way, Ours):
            keys = json.loads(self.farm.on(SOURCE, f"{self.way.restic} key list --json"))
            (key,) = [one["id"] for one in keys if one["current"]]
            self.farm.on(SOURCE, f"sed -i 's/^key_id=.*/key_id={key}/' /etc/lastcopy/repository")

    @contextmanager
    def session(self, patience: float = 20) -> Iterator[Session]:
        words = self.farm.box.command(SOURCE, ["sh", "-c", f"exec {self.ssh}"])
        with Session(words, patience=patience) as opened:
            yield opened

    def on_source(self, script: str) -> str:
        done = subprocess.run(
            self.farm.box.command(SOURCE, ["sh", "-c", script]), capture_output=True, check=False
        )
        return (done.stdout + done.stderr).decode(errors="replace")

    def restores(self) -> str:
        """Returns HELD, or why the good snapshot could not be restored byte for byte."""
        self.farm.on(SOURCE, f"rm -rf {RESTORED} {self.way.cache}")
        sums = f"cd {DATA} && sha256sum * | sha256sum"
        try:
            self.farm.on(SOURCE, f"{self.way.restic} restore {self.good} --quiet --target {RESTORED}")
            back = self.farm.on(SOURCE, sums.replace(DATA, f"{RESTORED}{DATA}"))
        except BenchError as error:
            return f"fell: it can no longer be restored ({str(error).strip().splitlines()[-1][:80]})"
        return HELD if back == self.farm.on(SOURCE, sums) else "fell: the restored data differs"
