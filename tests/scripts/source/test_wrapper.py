"""`restic-backup`: the command for operators, which adds the right repository."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json

import pytest

from tests.scripts.source.bed import Bed

DESTROYING = (
    "forget --keep-last 1",
    "prune",
    "tag --set x",
    "rewrite --exclude /x --forget",
    "repair index",
    "key remove 00",
    "key passwd",
)


def test_every_reading_command_works(bed: Bed) -> None:
    machine = bed.machine
    machine.ok(
        "cp -a /usr/share/zoneinfo/Europe /data/tree && mkdir '/data/odd name' && : >'/data/odd name/-x%s'"
    )
    assert bed.back_up().status["result"] == "success"
    machine.ok("echo more >/data/more")
    assert bed.back_up().status["result"] == "success"
    first, second = (snapshot["id"] for snapshot in bed.snapshots())
    bed.restic("restore latest --target /srv/restored")
    assert bed.digest("/srv/restored/data") == bed.digest("/data")
    machine.ok("rm -rf /srv/restored")
    assert "no errors were found" in bed.restic("check --read-data")
    assert "/data/more" in bed.restic(f"diff {first} {second}")
    assert bed.restic("dump latest /data/file") == "some data"
    assert json.loads(bed.restic("stats --json"))["snapshots_count"] == 2
    assert "/data/more" in bed.restic("find more")
    assert "/data/odd name/-x%s" in bed.restic("ls latest")
    bed.restic("unlock")


def test_mount_shows_the_files(bed: Bed) -> None:
    bed.back_up()
    shown = bed.machine.ok(
        "mkdir -p /srv/mnt; restic-backup mount /srv/mnt >/dev/null 2>&1 & mount=$!;"
        " for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do"
        "   [ ! -r /srv/mnt/snapshots/latest/data/file ] || break; sleep 1; done;"
        " cat /srv/mnt/snapshots/latest/data/file; umount /srv/mnt; wait $mount"
    )
    assert shown == "some data"


def test_copy_from_another_repository_works(bed: Bed) -> None:
    made = "--no-cache -r /srv/store/other --password-file /root/other-password"
    bed.machine.ok(
        "rm -rf /srv/store/other; echo other-password >/root/other-password"
        f" && restic {made} init && restic {made} backup /data --host web1"
    )
    bed.restic("copy --from-repo /srv/store/other --from-password-file /root/other-password")
    assert [snapshot["hostname"] for snapshot in bed.snapshots()] == ["web1"]
    bed.machine.ok("rm -rf /srv/store/other")


@pytest.mark.parametrize("command", DESTROYING)
def test_a_destructive_command_is_refused_at_once(bed: Bed, command: str) -> None:
    done = bed.machine.run(f"timeout 5 restic-backup {command}")
    assert done.code == 64
    assert "this host cannot remove anything there" in done.err
    assert "--try-anyway" in done.err


def test_the_wrappers_refusal_is_only_for_convenience_and_can_be_bypassed(bed: Bed) -> None:
    """So that anybody can see the relay refuse (S3); the test that it does is in tests/integration."""
    seen = '#!/bin/sh\n[ "$1" = version ] && exec /opt/restic version\nprintf "%s " "$@" >/root/seen\n'
    bed.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", seen, "755")
    bed.restic("--try-anyway forget latest")
    assert bed.machine.read("/root/seen").endswith("-r rclone: forget latest ")


def damaged_hard_link(bed: Bed) -> str:
    """Back up a file with two names, then change a part of it on the disk; returns its correct digest."""
    bed.machine.ok("head -c 12000000 /dev/urandom >/data/big && ln /data/big /data/same")
    bed.restic("backup /data")
    return bed.machine.ok(
        "sha256sum </data/big; printf encrypted | dd of=/data/big bs=1 seek=11999990 conv=notrunc 2>/dev/null"
    )


@pytest.mark.parametrize("words", ["--target /", "--target=/", "-t /", "-t/"])
def test_a_restore_over_existing_files_is_read_back(bed: Bed, words: str) -> None:
    """restic 0.19.1 damages files that have hard links; a person who restores in place must not believe its success."""
    digest = damaged_hard_link(bed)
    done = bed.machine.run(f"restic-backup restore latest {words} --include /data")
    assert done.code != 0
    assert "--verify=false" in done.err
    assert "/data/big" in done.err
    done = bed.machine.run(f"restic-backup restore {words} --include /data -- latest")
    assert "/data/big" in done.err, "after a -- the word would be taken for a snapshot"
    bed.machine.ok("rm /data/big /data/same && restic-backup restore latest --target / --include /data")
    assert bed.machine.ok("sha256sum </data/big") == digest


def test_sabotage_a_restore_that_is_not_read_back_damages_the_file_silently(bed: Bed) -> None:
    digest = damaged_hard_link(bed)
    bed.machine.ok("restic-backup restore latest --target / --include /data --verify=false")
    assert bed.machine.ok("sha256sum </data/big") != digest


def test_a_restore_keeps_holes_as_holes(bed: Bed) -> None:
    """Also if it is read back, and if the target has data in place of the holes; `--sparse=false` is respected."""
    bed.machine.ok(
        "truncate -s 40M /data/disk && printf data | dd of=/data/disk bs=1M seek=30 conv=notrunc 2>/dev/null"
    )
    bed.restic("backup /data")
    same = "cmp /data/disk /srv/holes/data/disk && du -k /srv/holes/data/disk | cut -f 1"
    for words, kib in (("--verify", range(4096)), ("--sparse=false", range(40960, 45000))):
        bed.restic(f"restore latest --target /srv/holes {words}")
        assert int(bed.machine.ok(same)) in kib, words
        bed.machine.ok("rm -r /srv/holes")
    bed.machine.ok("mkdir -p /srv/holes/data && head -c 40M /dev/urandom >/srv/holes/data/disk")
    bed.restic("restore latest --target /srv/holes")
    assert bed.machine.ok(f"{same}; rm -r /srv/holes")


def test_a_restore_to_an_empty_folder_or_a_dry_run_is_not_changed(bed: Bed) -> None:
    bed.restic("backup /data")
    for words in ("--target /new", "--target / --dry-run", "--target /data/made --verify"):
        done = bed.machine.run(f"restic-backup restore latest {words}")
        assert done.code == 0, done.err
        assert "restic-backup:" not in done.err
    bed.machine.ok("rm -rf /new")


def test_users_other_than_root_get_a_clear_error(bed: Bed) -> None:
    done = bed.machine.run("setpriv --reuid=nobody --regid=nogroup --clear-groups restic-backup snapshots")
    assert done.code == 71
    assert "sudo restic-backup snapshots" in done.err


@pytest.mark.parametrize("file", ["ssh_config", "known_hosts", "restic.conf", "password"])
def test_a_missing_file_is_named_with_its_fix(bed: Bed, file: str) -> None:
    bed.machine.ok(f"rm /etc/lastcopy/{file}")
    done = bed.machine.run("restic-backup snapshots")
    assert done.code == 71
    assert f"/etc/lastcopy/{file} is missing" in done.err
    assert "fix: " in done.err


def promise_bogus_keys_do_not_lock_out(bed: Bed) -> None:
    """The source's part of S9: restic tries at most 20 keys, and an attacker can add any number."""
    store = "/srv/store/web1-1/keys"
    name = bed.machine.ok(f"ls {store}").strip()
    real = json.loads(bed.machine.read(f"{store}/{name}"))
    # The difference is at the end, and everything before is digested once: the real name may be small, and many are tried.
    del real["hostname"]
    start = json.dumps({**real, "data": base64.b64encode(bytes(200)).decode(), "hostname": "evil"})[:-2]
    begun = hashlib.sha256(start.encode())
    bogus: dict[str, str] = {}
    for number in itertools.count():
        end = f'{number}"}}'
        whole = begun.copy()
        whole.update(end.encode())
        digest = whole.hexdigest()
        if digest < name:  # keys are tried in the order of their names
            bogus[digest] = start + end
        if len(bogus) == 25:
            break
    script = "".join(f"cat >{store}/{digest} <<'KEY'\n{text}\nKEY\n" for digest, text in bogus.items())
    bed.machine.ok("sh", stdin=script)
    bed.restic("cat config")


def test_bogus_keys_do_not_lock_out(bed: Bed) -> None:
    promise_bogus_keys_do_not_lock_out(bed)


def test_sabotage_a_wrapper_without_the_key_hint_is_caught(bed: Bed) -> None:
    bed.machine.ok("sed -i 's/^key_id=.*/key_id=/' /etc/lastcopy/repository")
    with pytest.raises(AssertionError, match="ended with 1"):
        promise_bogus_keys_do_not_lock_out(bed)
