"""The canary: created once as the trusted place expects it, and in every snapshot; a changed canary is never repaired silently."""

from __future__ import annotations

import hashlib

import pytest

from components.host.program_texts import script_text
from components.source import step_values
from ops.restore_test import canary
from tests.sabotage import weaken
from tests.scripts.source.bed import Bed, settings

SUMS = f"cd {canary.FOLDER} && find . -type f -exec sha256sum {{}} + | sort -k 2"


def wanted(repository_id: str) -> str:
    files = canary.expected(repository_id).items()
    rows = sorted((f"./{name}", hashlib.sha256(content).hexdigest()) for name, content in files)
    return "".join(f"{digest}  {name}\n" for name, digest in rows)


def id_of(bed: Bed) -> str:
    return bed.machine.ok("sed -n s/^id=//p /etc/lastcopy/repository").strip()


def test_it_is_what_the_trusted_place_expects_and_is_created_once(bed: Bed) -> None:
    assert bed.machine.ok(SUMS) == wanted(id_of(bed))
    assert bed.machine.ok(SUMS) != wanted("0" * 64), "another repository has other content"
    assert 150_000 < sum(map(len, canary.expected("0" * 64).values())) < 250_000
    assert bed.repository().changed == []


def test_a_deleted_canary_is_restored_and_check_reports_it_before(bed: Bed) -> None:
    bed.machine.ok(f"rm -r {canary.FOLDER}/archive {canary.FOLDER}/photo.jpg")
    missing = [f"file {canary.FOLDER}/{name}" for name in ("photo.jpg", "archive/database.sql")]
    checked = bed.repository("check")
    assert (checked.code, checked.drift) == (3, [f"folder {canary.FOLDER}/archive", *missing])
    assert bed.repository().changed == checked.drift
    assert bed.machine.ok(SUMS) == wanted(id_of(bed))


@pytest.mark.parametrize("change", ["echo x >>letter.txt", "mv photo.jpg /x; ln -s /x photo.jpg"])
def test_a_changed_canary_is_reported_and_not_touched(bed: Bed, change: str) -> None:
    bed.machine.ok(f"cd {canary.FOLDER} && {change}")
    before = bed.machine.ok(SUMS)
    step = bed.repository()
    assert step.code == 1
    assert "somebody encrypts this host's files" in step.err
    assert bed.machine.ok(SUMS) == before
    bed.machine.ok(f"rm -r {canary.FOLDER}")  # as the error says
    assert bed.repository().code == 0
    assert bed.machine.ok(SUMS) == wanted(id_of(bed))


def test_sabotage_a_step_that_silently_repairs_a_changed_canary_is_caught(bed: Bed) -> None:
    bed.machine.ok(f"echo x >>{canary.FOLDER}/letter.txt")
    before = bed.machine.ok(SUMS)
    text = script_text("repository", {**step_values.repository(bed.source), "PASSWORD": bed.password})
    done = bed.machine.run("sh -s -- apply", stdin=weaken(text, "    refuse_changed_canaries\n"))
    assert done.code == 0
    assert bed.machine.ok(SUMS) != before, "so the test above depends on the refusal"


def test_a_new_repository_gets_its_own_canary(bed: Bed) -> None:
    first = id_of(bed)
    bed.source, bed.password = settings(generation=2), "only-for-the-second-one"
    bed.relay.generation(2)
    assert bed.repository().code == 0
    assert id_of(bed) != first
    assert bed.machine.ok(SUMS) == wanted(id_of(bed))


@pytest.mark.parametrize("exclude", ["*", "/var", "*.jpg", canary.FOLDER])
def test_no_exclude_leaves_it_out_of_a_snapshot(bed: Bed, exclude: str) -> None:
    bed.source = settings(exclude=[exclude])
    assert bed.schedule().code == 0
    assert bed.back_up().status["result"] == ("unexpected" if exclude == "*" else "success")
    listed = bed.restic("ls latest").splitlines()
    assert {f"{canary.FOLDER}/{name}" for name in canary.expected("")} <= set(listed)


def test_a_backup_does_not_repair_it(bed: Bed) -> None:
    bed.machine.ok(f"echo encrypted >{canary.FOLDER}/ledger.csv")
    assert bed.back_up().status["result"] == "success"
    assert bed.restic(f"dump latest {canary.FOLDER}/ledger.csv") == "encrypted\n"
    bed.machine.ok(f"rm -r {canary.FOLDER}")
    status = bed.back_up().status
    assert (status["result"], status["exit_code"]) == ("unexpected", 72)
    assert "the canary" in status["message"]
