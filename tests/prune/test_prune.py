"""S8 on a real storage: whatever root on a source forges, the trusted prune drops no good snapshot and deletes no version."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ops.prune import acceptance, prune, suspicion
from ops.recover.recovery import Recovery
from tests.prune import forger
from tests.prune.runs import by_arrival, live, plan, refused, restores, run
from tests.recover.bed import BUCKET, Bed, now


def test_a_prune_drops_what_no_rule_keeps_and_recovery_recognises_it_as_a_prune(
    grown: Bed, tmp_path: Path
) -> None:
    first, *others = by_arrival(grown)
    before = grown.versions()
    packs = len(forger.packs(grown))
    code, said = run(grown, action="plan")
    assert code == 0, said
    assert "1 drop" in said
    assert live(grown) == {first, *others}

    code, said = run(grown)
    assert code == 0, said
    assert "1 snapshots dropped" in said
    assert live(grown) == set(others)
    assert len(forger.packs(grown)) <= packs
    assert grown.versions() >= before, "a version was deleted"
    assert restores(grown, others[-1], tmp_path / "back") == grown.tree
    with grown.recovery() as found:
        assert found.since is not None
        assert "pruned" in found.since[1]
        assert found.proposal.sign is None
        assert found.open_moment(None, even_if_damaged=False).whole

    code, said = run(grown)  # run again: nothing to do
    assert code == 0, said
    assert "nothing to drop" in said
    grown.back_up()
    with (
        grown.recovery() as found
    ):  # dropped snapshots can be restored from an earlier moment, as long as the lock holds
        good = found.open_moment(
            found.history.names[f"snapshots/{first}"][-1].at - timedelta(milliseconds=1),
            even_if_damaged=False,
        )
        assert first in {one["id"] for one in good.snapshots}


def days(number: int, *, back: bool) -> list[datetime]:
    return [now() + timedelta(days=day) * (-1 if back else 1) for day in range(3, 3 + number)]


FORGED: dict[str, tuple[Callable[[Bed], list[str]], str]] = {
    "past": (lambda bed: forger.snapshot_like(bed, days(5, back=True)), "more than 48 h before it arrived"),
    "future": (lambda bed: forger.snapshot_like(bed, days(5, back=False)), "in the future when it arrived"),
    "end of time": (lambda bed: forger.snapshot_like(bed, ["9999-12-31T23:59:59-14:00"]), "in the future"),
    "host": (lambda bed: forger.snapshot_like(bed, [now()] * 3, hostname="\x1b[2Jdb1"), "from host \\x1b[2Jdb1"),
    "unreadable": (lambda bed: forger.put_sealed(bed, "snapshots", ["no snapshot"]), "restic cannot read it"),
}  # fmt: skip


@pytest.mark.parametrize("lie", FORGED)
def test_s8_forged_snapshots_are_refused_by_name_and_once_set_aside_displace_no_good_one(
    grown: Bed, lie: str, tmp_path: Path
) -> None:
    good = by_arrival(grown)
    forge, reason = FORGED[lie]
    ids = forge(grown)
    said = refused(grown, says=reason)
    assert all(one[:8] in said for one in ids)
    assert "\x1b[2J" not in said
    if lie == "unreadable":  # restic cannot prune while it is there; recovery hides it
        refused(grown, "--set-aside", ids[0], says="check of the repository fails")
        return
    code, said = run(grown, *(word for one in ids for word in ("--set-aside", one[:10])))
    assert code == 0, said
    assert live(grown) == {*good[1:], *ids}
    assert restores(grown, good[-1], tmp_path / "back") == grown.tree


def test_s8_a_burst_of_a_thousand_is_refused_and_displaces_nothing(grown: Bed) -> None:
    good = by_arrival(grown)
    forger.snapshot_like(grown, [now()] * 1000)
    said = refused(grown, says="1003 snapshots are suspicious")
    assert "one of a burst of 1003" in said
    found = plan(grown, "--set-aside", "suspicious")
    assert not [row for row in found["snapshots"] if row["verdict"] == "drop"]
    assert {row["id"] for row in found["snapshots"]} > set(good)


def test_s8_sabotage_a_prune_that_trusts_claims_drops_good_snapshots(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = by_arrival(grown)
    forger.snapshot_like(grown, days(5, back=False))
    read = suspicion.read_snapshots

    def trusting(stored: Any, told: Any) -> Any:
        claims = {one["id"]: datetime.fromisoformat(one["time"]) for one in told}
        return read({name: claims[name] for name in stored}, told)

    monkeypatch.setattr(prune, "read_snapshots", trusting)
    code, said = run(grown)
    assert code == 0, said
    assert not live(grown) & set(good)


def test_a_genuine_snapshot_with_a_wrong_clock_is_accepted_once_and_stops_no_later_prune(
    grown: Bed, tmp_path: Path
) -> None:
    good = by_arrival(grown)
    ahead = forger.snapshot_like(grown, days(2, back=False))
    (foreign,) = forger.snapshot_like(grown, [now() + timedelta(days=9)], hostname="db9")
    refused(grown, says="3 snapshots are suspicious")

    for words, says in (
        ([], "snapshots to accept must be named"),
        (["--snapshot", foreign[:8]], f"{foreign[:8]} cannot be accepted: claims "),
        (["--snapshot", good[0][:8]], f"{good[0][:8]} cannot be accepted: "),
    ):
        code, said = run(grown, *words, action="accept")
        assert code == 1
        assert says in said
    assert plan(grown)["refused"], "nothing was recorded"

    code, said = run(grown, "--snapshot", "clock", action="accept")
    assert "2 snapshots newly accepted" in said
    assert code == 1, "the snapshot of another host is still suspicious"
    code, said = run(
        grown, "--set-aside", foreign[:8]
    )  # the last two by arrival are kept, whatever they claim
    assert code == 0, said
    assert live(grown) == {*ahead, foreign}
    assert restores(grown, ahead[-1], tmp_path / "back") == grown.tree
    grown.back_up()
    code, said = run(
        grown, "--set-aside", foreign[:8], action="plan"
    )  # in a later prune they count as before
    assert code == 0, said
    assert "1 drop" in said
    forger.snapshot_like(grown, days(1, back=False))  # S8: an acceptance covers no other snapshot
    refused(grown, "--set-aside", foreign[:8], says="1 snapshots are suspicious")


def test_s8_sabotage_an_unsigned_acceptance_does_not_count(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by somebody who can write to the bucket, but does not know the repository's password."""
    ids = forger.snapshot_like(grown, days(1, back=False))
    stranger = replace(grown.access, password=SecretStr("not-the-password"))
    key, note = acceptance.make(stranger, ids, now())
    grown.s3.put_object(Bucket=BUCKET.name, Key=key, Body=json.dumps(note).encode())
    refused(grown, says="1 snapshots are suspicious")
    monkeypatch.setattr(acceptance.hmac, "compare_digest", lambda *_: True)
    assert not plan(grown)["refused"], "the signature is what prevents it"


def test_signs_of_an_attack_stop_a_prune(grown: Bed) -> None:
    grown.hide(next(name for name in grown.names() if name.startswith("data/")))
    refused(grown, says="examine it first")


def test_a_backup_that_arrives_while_everything_is_read_stops_the_prune(
    grown: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Recovery.check

    def slow(self: Recovery, at: datetime | None, **more: Any) -> Any:
        answer = check(self, at, **more)
        grown.back_up()
        return answer

    good = live(grown)
    monkeypatch.setattr(Recovery, "check", slow)
    code, said = run(grown)
    assert code == 1, said
    assert "were added or removed while the repository was read" in said
    assert live(grown) > good


@pytest.mark.parametrize(
    "bad",
    [
        (["--keep-last", "0"], "the newest snapshot must be kept"),
        (["--keep-within", "3weeks"], "not a length of time"),
        (["--seen-until", "2999-01-01T00:00:00Z"], "in the future"),
        (["--set-aside", "nothex"], "0 snapshots have the id"),
    ],
)
def test_invalid_options_change_nothing(grown: Bed, bad: tuple[list[str], str]) -> None:
    refused(grown, *bad[0], says=bad[1])
