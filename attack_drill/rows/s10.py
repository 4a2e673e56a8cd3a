"""S10: one source that uses up what it can: sessions, storage, the relay's resources."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.http2 import SessionEnded
from attack_drill.options import Level
from attack_drill.rows.a8 import look_at, problems_of
from attack_drill.scratch_repository import ENTRIES, ScratchRepository
from ops.cut_off import set_cut_off
from ops.hosts.connection import SshHost
from ops.status import health as status
from ops.storage.access import RepositoryLocation
from sandbox.waiting import becomes_true

CROWD = 40
GROWTH = status.HealthLimits(silent_hours=1e6, growth_gib=0.02)
FILE_MIB = 32
DAILY_MIB, TRIED_MIB = 24, 40
HOLD = "/usr/local/lib/lastcopy/hold-limits"


def play(drill: Drill) -> Iterator[RowFinding]:
    if not drill.may(Level.SCRATCH):
        yield not_played("many sessions, and growth", Level.SCRATCH.words)
    elif not drill.others:
        yield not_played("what one source does to another", "this stack has one source only")
    else:
        scratch, other = drill.scratch_repository(fresh=True), drill.scratch_repository(drill.others[0])
        yield control("another source backs up", *_backs_up(other))
        yield from _crowd(drill, scratch, other)
        yield from _fills(drill, scratch, other)
        yield from _growth(drill, scratch)
    if not drill.may(Level.TRIAL) or not drill.others:
        yield not_played("one command cuts off one source", Level.TRIAL.words)
    else:
        yield from _cut_off(drill)


def _backs_up(other: ScratchRepository) -> tuple[bool, str]:
    began = time.monotonic()
    done = other.restic("backup", "--quiet", "--host", other.name, "tree")
    return (
        done.code == 0,
        f"restic on {other.source} ended with {done.code} after {time.monotonic() - began:.1f} s",
    )


def promised(drill: Drill) -> Mapping[str, int]:
    """The source's limits as the stack file sets them, with the settings' defaults."""
    from components.settings.sources import Limits

    entry = next(one for one in drill.config["sources"] if one.get("name") == drill.source)
    return Limits.model_validate(entry.get("limits") or {}).model_dump()


def _crowd(drill: Drill, scratch: ScratchRepository, other: ScratchRepository) -> Iterator[RowFinding]:
    """Open many sessions that send nothing, so that each keeps its resources for as long as it may."""
    most = promised(drill)
    opened = scratch.host.shell(
        f"cd {scratch.folder} && for i in $(seq {CROWD}); do "
        f"(timeout 150 sh -c 'sleep 140 | {{ ssh -F {scratch.folder}/ssh_config relay serve; echo >>{scratch.folder}/refused; }}' >/dev/null 2>&1 & "
        "echo $! >>crowd) ; done; echo ok"
    )
    try:
        standing, refused = _settled(drill.relay, scratch)
        yield control(
            f"each of {CROWD} clients has a session, or was refused",
            opened.code == 0 and bool(standing) and len(standing) + refused == CROWD,
            f"{len(standing)} are open, {refused} were refused",
        )
        yield judged(
            f"{CROWD} sessions at once: no more than {most['sessions']} are open",
            len(standing) <= most["sessions"],
            f"{len(standing)} are open",
        )
        yield judged("another source can back up meanwhile", *_backs_up(other))
        for what, held, seen in _limits(drill.relay, standing[:1], most):
            yield judged(what, held, seen)
        hours = drill.relay.run("cat", f"{ENTRIES}/{scratch.name}/serve.conf").out
        yield judged(
            f"a session ends after {most['hours']} h",
            bool(re.search(rf"^hours {most['hours']}$", hours, re.MULTILINE)),
            "as the relay's entry says",
        )
    finally:
        scratch.host.shell(
            f"kill $(cat {scratch.folder}/crowd) 2>/dev/null; pkill -f '{scratch.folder}/ssh_config relay serve'; true",
            check=False,
        )


def _settled(relay: SshHost, scratch: ScratchRepository) -> tuple[list[str], int]:
    """The processes that serve the account's sessions, and how many clients were refused, once each client has one or the other."""

    def look() -> tuple[list[str], int]:
        refused = scratch.host.shell(f"cat {scratch.folder}/refused 2>/dev/null | wc -l").out
        return relay.shell(f"pgrep -u {scratch.account} -x rclone", check=False).out.split(), int(refused)

    def all_are_answered() -> bool:
        running, refused = look()
        return len(running) + refused >= CROWD

    becomes_true(all_are_answered, 60, 1)
    return look()


def _limits(relay: SshHost, processes: list[str], most: Mapping[str, int]) -> Iterator[tuple[str, bool, str]]:
    """The kernel's limits for a running session."""
    text = relay.run("cat", f"/proc/{processes[0]}/limits", check=False).out if processes else ""
    for line, name, unit in (
        ("Max open files", "open_files", 1),
        ("Max processes", "processes", 1),
        ("Max data size", "memory_mib", 1 << 20),
    ):
        found = re.search(rf"^{line} +(\S+) +(\S+)", text, re.MULTILINE)
        hard = found[2] if found else "nothing"
        held = hard.isdigit() and int(hard) <= most[name] * unit
        yield f"a running session's {line[4:]} is limited", held, f"{hard}, promised {most[name] * unit}"


def _fills(drill: Drill, scratch: ScratchRepository, other: ScratchRepository) -> Iterator[RowFinding]:
    """Upload on and on, against a daily limit set for the scratch repository only: a source's own limit is far larger, if it has one."""
    scratch.run_step("apply", **scratch.entry | {"DAILY_BYTES": str(DAILY_MIB << 20)})
    try:
        before, taken = _stored(drill, scratch), 0
        try:
            with scratch.session() as session:
                for _ in range(TRIED_MIB):
                    name = secrets.token_hex(32)
                    taken += session.ask("POST", f"/data/{name}", secrets.token_bytes(1 << 20)).status == 200
        except (SessionEnded, BrokenPipeError):
            pass  # ended by the relay; what is stored is counted
        yield control("uploads are accepted at first", taken > 0, f"{taken} objects of 1 MiB")
        stand = _stored(drill, scratch) - before if drill.storage else taken
        yield judged(
            f"{TRIED_MIB} MiB, where {DAILY_MIB} MiB a day are allowed: no more is stored",
            stand <= DAILY_MIB,
            f"{stand} MiB are stored" if drill.storage else f"{stand} MiB were accepted",
        )
        yield judged("another source can back up when one has reached its limit", *_backs_up(other))
        drill.relay.run(HOLD)
        again = scratch.host.run(*scratch.ssh, "relay", check=False)
        yield judged(
            "a source over its limit gets no session until the next day, and is told why",
            again.code == 75 and "limit of uploads" in again.err and not again.out,
            f"exit code {again.code}: {again.err.strip()}",
        )
    finally:
        scratch.run_step("apply", **scratch.entry)


def _stored(drill: Drill, scratch: ScratchRepository) -> int:
    """The number of versions in the scratch repository."""
    return len(drill.storage.versions(scratch.path, contents=False)) if drill.storage else 0


def _growth(drill: Drill, scratch: ScratchRepository) -> Iterator[RowFinding]:
    if drill.storage is None:
        yield not_played("an alert for fast growth", "needs a storage key (--storage-key, --sandbox)")
        return
    storage = drill.storage
    place = RepositoryLocation(
        where=storage.where, record=drill.repositories[scratch.source], key=storage.admin
    )
    scratch.host.shell(f"head -c {FILE_MIB << 20} /dev/urandom >{scratch.folder}/tree/big")
    done = scratch.restic("backup", "--quiet", "--host", scratch.name, "tree")
    scratch.host.shell(f"rm {scratch.folder}/tree/big")
    seen = look_at(drill, place, GROWTH)
    yield judged(
        f"{FILE_MIB} MiB at once, where {GROWTH.growth_gib:g} GiB a day are expected: an alert with the command that cuts off",
        "GROWS TOO FAST" in problems_of(seen) and any("cut-off" in one.fix for one in seen.problems),
        f"restic ended with {done.code}; {problems_of(seen) or 'NOTHING said'}",
    )


def _cut_off(drill: Drill) -> Iterator[RowFinding]:
    name, other = drill.source, drill.others[0]
    ask = ("restic-backup", "cat", "config", "--no-lock")

    def opens(source: str) -> bool:
        return drill.hosts[source].run(*ask, check=False).code == 0

    yield control("the source's own key opens its repository", opens(name), name)
    began = time.monotonic()
    try:
        set_cut_off(name, drill.stack, cut=True, quiet=True)
        seconds = time.monotonic() - began
        yield judged("lastcopy cut-off: its key opens nothing", not opens(name), f"after {seconds:.1f} s")
        yield judged("lastcopy cut-off: another source still works", opens(other), other)
    finally:
        set_cut_off(name, drill.stack, cut=False, quiet=True)
    yield control("lastcopy let-in: its key opens it again", opens(name), name)
