"""S10: what one source may send to the storage in a day, counted and cut by the relay's kernel.

Row S10 breaks when the kernel only counts: tests/drill/test_trusted_rows.py.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from attack_drill.http2 import Session, SessionEnded
from tests.scripts.relay.chain import Chain, Step
from tests.scripts.relay.conftest import IDENTITIES

MIB = 1 << 20
HOLD = "/usr/local/lib/lastcopy/hold-limits"
KEPT = "/var/lib/lastcopy/sent/web1"
TIMER = "lastcopy-limits"


@pytest.fixture(autouse=True)
def _within_one_day() -> None:
    """Counting starts again at midnight UTC: no test may run across it."""
    left = 86400 - time.time() % 86400
    if left < 120:
        time.sleep(left + 1)


def limited(chain: Chain, mib: int | None) -> Step:
    """web1's entry with a limit below the one gibibyte that settings allow, so that a test need not send so much."""
    entry = chain.entry("web1", identity=IDENTITIES["web1"])
    return entry if mib is None else entry.but(DAILY_BYTES=str(mib * MIB))


def sends(chain: Chain, mib: int, source: str = "web1") -> int:
    """How many objects of one MiB the storage accepted from the source, of those that it tried to send."""
    taken = 0
    try:
        with Session(chain.forced(source), patience=60) as session:
            for _ in range(mib):
                name = secrets.token_hex(32)
                taken += session.ask("POST", f"/data/{name}", secrets.token_bytes(MIB)).status == 200
    except (SessionEnded, BrokenPipeError):
        pass  # ended by the relay: what was accepted before counts
    return taken


def told(chain: Chain, source: str = "web1") -> tuple[int, bytes]:
    done = subprocess.run(chain.forced(source), input=b"", capture_output=True, check=False, timeout=60)
    return done.returncode, done.stderr


def used(chain: Chain) -> int:
    chain.sh(HOLD)
    return int(chain.sh(f"cat {KEPT}").split()[1])


def test_a_source_is_cut_off_at_its_limit_is_told_why_and_can_go_on_after_a_raise(changing: Chain) -> None:
    changing.apply(limited(changing, 8))
    changing.converges(limited(changing, 8))
    assert 4 <= sends(changing, 14) <= 8
    assert sends(changing, 2, "db1") == 2, "another source is not limited"
    assert used(changing) == 8 * MIB
    code, words = told(changing)
    assert code == 75
    assert b"today's limit of uploads is reached" in words
    assert "web1 has sent" in changing.sh("journalctl --sync; journalctl --no-pager -t lastcopy-web1 -n 20")
    changing.apply(limited(changing, 32))
    assert 8 * MIB <= used(changing) < 9 * MIB, "what was already sent today still counts"
    assert sends(changing, 4) == 4
    assert used(changing) > 12 * MIB


def test_the_timer_ends_the_sessions_of_a_source_over_its_limit(changing: Chain) -> None:
    changing.apply(limited(changing, 4))
    with Session(changing.forced("web1")) as session:
        assert session.ask("HEAD", f"/locks/{'ab' * 32}").status == 404
        changing.still(TIMER)  # a run of it in between would write the old count again
        changing.sh(
            f"date -u +'%F {4 * MIB}' >{KEPT}; nft delete table inet lastcopy-web1;"
            f" systemctl start {TIMER}.service; systemctl start {TIMER}.timer"
        )
        with pytest.raises((SessionEnded, BrokenPipeError)):
            session.ask("HEAD", f"/locks/{'ab' * 32}")
    assert told(changing)[0] == 75
    assert "lastcopy-limits.timer" in changing.sh("systemctl list-timers --no-pager lastcopy-limits.timer")


def test_a_flushed_ruleset_and_a_reboot_lose_no_count_and_a_new_day_begins_at_zero(
    changing: Chain,
) -> None:
    changing.apply(limited(changing, 8))
    changing.still(TIMER)  # it would load the table and judge the count before they are checked
    assert sends(changing, 3) == 3
    before = used(changing)
    assert before > 3 * MIB
    changing.sh("nft delete table inet lastcopy-web1")  # as after a reboot or a flush of every table
    check = changing.run(limited(changing, 8), "check")
    assert (check.code, check.drift) == (3, ["limit of bytes"])
    changing.sh("systemctl start lastcopy-limits")
    assert used(changing) == before
    changing.converges(limited(changing, 8))
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    changing.sh(
        f"echo '{yesterday} {8 * MIB}' >{KEPT}; : >/etc/lastcopy/relay/web1/spent; chmod 644 /etc/lastcopy/relay/web1/spent"
    )
    assert told(changing)[0] == 75
    assert used(changing) == 0
    assert told(changing)[0] == 0


def test_a_removed_limit_leaves_no_trace_and_a_broken_source_leaves_the_others_limited(
    changing: Chain,
) -> None:
    changing.apply(limited(changing, 8))
    changing.sh("echo many >/etc/lastcopy/relay/db1/daily; nft delete table inet lastcopy-web1")
    assert changing.root(HOLD).returncode == 1
    changing.sh("nft list table inet lastcopy-web1; rm /etc/lastcopy/relay/db1/daily")
    changing.apply(limited(changing, None))
    changing.converges(limited(changing, None))
    left = changing.sh("nft list tables; ls /var/lib/lastcopy/sent /etc/lastcopy/relay/web1")
    assert "lastcopy-web1" not in left
    assert "daily" not in left
    changing.apply(limited(changing, 8))
    assert changing.run(limited(changing, 8), "remove").code == 0
    assert "lastcopy-web1" not in changing.sh("nft list tables; ls /var/lib/lastcopy/sent")
