"""A7: network cut, process killed, host rebooted or disk full, in the middle of a backup, a restore, or a step of `up`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from attack_drill.dial import scratch
from attack_drill.ground import Ground
from attack_drill.interrupted import (
    BIG,
    SLOW,
    Step,
    cut,
    killed_applying,
    killed_removing,
    on_a_full_disk,
    wait_for_the_middle,
)
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.reboot import reboot
from attack_drill.relay_sshd import LIVE, dials
from attack_drill.storage import Stored, lost
from attack_drill.throwaway import Throwaway

CUTS = {
    "ssh": "the connection is cut",
    "still": "the network stands still and is then gone",
    "restic": "restic is killed",
    "stop": "restic is stopped",
}


def play(ground: Ground) -> Iterator[Finding]:
    if not ground.may(Level.THROWAWAY):
        yield not_played("cuts, kills and full disks in the middle of work", Level.THROWAWAY.words)
        return
    made, judge = ground.throwaway(fresh=True), ground.judge()
    before = judge.versions(made.path)
    yield control("the throwaway repository backs up", made.restic("backup", "--quiet", "tree").code == 0, made.name)  # fmt: skip
    yield from _backups(ground, made)
    yield from _restores(made)
    yield from _full_disk_on_source(made)
    yield from _steps(ground, made)
    if ground.may(Level.TRIAL):
        yield from _reboot(ground, made)
    else:
        yield not_played("the relay rebooted in the middle of a backup", Level.TRIAL.words)
    yield from _nothing_lost(ground, made, before)


def _goes_on(made: Throwaway, after: str) -> Finding:
    """The next run converges: it ends well, and its own snapshot restores byte for byte."""
    done = made.restic("backup", "--json", "tree", "big")
    found = re.search(r'"snapshot_id":"([0-9a-f]{64})"', done.out)
    if done.code != 0 or found is None:
        return judged(
            f"{after}: the next backup goes on",
            False,
            f"exit code {done.code}: {done.said.strip()[-200:]}",
        )
    same, seen = made.restored(found[1])
    return judged(f"{after}: the next backup goes on and restores", same, seen)


def _backups(ground: Ground, made: Throwaway) -> Iterator[Finding]:
    for how, words in CUTS.items():
        made.host.shell(f"cd {made.folder} && {BIG}")
        cut(made, how, "backup", *SLOW, "big")
        yield _goes_on(made, f"{words} in the middle of a backup")
    made.host.shell(f"cd {made.folder} && {BIG}")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cut, made, "wait", "backup", *SLOW, "big")
        wait_for_the_middle(made)
        ground.relay.run("pkill", "-KILL", "-u", made.account, check=False)
        made.host.run("touch", f"{made.folder}/cut.done")
        running.result()
    yield _goes_on(made, "the relay's processes are killed in the middle of a backup")


def _restores(made: Throwaway) -> Iterator[Finding]:
    """A restore that was killed leaves a part of a tree; the next one into the same place completes it."""
    target = f"{made.folder}/again"
    newest = re.findall(r'"id":"([0-9a-f]{64})"', made.restic("snapshots", "--json", "--no-lock").out)[-1]
    words = ("restore", newest, "--target", target, "--no-lock", "--no-cache")
    made.host.run("rm", "-rf", target)
    cut(made, "restic", *words, "--limit-download", "1000", after=4)
    begun = made.host.shell(f"find {target} -type f | wc -l", check=False).out.strip()
    done = made.restic(*words, "--overwrite", "always")
    compare = f"cd {target}/{made.folder} 2>/dev/null || cd {target}; cmp big {made.folder}/big && diff -r --no-dereference tree {made.folder}/tree"
    same = made.host.shell(compare, check=False)
    seen = f"{begun} files begun, then exit code {done.code}, {'the same' if same.code == 0 else same.said}"
    yield judged(
        "restic is killed in the middle of a restore: the next one completes it",
        done.code == 0 and same.code == 0,
        seen,
    )
    made.host.run("rm", "-rf", target)


def _full_disk_on_source(made: Throwaway) -> Iterator[Finding]:
    """restic's working place, and a restore's target, on disks of half a MiB."""
    full = f"{made.folder}/full"
    made.host.shell(f"mkdir {full} && mount -t tmpfs -o size=512k tmpfs {full} && cd {made.folder} && {BIG}")
    try:
        packed = made.host.shell(made.line("backup", "--quiet", "big", tmp="full"), seconds=90, check=False)
        target = made.restic("restore", made.snapshots[0], "--target", full, "--no-lock", "--no-cache")
    finally:
        made.host.shell(f"umount {full}; rmdir {full}")
    yield control(
        "on a full disk backup and restore fail",
        packed.code != 0 and target.code != 0,
        f"exit codes {packed.code}, {target.code}",
    )
    yield _goes_on(made, "the disk is full in the middle of a backup")
    yield judged("the disk is full in the middle of a restore: elsewhere it restores", *made.restored())


def _steps(ground: Ground, made: Throwaway) -> Iterator[Finding]:
    """The relay's step for an entry, which is what `up` is made of."""
    tries = {f"the step is killed after {n} ms": killed_applying(n) for n in (20, 80, 170)}
    tries |= {f"its undoing is killed after {n} ms": killed_removing(n) for n in (50, 120)}
    tries |= {f"the disk has {size} left for the step": on_a_full_disk(size) for size in ("4k", "12k")}
    with scratch(ground.relay) as folder:
        step = Step.of(made, folder)
        asis = step.checked()
        yield control("the step finds the entry as it should be", asis == 0, f"check {asis}")
        ended = step.tried(list(tries.values()))
    killed = sum(codes[0] == 137 for codes in ended)
    full = [codes[0] for codes in ended[-2:]]
    yield control("steps were killed in the middle", killed >= 2, f"{killed} of 5")
    yield control("without room the step fails", full[0] == 1, f"exit codes {full}")
    for what, (_, again, check) in zip(tries, ended, strict=True):
        yield judged(
            f"{what}: run again it completes", (again, check) == (0, 0), f"apply {again}, check {check}"
        )
    reads = made.restic("cat", "config", "--no-lock", "--no-cache", seconds=30)
    yield judged(
        "after all these the source's session works",
        reads.code == 0,
        reads.err.strip()[-200:] or f"exit code {reads.code}",
    )


def _reboot(ground: Ground, made: Throwaway) -> Iterator[Finding]:
    """The relay, in the middle of a backup; afterwards it is what it was."""
    held = (
        f"cat {LIVE} | sha256sum; systemctl is-active ssh lastcopy-firewall lastcopy-storage.timer; ls /etc/lastcopy/relay /etc/ssh/lastcopy/keys; "
        "nft list chain inet lastcopy of_sources | grep -v counter | sha256sum"
    )
    before = ground.relay.shell(held, check=False).said
    made.host.shell(f"cd {made.folder} && {BIG}")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cut, made, "wait", "backup", *SLOW, "big")
        wait_for_the_middle(made)
        took = reboot(ground, ground.relay)
        made.host.run("touch", f"{made.folder}/cut.done")
        running.result()
    came = dials(ground)
    yield control("after its reboot the relay lets the operator in", came.code == 0, f"after {took:.0f} s")
    after = ground.relay.shell(held, check=False).said
    yield judged("sshd, firewall and entries are after the reboot what they were", after == before, "as before" if after == before else after)  # fmt: skip
    yield _goes_on(made, "the relay is rebooted in the middle of a backup")
    own = ground.victim.run("restic-backup", "cat", "config", "--no-lock", check=False, seconds=90)
    yield judged("the source's own repository is reached again", own.code == 0, f"exit code {own.code}")


def _nothing_lost(ground: Ground, made: Throwaway, before: list[Stored]) -> Iterator[Finding]:
    for snapshot in made.snapshots[:1]:
        yield judged("what was acknowledged before all that restores", *made.restored(snapshot))
    damage = lost(before, ground.judge().versions(made.path))
    yield judged("nothing that was stored is gone", not damage, damage or f"{len(before)} versions as before")
    check = made.restic("check", "--read-data", "--no-lock", "--no-cache", seconds=120)
    fine = check.code == 0 and "no errors were found" in check.said
    yield judged("restic's check reads every byte and finds no error", fine, check.said.strip()[-120:])
