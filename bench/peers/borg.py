"""borg speaks another protocol: the rows that it has, with its own commands."""

from __future__ import annotations

import subprocess

from bench.contenders import Borg
from bench.farm import BORG_PORT, SOURCE
from bench.peers.peer import HELD
from bench.peers.rows import TRICKS


def of_borg(way: Borg) -> dict[str, str]:
    """Row by row, by what borg itself lists afterwards."""
    found: dict[str, str] = {}

    def borg(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*way.farm.in_network_of(SOURCE), "borg", *words],
            env=way.environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    way.prepare()
    way.backup()
    mark = way.folder / "mark"
    dial = [
        "ssh",
        "-o",
        "BatchMode=yes",
        "-p",
        str(BORG_PORT),
        "-i",
        str(way.folder / "client"),
        "-o",
        f"UserKnownHostsFile={way.folder}/known_hosts",
    ]
    for trick in TRICKS:
        subprocess.run(
            [*way.farm.in_network_of(SOURCE), "timeout", "6", *dial, f"root@{way.relay}", trick.format(mark)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    found["S1"] = "fell: a command ran on the relay" if mark.exists() else HELD
    before = borg("list", "--short", way.repository).stdout
    borg("delete", f"{way.repository}::one")
    after = borg("list", "--short", way.repository).stdout
    found["S3"] = (
        HELD
        if after == before and before
        else "fell: the archive is gone from the list; its data is kept until the relay next compacts, and must be recovered by hand"
    )
    away = way.repository.rsplit("/", 1)[0] + "-of-another"
    found["S6"] = (
        HELD if borg("init", "--encryption=none", away).returncode != 0 else "fell: another path was written"
    )
    return found
