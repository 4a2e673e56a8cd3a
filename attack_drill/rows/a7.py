"""A7: the network is cut, a process killed, a host rebooted or a disk full in the middle of a backup, a restore or a step of `up`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.interruptions import (
    BIG,
    SLOW,
    EntryStep,
    interrupt_restic,
    killed_applying,
    killed_removing,
    on_a_full_disk,
    wait_for_the_middle,
)
from attack_drill.options import Level
from attack_drill.reboot import reboot
from attack_drill.relay_steps import LIVE, log_in_as_operator
from attack_drill.scratch_folder import scratch_folder
from attack_drill.scratch_repository import ScratchRepository
from attack_drill.storage_admin import StoredVersion, find_losses

CUTS = {
    "ssh": "the connection is cut",
    "still": "the connection stalls and is then lost",
    "restic": "restic is killed",
    "stop": "restic is told to stop",
}


def play(drill: Drill) -> Iterator[RowFinding]:
    if not drill.may(Level.SCRATCH):
        yield not_played(
            "lost connections, killed processes and full disks in the middle of work", Level.SCRATCH.words
        )
        return
    scratch, storage = drill.scratch_repository(fresh=True), drill.require_storage()
    before = storage.versions(scratch.path)
    yield control("a backup to the scratch repository works", scratch.restic("backup", "--quiet", "tree").code == 0, scratch.name)  # fmt: skip
    yield from _backups(drill, scratch)
    yield from _restores(scratch)
    yield from _full_disk_on_source(scratch)
    yield from _steps(drill, scratch)
    if drill.may(Level.TRIAL):
        yield from _reboot(drill, scratch)
    else:
        yield not_played("the relay rebooted in the middle of a backup", Level.TRIAL.words)
    yield from _nothing_lost(drill, scratch, before)


def _goes_on(scratch: ScratchRepository, after: str) -> RowFinding:
    """The next backup converges: it succeeds, and its own snapshot restores byte for byte."""
    done = scratch.restic("backup", "--json", "tree", "big")
    found = re.search(r'"snapshot_id":"([0-9a-f]{64})"', done.out)
    if done.code != 0 or found is None:
        return judged(
            f"{after}: the next backup works",
            False,
            f"exit code {done.code}: {done.said.strip()[-200:]}",
        )
    same, seen = scratch.try_restore(found[1])
    return judged(f"{after}: the next backup works and restores", same, seen)


def _backups(drill: Drill, scratch: ScratchRepository) -> Iterator[RowFinding]:
    for how, words in CUTS.items():
        scratch.host.shell(f"cd {scratch.folder} && {BIG}")
        interrupt_restic(scratch, how, "backup", *SLOW, "big")
        yield _goes_on(scratch, f"{words} in the middle of a backup")
    scratch.host.shell(f"cd {scratch.folder} && {BIG}")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(interrupt_restic, scratch, "wait", "backup", *SLOW, "big")
        wait_for_the_middle(scratch)
        drill.relay.run("pkill", "-KILL", "-u", scratch.account, check=False)
        scratch.host.run("touch", f"{scratch.folder}/cut.done")
        running.result()
    yield _goes_on(scratch, "the relay's processes are killed in the middle of a backup")


def _restores(scratch: ScratchRepository) -> Iterator[RowFinding]:
    """A killed restore leaves a part of a tree; the next one to the same target completes it."""
    target = f"{scratch.folder}/again"
    newest = re.findall(r'"id":"([0-9a-f]{64})"', scratch.restic("snapshots", "--json", "--no-lock").out)[-1]
    words = ("restore", newest, "--target", target, "--no-lock", "--no-cache")
    scratch.host.run("rm", "-rf", target)
    interrupt_restic(scratch, "restic", *words, "--limit-download", "1000", after=4)
    begun = scratch.host.shell(f"find {target} -type f | wc -l", check=False).out.strip()
    done = scratch.restic(*words, "--overwrite", "always")
    compare = f"cd {target}/{scratch.folder} 2>/dev/null || cd {target}; cmp big {scratch.folder}/big && diff -r --no-dereference tree {scratch.folder}/tree"
    same = scratch.host.shell(compare, check=False)
    seen = f"{begun} files begun, then exit code {done.code}, {'the same' if same.code == 0 else same.said}"
    yield judged(
        "restic is killed in the middle of a restore: the next one completes it",
        done.code == 0 and same.code == 0,
        seen,
    )
    scratch.host.run("rm", "-rf", target)


def _full_disk_on_source(scratch: ScratchRepository) -> Iterator[RowFinding]:
    """restic's folder for temporary files, and a restore's target, are on a disk of half a MiB."""
    full = f"{scratch.folder}/full"
    scratch.host.shell(
        f"mkdir {full} && mount -t tmpfs -o size=512k tmpfs {full} && cd {scratch.folder} && {BIG}"
    )
    try:
        packed = scratch.host.shell(
            scratch.restic_line("backup", "--quiet", "big", tmp="full"), seconds=90, check=False
        )
        target = scratch.restic("restore", scratch.snapshots[0], "--target", full, "--no-lock", "--no-cache")
    finally:
        scratch.host.shell(f"umount {full}; rmdir {full}")
    yield control(
        "on a full disk backup and restore fail",
        packed.code != 0 and target.code != 0,
        f"exit codes {packed.code}, {target.code}",
    )
    yield _goes_on(scratch, "the disk is full in the middle of a backup")
    yield judged("the disk is full in the middle of a restore: it restores elsewhere", *scratch.try_restore())


def _steps(drill: Drill, scratch: ScratchRepository) -> Iterator[RowFinding]:
    """Interrupt the relay's step for an entry, the kind of step that `up` consists of."""
    tries = {f"the step is killed after {n} ms": killed_applying(n) for n in (20, 80, 170)}
    tries |= {f"its removal is killed after {n} ms": killed_removing(n) for n in (50, 120)}
    tries |= {f"the disk has {size} left for the step": on_a_full_disk(size) for size in ("4k", "12k")}
    with scratch_folder(drill.relay) as folder:
        step = EntryStep.of(scratch, folder)
        asis = step.check()
        yield control("the step finds the entry as it should be", asis == 0, f"check {asis}")
        ended = step.try_each(list(tries.values()))
    killed = sum(codes[0] == 137 for codes in ended)
    full = [codes[0] for codes in ended[-2:]]
    yield control("steps were killed in the middle", killed >= 2, f"{killed} of 5")
    yield control("without space the step fails", full[0] == 1, f"exit codes {full}")
    for what, (_, again, check) in zip(tries, ended, strict=True):
        yield judged(
            f"{what}: the next run completes it", (again, check) == (0, 0), f"apply {again}, check {check}"
        )
    reads = scratch.restic("cat", "config", "--no-lock", "--no-cache", seconds=30)
    yield judged(
        "after all of this the source's session works",
        reads.code == 0,
        reads.err.strip()[-200:] or f"exit code {reads.code}",
    )


def _reboot(drill: Drill, scratch: ScratchRepository) -> Iterator[RowFinding]:
    """Reboot the relay in the middle of a backup; afterwards it must be as before."""
    held = (
        f"cat {LIVE} | sha256sum; systemctl is-active ssh lastcopy-firewall lastcopy-storage.timer; ls /etc/lastcopy/relay /etc/ssh/lastcopy/keys; "
        "nft list chain inet lastcopy of_sources | grep -v counter | sha256sum"
    )
    before = drill.relay.shell(held, check=False).said
    scratch.host.shell(f"cd {scratch.folder} && {BIG}")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(interrupt_restic, scratch, "wait", "backup", *SLOW, "big")
        wait_for_the_middle(scratch)
        took = reboot(drill, drill.relay)
        scratch.host.run("touch", f"{scratch.folder}/cut.done")
        running.result()
    came = log_in_as_operator(drill)
    yield control(
        "after its reboot the operator can log in at the relay", came.code == 0, f"after {took:.0f} s"
    )
    after = drill.relay.shell(held, check=False).said
    yield judged("sshd, firewall and entries are the same after the reboot", after == before, "as before" if after == before else after)  # fmt: skip
    yield _goes_on(scratch, "the relay is rebooted in the middle of a backup")
    own = drill.victim.run("restic-backup", "cat", "config", "--no-lock", check=False, seconds=90)
    yield judged("the source's own repository can be reached again", own.code == 0, f"exit code {own.code}")


def _nothing_lost(
    drill: Drill, scratch: ScratchRepository, before: list[StoredVersion]
) -> Iterator[RowFinding]:
    for snapshot in scratch.snapshots[:1]:
        yield judged("what was acknowledged before restores", *scratch.try_restore(snapshot))
    damage = find_losses(before, drill.require_storage().versions(scratch.path))
    yield judged("nothing that was stored is lost", not damage, damage or f"{len(before)} versions as before")
    check = scratch.restic("check", "--read-data", "--no-lock", "--no-cache", seconds=120)
    fine = check.code == 0 and "no errors were found" in check.said
    yield judged("restic's check reads every byte and finds no error", fine, check.said.strip()[-120:])
