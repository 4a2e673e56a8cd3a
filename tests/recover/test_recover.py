"""R3 and S9: after everything that the storage's root key can do, the data is restored byte for byte and the live repository works again."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from ops.errors import LastcopyError
from ops.history.timeline import Kind
from ops.history.versions import TICK, area
from ops.recover import rebuild as rebuilding
from ops.recover.plan import RebuildPlan, Step, StepKind
from ops.recover.rebuild import carry_out, plan_rebuild, rebuild
from ops.recover.recovery import Recovery, open_recovery
from ops.recover.restore import choose_snapshot, restore
from ops.restic.repository import CHECK
from ops.restic.view import serve_view
from tests.recover.bed import Bed, bogus_keys, delete_all, garbage, overwrite_all, whole_attack


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["recover", *words])
    return done.exit_code, done.output


def kit_words(bed: Bed) -> list[str]:
    return [*bed.kit_words(), "--source", bed.access.record.name]


def restored(bed: Bed, found: Recovery, target: Path, snapshot: str | None = None) -> str:
    """Restore at the proposed moment; returns the digest."""
    good = found.open_moment(None, even_if_damaged=False)
    restore(good, choose_snapshot(good, snapshot), target)
    return bed.came_back(target)


def test_r3_s9_after_the_whole_attack_restore_returns_every_byte_and_rebuild_repairs_the_repository(
    bed: Bed, tmp_path: Path
) -> None:
    there = bed.versions()
    whole_attack(bed)
    words = kit_words(bed)

    code, said = run("look", *words)
    assert code == 0, said
    assert "just before" in said
    assert "\x1b[2J" not in said
    assert "\x1b]0" not in said

    code, said = run("restore", *words, "--target", str(tmp_path / "back"), "--verify")
    assert code == 0, said
    assert "recovery time" in said
    assert bed.came_back(tmp_path / "back") == bed.tree

    before = bed.versions()
    code, said = run("rebuild", *words)
    assert code == 0, said
    assert "nothing was changed" in said
    assert bed.versions() == before
    code, said = run("rebuild", *words, "--really", "--read-data")
    assert code == 0, said
    assert "no version was deleted" in said
    assert bed.versions() >= before >= there

    with bed.restic(key_hint=bed.access.record.key_id) as live:
        assert live.ask("check", "--read-data").ok
        snapshots = sorted(live.snapshots(), key=lambda one: str(one["time"]))
        assert len(snapshots) == 2
        assert live.ask("restore", snapshots[0]["id"], "--target", str(tmp_path / "live")).ok
    assert bed.came_back(tmp_path / "live") == bed.first_tree
    bed.back_up()  # and backups work again

    # The rebuild's note: its own delete markers are no attack, and the next attack is found from there on.
    with bed.recovery() as found:
        assert found.since is not None
        assert found.proposal.sign is None
    delete_all(bed)
    with bed.recovery() as found:
        assert restored(bed, found, tmp_path / "again") == bed.tree


def test_a_sparse_file_is_restored_sparse_and_verified(bed: Bed, tmp_path: Path) -> None:
    file = tmp_path / "image" / "disk.raw"
    file.parent.mkdir()
    with file.open("wb") as disk:
        disk.truncate(64 << 20)
        disk.seek(40 << 20)
        disk.write(b"data")
    with bed.restic(key_hint=bed.access.record.key_id) as live:
        assert live.ask("backup", "--quiet", str(file.parent)).ok
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        restore(good, choose_snapshot(good, None), tmp_path / "back", verify=True)
    back = tmp_path / "back" / str(file.resolve()).lstrip("/")
    assert back.read_bytes() == file.read_bytes()
    assert back.stat().st_blocks * 512 < 4 << 20


def test_sabotage_without_the_view_of_the_past_the_restore_fails(bed: Bed, tmp_path: Path) -> None:
    whole_attack(bed)
    with bed.restic(key_hint=bed.access.record.key_id) as live:
        assert not live.ask("restore", "latest", "--target", str(tmp_path / "x")).ok
        assert not live.ask("check").ok


def test_s9_bogus_keys_do_not_matter_with_the_recorded_key_id_nor_with_the_oldest_key(bed: Bed) -> None:
    bogus_keys(bed)
    with bed.recovery() as found:
        after = found.history.last
        assert after is not None
        assert found.check(after).ok
    unknown = replace(bed.access, record=bed.access.record.model_copy(update={"key_id": None}))
    with bed.recovery(unknown) as found:
        assert found.check(after).ok


def test_listing_snapshots_does_not_disturb_the_checks_cache(bed: Bed) -> None:
    """Both start at once. If one has created the cache's version file but not yet written it, the other gives up (restic 0.19.1)."""
    with bed.recovery(ahead=False) as found:
        view = found.open(found.proposal.at)
        assert view.ask(*CHECK).ok
        words = view.words()
        (version,) = Path(words[words.index("--cache-dir") + 1]).glob("*/version")
        version.write_text("")  # its state for a moment
        assert not view.ask("snapshots", "--json").ok, "otherwise the test could not see it"
        assert len(view.snapshots()) == 2


def test_an_object_that_the_storage_does_not_return_is_reported_once_for_each_reason(
    bed: Bed, tmp_path: Path
) -> None:
    """restic would silently retry for a quarter of an hour."""
    said: list[str] = []
    with bed.recovery() as found:
        assert found.proposal.at is not None
        view = {
            name: replace(entry, id=str(uuid4()))
            for name, entry in found.history.view(found.proposal.at).items()
        }
        with serve_view(found.storage, view, tmp_path / "view", said.append):
            for name in [
                "config",
                *(f"{area(name)}/{name.rsplit('/', 1)[-1]}" for name in view if "/" in name),
            ]:
                with socket.socket(socket.AF_UNIX) as asks:
                    asks.settimeout(30)
                    asks.connect(str(tmp_path / "view"))
                    asks.sendall(f"GET /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                    answer = asks.makefile("rb").read()
                    assert answer.startswith(b"HTTP/1.1 200"), answer
                    assert answer.endswith(b"\r\n\r\n"), "no content"
    assert len(said) == 1
    assert said[0].endswith("cannot be read: NoSuchVersion; restic will try again")


def test_a_long_path_of_the_temporary_folder_is_accepted(bed: Bed, tmp_path: Path) -> None:
    """The kernel limits the length of a socket's path; the folder for it is removed afterwards as well."""
    parent = tmp_path / ("long" * 30)
    parent.mkdir()
    with open_recovery(bed.access, bed.tools, lambda _: None, parent=parent) as found:
        assert found.check(found.proposal.at).ok
        assert found.proposal.at is not None
        place = found.views.socket(found.proposal.at, found.history).parent
        assert place.is_dir()
        assert not place.is_relative_to(parent)
    assert not place.exists()
    assert not list(parent.iterdir())


def test_sabotage_without_the_key_hint_bogus_keys_lock_out(bed: Bed) -> None:
    bogus_keys(bed)
    with bed.recovery() as found:
        open_ = replace(found.open(found.history.last), key_hint=None)
        answer = open_.ask("cat", "config")
        assert not answer.ok


def test_garbage_with_inconspicuous_names_is_found_by_the_check_and_an_earlier_moment_is_used(
    bed: Bed, tmp_path: Path
) -> None:
    garbage(bed)  # its names are correct: only restic, with the password, can tell
    bed.put("snapshots/" + "ab" * 32, b"one more, so that the newest is bogus")
    delete_all(bed)
    with bed.recovery() as found:
        assert not found.check(found.proposal.at).ok
        good = found.open_moment(None, even_if_damaged=False)
        assert good.whole
        assert len(good.snapshots) == 2
        assert restored(bed, found, tmp_path / "back") == bed.tree


def test_the_newest_snapshot_is_the_one_that_arrived_last_whatever_its_date(bed: Bed, tmp_path: Path) -> None:
    with bed.restic(key_hint=bed.access.record.key_id) as live:
        (bed.folder / "other").mkdir()
        forged = live.ask(
            "backup", "--time", "2001-01-01 00:00:00", "--host", "\x1b[2Jdb1", str(bed.folder / "other")
        )
    assert forged.ok, forged.words
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        chosen = choose_snapshot(good, None)
        assert chosen["time"].startswith("2001-01-01")
        assert len(good.snapshots) == 3
        before = found.history.view(found.history.last) if found.history.last else {}
        at = before[f"snapshots/{chosen['id']}"].at - TICK
        assert restored_at(bed, found, at, tmp_path / "back") == bed.tree
    code, said = run("restore", *kit_words(bed), "--target", str(tmp_path / "forged"))
    assert code == 0, said
    assert "\\x1b[2Jdb1" in said
    assert "\x1b[2J" not in said


def restored_at(bed: Bed, found: Recovery, at: object, target: Path) -> str:
    good = found.open_moment(at, even_if_damaged=False)  # type: ignore[arg-type]
    restore(good, choose_snapshot(good, None), target)
    return bed.came_back(target)


def test_a_rebuild_interrupted_anywhere_is_completed_by_the_next(bed: Bed) -> None:
    overwrite_all(bed)
    delete_all(bed)
    garbage(bed)
    there = bed.versions()
    for most in (1, 4, 9):
        with bed.recovery() as found:
            good = found.open_moment(None, even_if_damaged=False)
            done: list[Step] = []

            def cut(step: Step, done: list[Step] = done, most: int = most) -> None:
                done.append(step)
                if len(done) >= most:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                carry_out(found.storage, plan_rebuild(found, good.at), cut)
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        done_ = rebuild(found, good, plan_rebuild(found, good.at))
        assert done_.snapshots == 2
    with bed.recovery() as found:
        assert plan_rebuild(found, good.at).steps == ()
    assert bed.versions() >= there


def test_an_object_too_large_for_one_request_is_copied_in_parts(bed: Bed) -> None:
    """Only its size is faked."""
    overwrite_all(bed)
    with bed.recovery() as found:
        (good,) = (entries[0] for name, entries in found.history.names.items() if name == "config")
        found.storage.copy(replace(good, size=5 << 30))
        now = found.reload().history.live()["config"]
        assert found.storage.read(now) == found.storage.read(good)
        assert now.id != good.id


def test_hidden_objects_are_uncovered_or_copied_if_markers_may_not_be_removed(bed: Bed) -> None:
    delete_all(bed)
    before = bed.versions()
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        steps = plan_rebuild(found, good.at)
        assert {step.kind for step in steps.steps} == {StepKind.UNHIDE}
        rebuild(found, good, steps)
    assert bed.versions() == before

    delete_all(bed)
    narrow = replace(bed.access, key=narrow_key(bed))
    with bed.recovery(narrow) as found:
        good = found.open_moment(None, even_if_damaged=False)
        rebuild(found, good, plan_rebuild(found, good.at))
    assert bed.versions() > before


def narrow_key(bed: Bed) -> object:
    """An identity that can list and read versions, write and hide, but delete neither versions nor markers."""
    return key_that(bed, "narrow", "GetObject", "GetObjectVersion", "PutObject", "DeleteObject")


def key_that(bed: Bed, name: str, *does: str) -> object:
    """An identity that can list, do this to objects, and delete no version."""
    from ops.storage.access import StorageKey
    from sandbox.bucket import _admin

    bucket, user, secret = "arn:aws:s3:::backups", f"{name}key", f"{name}-secret-0123456789"
    statement = [
        {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketVersions"], "Resource": [bucket]},
        {"Effect": "Allow", "Action": [f"s3:{one}" for one in does], "Resource": [f"{bucket}/*"]},
        {"Effect": "Deny", "Action": ["s3:DeleteObjectVersion"], "Resource": [f"{bucket}/*"]},
    ]
    admin = _admin(bed.vault.folder, bed.vault.origin)
    admin.policy_add(name, policy={"Version": "2012-10-17", "Statement": statement})
    admin.user_add(user, secret)
    if name not in json.loads(admin.user_info(user)).get("policyName", ""):
        admin.attach_policy([name], user=user)
    return StorageKey.read({"accessKeyId": user, "secretAccessKey": secret}, "test")


def test_a_key_that_may_list_but_not_read_is_reported_at_once(bed: Bed) -> None:
    """restic alone would retry again and again without a message."""
    blind = key_that(bed, "blind", "PutObject")
    access = replace(bed.access, key=blind)
    began = time.monotonic()
    with bed.recovery(access) as found, pytest.raises(LastcopyError, match="refuses it") as told:
        found.open_moment(None, even_if_damaged=False)
    assert "s3:GetObjectVersion" in str(told.value)
    assert time.monotonic() - began < 60


def test_sabotage_a_rebuild_that_skips_overwritten_objects_is_caught(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite_all(bed)

    def lazy(storage: object, found: RebuildPlan, _told: object) -> None:
        weak = replace(found, steps=tuple(step for step in found.steps if step.kind is not StepKind.COPY))
        carry_out(storage, weak)  # type: ignore[arg-type]

    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        monkeypatch.setattr(rebuilding, "carry_out", lazy)
        with pytest.raises(LastcopyError, match="objects are not as they were"):
            rebuild(found, good, plan_rebuild(found, good.at))


def test_sabotage_a_note_with_another_password_does_not_count(bed: Bed) -> None:
    from pydantic import SecretStr

    from ops.storage import checkpoint

    delete_all(bed)
    with bed.recovery() as found:
        forger = replace(bed.access, password=SecretStr("what the attacker guesses"))
        found.storage.write_note(*checkpoint.make(forger, found.history, "all is well"))
    with bed.recovery() as found:
        assert found.since is None
        assert found.proposal.sign is not None
        assert found.proposal.sign.kind is Kind.DELETED
        found.storage.write_note(*checkpoint.make(bed.access, found.history, "ours"))
    with bed.recovery() as found:
        assert found.since is not None
