"""A source with 512 MB and a relay with 1 GB: a backup with the default tuning fits into the memory of such machines (S10).

Measured with cgroup limits (restic 0.19.1, rclone 1.76.0, 700 MiB of incompressible data, 8 connections, packs of 64 MiB): restic runs with 200 MiB and is
killed with 150; rclone takes 20 MiB in addition to its program. The tests use RLIMIT_DATA,
which works on every host and is stricter: it counts mapped memory, not used memory.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import toolchain
from components.settings import Limits
from tests.sabotage import weaken
from tests.scripts.relay.chain import Chain
from tests.scripts.relay.conftest import IDENTITIES
from tests.scripts.relay.test_steps import open_session

WEB1 = IDENTITIES["web1"]
MIB = 1 << 20


def restic(chain: Chain, folder: Path, data_mib: int, *verb: str) -> subprocess.CompletedProcess[str]:
    """restic on a source with this limit for its data; the tuning is the default."""
    program = toolchain.ensure("restic")["restic"].path
    words = [
        "prlimit", f"--data={data_mib * MIB}", str(program), "-o", f"rclone.program={chain.forced_line('web1')}",
        "-o", "rclone.args=serve", "-o", "rclone.connections=8", "--pack-size", "64", "-r", "rclone:",
        "--cache-dir", str(folder / "cache"), "--password-file", str(folder / "password"), *verb,
    ]  # fmt: skip
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "GOMAXPROCS": "4"}
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def tight(changing: Chain, tmp_path: Path) -> Chain:
    """The smallest memory limit of a source's session on the relay."""
    changing.apply(changing.entry("web1", identity=WEB1, generation=512, limits=Limits(memoryMiB=256)))
    (tmp_path / "password").write_text("a-password-of-this-test")
    (tmp_path / "data").write_bytes(os.urandom(320 * MIB))
    return changing


def test_a_backup_fits_into_small_machines(tight: Chain, tmp_path: Path) -> None:
    """512 MB less what Debian itself takes is about 370."""
    made = restic(tight, tmp_path, 340, "init")
    assert made.returncode == 0, made.stderr[:2000]
    backup = ("backup", "--read-concurrency", "2", str(tmp_path / "data"))
    # Sabotage: with half of it restic fails, so it is really memory that is tested.
    starved = restic(tight, tmp_path, 170, *backup)
    assert starved.returncode != 0
    assert "out of memory" in starved.stderr or "cannot allocate memory" in starved.stderr
    done = restic(tight, tmp_path, 340, *backup)
    assert done.returncode == 0, done.stderr[:2000]
    assert "snapshot" in done.stdout


SEEN = """
for p in /proc/[0-9]*; do
  if [ "$(stat -c %U $p)" = bk-web1 ] && [ "$(cat $p/comm)" = rclone ]; then grep '^Max data size' $p/limits; cat $p/oom_score_adj; fi
done
"""


@pytest.mark.parametrize(("total_mib", "given_mib"), [(980, 490), (400, 256), (8000, 1024)])
def test_a_session_gets_at_most_half_of_a_small_relays_memory(
    changing: Chain, total_mib: int, given_mib: int
) -> None:
    """S10: the default limit, 1024 MiB, is more than a relay with 1 GB has."""
    changing.sh(
        f"echo 'MemTotal:        {total_mib * 1024} kB' >/root/meminfo; chmod 711 /root; chmod 644 /root/meminfo"
    )
    shared = changing.shared()
    wrapper = weaken(shared.values["WRAPPER"], "/proc/meminfo", "/root/meminfo")
    assert wrapper != shared.values["WRAPPER"]
    changing.apply(shared.but(WRAPPER=wrapper))
    with open_session(changing, "web1"):
        seen = changing.sh(SEEN).split()
    assert seen[3:5] == [str(given_mib * MIB)] * 2
    assert seen[-1] == "500", "if memory runs out, the session is killed and sshd survives"
