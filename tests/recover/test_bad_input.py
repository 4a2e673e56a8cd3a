"""Invalid options, wrong keys, full disks, interruptions, hostile names: a clear error, nothing lost, nothing overwritten without notice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from ops.errors import LastcopyError
from ops.history.versions import iso
from ops.kit.sealed import unseal
from ops.recover.restore import _OVERWRITE, choose_snapshot, restore
from ops.storage.access import StorageKey
from tests.recover.bed import PASSPHRASE, PASSWORD, Bed, delete_all, digest_of, now, whole_attack
from tests.recover.test_recover import kit_words, run
from tests.waiting import wait_until
from toolchain.checkout import ROOT


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB; needs root, as the local stack does."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_the_kit_alone_restores_without_pulumi_and_its_state(bed: Bed, tmp_path: Path) -> None:
    """A checkout of tracked files, a clean environment, no engine available, and the kit."""
    delete_all(bed)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "components", "ops", "toolchain"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    clean = tmp_path / "clean"
    for name in filter(None, listed.decode().split("\0")):
        (clean / name).parent.mkdir(parents=True, exist_ok=True)
        (clean / name).write_bytes((ROOT / name).read_bytes())
    kit, phrase = bed.kit(bed.vault.key)
    target = tmp_path / "back"
    cache = os.environ.get("LASTCOPY_CACHE") or str(bed.tools.restic.parents[3])
    guard = (
        "import runpy, sys; sys.modules['pulumi'] = sys.modules['sandbox'] = None; sys.argv[0] = 'ops'; "
        "runpy.run_module('ops', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", guard, "recover", "restore", "--kit", str(kit), "--passphrase-file", "-",
         "--source", bed.access.record.name, "--target", str(target)],
        cwd=clean, input=PASSPHRASE + "\n", capture_output=True, text=True, check=False,
        env={"PATH": f"{bed.tools.restic.parent}:{bed.tools.rclone.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "LASTCOPY_CACHE": cache},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert bed.came_back(target) == bed.tree
    assert PASSWORD not in done.stdout + done.stderr
    assert phrase.exists()


def test_the_kits_commands_restore_by_hand(bed: Bed, tmp_path: Path) -> None:
    """As a person types them from the printed page: only restic and rclone's own view of the past."""
    kit = unseal(bed.kit()[0], passphrase=PASSPHRASE, identity_file=None)
    moment = now()
    whole_attack(bed)
    access, record = bed.access, kit.sources[0]
    typed = "\n".join(kit.commands)
    for blank, value in {
        "_KEY_ID=…": f"_KEY_ID={access.key.access_key_id}",
        "_ACCESS_KEY=…": f"_ACCESS_KEY={access.key.secret_access_key.get_secret_value()}",
        "NAME/g1": f"{record.name}/g1",
        "HINT=KEY": f"HINT={record.key_id}",
        "-at TIME": f"-at {iso(moment)}",
        "restore ID": "restore latest",
        "/restore": str(tmp_path / "back"),
    }.items():
        assert typed.count(blank) == 1, blank
        typed = typed.replace(blank, value)
    (tmp_path / "ca.pem").write_text(kit.where.ca_certificate or "")
    (tmp_path / "password").write_text(record.password.get_secret_value())
    done = subprocess.run(
        ["bash", "-eu"], input=typed, cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": f"{bed.tools.restic.parent}:{bed.tools.rclone.parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert bed.came_back(tmp_path / "back") == bed.tree


def test_no_secret_is_in_an_argument_or_a_variable(bed: Bed) -> None:
    secrets = [PASSWORD, bed.vault.key.secret_access_key.get_secret_value()]
    with bed.recovery() as found:
        seen = ""
        for repository in (found.open(None), found.open(now())):
            named = " ".join(f"{name}={value}" for name, value in repository.environment().items())
            seen += " ".join(repository.words("snapshots")) + named
        folder = found.folder
        assert all(path.stat().st_mode & 0o077 == 0 for path in [folder, *folder.iterdir()])
        files = [path for path in folder.iterdir() if path.is_file()]
        assert any(secrets[1] in path.read_text() for path in files), (
            "otherwise the search could find nothing"
        )
    assert not any(secret in seen for secret in secrets)
    assert secrets[1] not in repr(bed.access)
    assert not folder.exists()


def test_a_target_with_files_in_it_is_refused_kept_or_updated(bed: Bed, tmp_path: Path) -> None:
    target = tmp_path / "target"
    inside = target / str(bed.source_tree).lstrip("/")
    inside.mkdir(parents=True)
    mine = inside / "1-3.bin"
    mine.write_text("mine")
    code, said = run("restore", *kit_words(bed), "--target", str(target))
    assert code == 1
    assert "is not empty; nothing was restored" in said
    assert [*inside.iterdir()] == [mine]
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        restore(good, choose_snapshot(good, None), target, existing="keep")
        assert mine.read_text() == "mine"
        restore(good, choose_snapshot(good, None), target, existing="update")
    assert digest_of(inside) == bed.tree


def test_one_path_is_restored_and_a_missing_path_is_an_error(bed: Bed, tmp_path: Path) -> None:
    tree = bed.source_tree
    odd = f"{tree}/odd names/new\nline \x1b[31m*?[a]"
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        done = restore(good, choose_snapshot(good, None), tmp_path / "one", paths=[odd])
        assert done.files >= 1
        files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
        assert [path.read_text() for path in files] == ["2"]
        with pytest.raises(LastcopyError, match="contains nothing at"):
            restore(good, choose_snapshot(good, None), tmp_path / "none", paths=["/no/such"])
        for bad in ("relative", "/a/../b", "/nul\0"):
            with pytest.raises(LastcopyError, match="is not a path in a snapshot"):
                restore(good, choose_snapshot(good, None), tmp_path / "bad", paths=[bad])
        with pytest.raises(LastcopyError, match="0 snapshots have the id"):
            choose_snapshot(good, "../../etc")


def test_a_full_disk_is_reported_and_the_restore_goes_on_once_there_is_space(
    bed: Bed, small_disk: Path
) -> None:
    target = small_disk / "target"
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        with pytest.raises(LastcopyError, match="the disk of the target is full") as caught:
            restore(good, choose_snapshot(good, None), target)
        assert "--existing update" in str(caught.value)
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        restore(good, choose_snapshot(good, None), target, existing="update")
    assert bed.came_back(target) == bed.tree


def encrypted_in_place(target: Path) -> int:
    """Give every file other content of the same length and its old time, as an attacker who wants to stay unnoticed. Returns the number of files."""
    count = 0
    for path in (one for one in target.rglob("*") if one.is_file() and not one.is_symlink()):
        before = path.stat()
        path.write_bytes(bytes(byte ^ 0x5A for byte in path.read_bytes()))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        count += before.st_size > 0
    return count


@pytest.mark.parametrize("way", ["always", "if-changed"])
def test_an_update_repairs_files_with_changed_content_but_the_same_size_and_time(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    target = tmp_path / "target"
    monkeypatch.setitem(_OVERWRITE, "update", way) if way != _OVERWRITE["update"] else None
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        restore(good, choose_snapshot(good, None), target)
        assert encrypted_in_place(target) > 10
        restore(good, choose_snapshot(good, None), target, existing="update")
    assert (bed.came_back(target) == bed.tree) is (way == "always")


def damaged_hard_link(bed: Bed, folder: Path) -> tuple[Path, bytes]:
    """A backup of a file with two names, a part of which then changes on the disk; returns the file and its correct digest."""
    big, content = folder / "big", os.urandom(12_000_000)  # no chunk of restic is above 8 MiB
    folder.mkdir()
    big.write_bytes(content)
    os.link(big, folder / "same")
    with bed.restic(key_hint=bed.access.record.key_id) as live:
        assert live.ask("backup", str(folder)).ok
    with big.open("r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"encrypted")
    return big, content


def test_an_update_repairs_a_file_with_hard_links(bed: Bed, tmp_path: Path) -> None:
    big, content = damaged_hard_link(bed, tmp_path / "tree")
    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        restore(good, choose_snapshot(good, None), Path("/"), paths=[str(big.parent)], existing="update")
    assert big.read_bytes() == content
    assert big.samefile(big.parent / "same")


def test_sabotage_restic_alone_damages_it_silently(bed: Bed, tmp_path: Path) -> None:
    """The reason why an update reads again. If this fails with a newer restic, the second pass can be removed."""
    big, content = damaged_hard_link(bed, tmp_path / "tree")
    with bed.restic(key_hint=bed.access.record.key_id) as live:
        words = ("restore", "latest", "--target", "/", "--include", str(big.parent))
        assert live.ask(*words, "--overwrite", "always").ok
    assert big.read_bytes() != content


def test_an_interrupted_restore_ends_its_programs_and_can_be_continued(bed: Bed, tmp_path: Path) -> None:
    target = tmp_path / "target"

    def cut(_: object) -> None:
        raise KeyboardInterrupt

    with bed.recovery() as found:
        good = found.open_moment(None, even_if_damaged=False)
        with pytest.raises(KeyboardInterrupt):
            restore(good, choose_snapshot(good, None), target, report=cut)
        mine = str(found.folder).encode()
        wait_until(
            lambda: not any(mine in _command(process) for process in Path("/proc").glob("[0-9]*")), 20, pause=0.05,
        )  # fmt: skip
        restore(good, choose_snapshot(good, None), target, existing="update")
    assert bed.came_back(target) == bed.tree


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_a_terminated_restore_leaves_no_secret_behind(
    bed: Bed, tmp_path: Path, number: signal.Signals
) -> None:
    """As if the operator's connection was lost, or memory ran out."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    kit, phrase = bed.kit(bed.vault.key)
    running = subprocess.Popen(
        [sys.executable, "-m", "ops", "recover", "restore", "--kit", str(kit), "--passphrase-file", str(phrase),
         "--source", bed.access.record.name, "--target", str(tmp_path / "target")],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip
    try:

        def at_work() -> list[Path]:
            assert running.poll() is None
            return list(scratch.glob("lastcopy-tmp-recover-*/cache-*"))

        wait_until(at_work, 60, pause=0.02)
        assert [file.stat().st_mode & 0o077 for file in scratch.glob("*/password")] == [0]
        running.send_signal(number)
        assert running.wait(60) == (130 if number == signal.SIGTERM else -signal.SIGKILL)
    finally:
        running.kill()
        running.wait(10)
    if number == signal.SIGTERM:
        assert list(scratch.iterdir()) == []
    wait_until(lambda: list(scratch.iterdir()) == [], 30, "the guard did not remove it")


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_wrong_times_keys_and_passwords_are_reported(bed: Bed, tmp_path: Path) -> None:
    words = kit_words(bed)
    target = ["--target", str(tmp_path / "x")]
    for at, expected in (
        ("yesterday", "is not a time"),
        ((now() + timedelta(hours=1)).isoformat(), "is in the future"),
        ("2001-01-01T00:00:00Z", "there was no repository at"),
    ):
        code, said = run("restore", *words, *target, "--at", at)
        assert code == 1
        assert expected in said
    code, said = run("look", *words[:-1], "nobody")
    assert (code, "there is no source 'nobody'" in said) == (1, True)
    code, said = run("look", "--source", "web1")
    assert (code, "--kit" in said) == (1, True)

    wrong = replace(bed.access, password=SecretStr("not the password at all"))
    with bed.recovery(wrong) as found, pytest.raises(LastcopyError) as caught:
        found.open_moment(None, even_if_damaged=False)
    assert "the password does not belong to this repository" in str(caught.value)
    assert "not the password at all" not in str(caught.value)

    for key, expected in (
        ({"accessKeyId": "nobody1", "secretAccessKey": "0123456789"}, "unknown to this storage"),
        (
            {"accessKeyId": bed.vault.key.access_key_id, "secretAccessKey": "wrong-secret-1"},
            "the secret does not match",
        ),
    ):
        access = replace(bed.access, key=StorageKey.read(key, "test"))
        with pytest.raises(LastcopyError, match=expected) as caught, bed.recovery(access):
            pass
        assert "wrong-secret-1" not in str(caught.value)
    for change, expected in (
        ({"bucket": "no-such-bucket"}, "NoSuchBucket"),
        ({"ca_certificate": None}, "certificate is not trusted"),
        ({"endpoint": "https://127.0.0.1:1"}, "check that this machine can reach the storage"),
    ):
        access = replace(bed.access, where=bed.access.where.model_copy(update=change))
        with pytest.raises(LastcopyError, match=expected), bed.recovery(access):
            pass
    assert not (tmp_path / "x").exists()
