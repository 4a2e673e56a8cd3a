"""How long `lastcopy recover restore` takes after the whole attack, compared with a plain restore of the same data without an attack.

All restore the same repository from one storage on this machine's loopback interface, in turns, without a cache. A plain restore goes through
rclone, as a source's does, and also directly to S3 for reference. The whole command is timed as a person types it: for the recovery that
includes opening the kit, listing every version, finding the moment, restic's check, and the restore. The kit is sealed for an age
identity, because a passphrase costs a second or more by design, whatever is restored.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.farm import FILE_MIB, BenchError
from bench.rounds import ContenderRounds, order
from ops.kit.sealed import seal, unseal
from ops.restic.repository import CONNECTIONS
from tests.recover.bed import Bed, digest_of, make_bed, make_master, vault_in, whole_attack
from toolchain.checkout import ROOT

PLAIN = "restic restore, nobody attacked"
STRAIGHT = "the same, restic straight to S3"
OURS = "lastcopy recover restore, after the attack"
GOAL = 1.3
Way = Callable[[Path], float]  # restores below a target and returns the seconds


@contextmanager
def ground(mebibytes: int) -> Iterator[tuple[Bed, Bed]]:
    """The same repository twice in one storage: as it was, and as the attacker of the rows R and S9 left it."""
    work = Path(tempfile.mkdtemp(prefix="lastcopy-bench-", dir="/var/tmp"))  # on disk, not in memory
    try:
        (work / "vault").mkdir()
        with vault_in(work / "vault") as vault:
            sound = make_master(vault, work / "bed")
            folder = sound.source_tree / "big"
            folder.mkdir()
            for number in range(max(1, mebibytes // FILE_MIB)):
                (folder / f"{number:04}").write_bytes(os.urandom(FILE_MIB << 20))
            sound.back_up()
            sound = replace(sound, tree=digest_of(sound.source_tree))
            attacked = make_bed(sound, "attacked", work / "attacked")
            whole_attack(attacked)
            yield sound, attacked
    finally:
        shutil.rmtree(work)


def _seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    seconds = time.monotonic() - began
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
        raise BenchError(f"a restore ended with {done.returncode}, so its time is meaningless:\n{said}")
    return seconds


def _kit(bed: Bed) -> tuple[Path, Path]:
    """A kit and the age identity that opens it."""
    from pyrage import x25519

    file, phrase = bed.kit(bed.vault.key)
    made = x25519.Identity.generate()
    kit = unseal(file, passphrase=phrase.read_text().strip(), identity_file=None)
    file.write_bytes(seal(kit.text(), recipients=[str(made.to_public())], passphrase=None))
    phrase.write_text(f"{made}\n")
    return file, phrase


def ways(sound: Bed, attacked: Bed) -> dict[str, Way]:
    """The ways that are compared; the first is the base, the last is ours."""
    kit, identity = _kit(attacked)

    def plain(target: Path) -> float:
        with sound.restic(key_hint=sound.access.record.key_id) as live:
            words = live.words("restore", "latest", "--quiet", "--target", str(target))
            return _seconds(words, live.environment())

    def straight(target: Path) -> float:
        with sound.restic(key_hint=sound.access.record.key_id) as live:
            where, key = sound.access.where, sound.access.key
            keys = live.folder / "keys"
            keys.touch(0o600)
            keys.write_text(
                f"[default]\naws_access_key_id = {key.access_key_id}\n"
                f"aws_secret_access_key = {key.secret_access_key.get_secret_value()}\n"
            )
            words = [
                str(live.tools.restic), "-r", f"s3:{where.endpoint}/{where.bucket}/{sound.access.path}",
                "--cacert", str(live.folder / "ca.pem"), "--password-file", str(live.folder / "password"),
                "--cache-dir", str(live.folder / "cache"), "--no-lock", "-o", f"s3.connections={CONNECTIONS}",
                "restore", "latest", "--quiet", "--target", str(target),
            ]  # fmt: skip
            return _seconds(words, live.environment() | {"AWS_SHARED_CREDENTIALS_FILE": str(keys)})

    def ours(target: Path) -> float:
        words = ["--kit", str(kit), "--identity", str(identity), "--source", attacked.access.record.name]
        command = [sys.executable, "-m", "ops", "recover", "restore", *words, "--target", str(target)]
        return _seconds(command, os.environ)

    return {PLAIN: plain, STRAIGHT: straight, OURS: ours}


def measure(mebibytes: int, rounds: int, said: Callable[[str], None]) -> list[ContenderRounds]:
    """Run every way once per round. What was restored is compared byte by byte, outside of the measured time."""
    with ground(mebibytes) as (sound, attacked):
        all_ways = ways(sound, attacked)
        rows = {name: ContenderRounds(name) for name in all_ways}
        for number in range(rounds):
            for name in order(list(all_ways), number):
                target = attacked.folder / "back"
                rows[name].restore.append(all_ways[name](target))
                if sound.came_back(target) != sound.tree:
                    raise BenchError(f"{name}: the restored data differs from the backed-up data")
                shutil.rmtree(target)
                said(f"round {number + 1} of {rounds}: {name}: {rows[name].restore[-1]:.1f} s")
    return list(rows.values())
