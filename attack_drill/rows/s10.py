"""S10: one source that wants everything: sessions, storage, the relay itself."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping

from attack_drill.ground import Ground
from attack_drill.http2 import Gone
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.rows.a8 import looked, told
from attack_drill.throwaway import ROOM, Throwaway
from ops.cut_off import switch
from ops.hosts.connection import Host
from ops.status import health as status
from ops.storage.access import Place

CROWD = 40
GROWTH = status.Limits(silent_hours=1e6, growth_gib=0.02)
FILE_MIB = 32
DAILY_MIB, TRIED_MIB = 24, 40
HOLD = "/usr/local/lib/lastcopy/hold-limits"


def play(ground: Ground) -> Iterator[Finding]:
    if not ground.may(Level.THROWAWAY):
        yield not_played("a crowd of sessions, and growth", Level.THROWAWAY.words)
    elif not ground.others:
        yield not_played("what one source does to another", "this stack has one source only")
    else:
        made, other = ground.throwaway(fresh=True), ground.throwaway(ground.others[0])
        yield control("another source backs up", *_backs_up(other))
        yield from _crowd(ground, made, other)
        yield from _fills(ground, made, other)
        yield from _growth(ground, made)
    if not ground.may(Level.TRIAL) or not ground.others:
        yield not_played("one command cuts off one source", Level.TRIAL.words)
    else:
        yield from _cut_off(ground)


def _backs_up(other: Throwaway) -> tuple[bool, str]:
    began = time.monotonic()
    done = other.restic("backup", "--quiet", "--host", other.name, "tree")
    return (
        done.code == 0,
        f"restic on {other.source} ended with {done.code} after {time.monotonic() - began:.1f} s",
    )


def promised(ground: Ground) -> Mapping[str, int]:
    """The source's limits as the stack file sets them, with the settings' defaults."""
    from components.settings.sources import Limits

    entry = next(one for one in ground.config["sources"] if one.get("name") == ground.source)
    return Limits.model_validate(entry.get("limits") or {}).model_dump()


def _crowd(ground: Ground, made: Throwaway, other: Throwaway) -> Iterator[Finding]:
    """Sessions that are opened and say nothing: each holds what a session may hold for as long as it may."""
    most = promised(ground)
    opened = made.host.shell(
        f"cd {made.folder} && for i in $(seq {CROWD}); do "
        f"(timeout 150 sh -c 'sleep 140 | {{ ssh -F {made.folder}/ssh_config relay serve; echo >>{made.folder}/refused; }}' >/dev/null 2>&1 & "
        "echo $! >>crowd) ; done; echo ok"
    )
    try:
        standing, refused = _settled(ground.relay, made)
        yield control(
            f"the crowd of {CROWD} got sessions, or was refused",
            opened.code == 0 and bool(standing) and len(standing) + refused == CROWD,
            f"{len(standing)} stand, {refused} were refused",
        )
        yield judged(
            f"{CROWD} sessions at once: no more than {most['sessions']} stand",
            len(standing) <= most["sessions"],
            f"{len(standing)} stand",
        )
        yield judged("another source backs up all the while", *_backs_up(other))
        for what, held, seen in _limits(ground.relay, standing[:1], most):
            yield judged(what, held, seen)
        hours = ground.relay.run("cat", f"{ROOM}/{made.name}/serve.conf").out
        yield judged(
            f"a session ends after {most['hours']} h",
            bool(re.search(rf"^hours {most['hours']}$", hours, re.MULTILINE)),
            "as the relay's entry says",
        )
    finally:
        made.host.shell(
            f"kill $(cat {made.folder}/crowd) 2>/dev/null; pkill -f '{made.folder}/ssh_config relay serve'; true",
            check=False,
        )


def _settled(relay: Host, made: Throwaway) -> tuple[list[str], int]:
    """The processes that serve the account's sessions, and how many clients were refused, once each client is one or the other."""
    deadline = time.monotonic() + 60
    while True:
        refused = made.host.shell(f"cat {made.folder}/refused 2>/dev/null | wc -l").out
        standing = relay.shell(f"pgrep -u {made.account} -x rclone", check=False).out.split()
        if len(standing) + int(refused) >= CROWD or time.monotonic() > deadline:
            return standing, int(refused)
        time.sleep(1)


def _limits(relay: Host, processes: list[str], most: Mapping[str, int]) -> Iterator[tuple[str, bool, str]]:
    """What the kernel holds a running session to."""
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


def _fills(ground: Ground, made: Throwaway, other: Throwaway) -> Iterator[Finding]:
    """Uploads without an end, against a limit that is set for the throwaway alone: a source's own is far larger, where it has one."""
    made.step("apply", **made.entry | {"DAILY_BYTES": str(DAILY_MIB << 20)})
    try:
        before, taken = _stored(ground, made), 0
        try:
            with made.session() as session:
                for _ in range(TRIED_MIB):
                    name = secrets.token_hex(32)
                    taken += session.ask("POST", f"/data/{name}", secrets.token_bytes(1 << 20)).status == 200
        except (Gone, BrokenPipeError):
            pass  # ended by the relay; what stands is counted
        yield control("uploads are taken at first", taken > 0, f"{taken} objects of 1 MiB")
        stand = _stored(ground, made) - before if ground.desk else taken
        yield judged(
            f"{TRIED_MIB} MiB, where {DAILY_MIB} MiB a day are allowed: no more stand",
            stand <= DAILY_MIB,
            f"{stand} MiB stand" if ground.desk else f"{stand} MiB were taken",
        )
        yield judged("another source backs up when one has reached its limit", *_backs_up(other))
        ground.relay.run(HOLD)
        again = made.host.run(*made.ssh, "relay", check=False)
        yield judged(
            "whoever is over its limit gets no session until the next day, and is told why",
            again.code == 75 and "limit of uploads" in again.err and not again.out,
            f"exit code {again.code}: {again.err.strip()}",
        )
    finally:
        made.step("apply", **made.entry)


def _stored(ground: Ground, made: Throwaway) -> int:
    """Versions in the throwaway's place."""
    return len(ground.desk.versions(made.path, contents=False)) if ground.desk else 0


def _growth(ground: Ground, made: Throwaway) -> Iterator[Finding]:
    if ground.desk is None:
        yield not_played("fast growth is told", "needs a storage key (--storage-key, --sandbox)")
        return
    desk = ground.desk
    place = Place(where=desk.where, room=ground.rooms[made.source], key=desk.admin)
    made.host.shell(f"head -c {FILE_MIB << 20} /dev/urandom >{made.folder}/tree/big")
    done = made.restic("backup", "--quiet", "--host", made.name, "tree")
    made.host.shell(f"rm {made.folder}/tree/big")
    seen = looked(ground, place, GROWTH)
    yield judged(
        f"{FILE_MIB} MiB in a moment, where {GROWTH.growth_gib:g} GiB a day are expected: told, with the command that cuts off",
        "GROWS TOO FAST" in told(seen) and any("cut-off" in one.fix for one in seen.problems),
        f"restic ended with {done.code}; {told(seen) or 'NOTHING said'}",
    )


def _cut_off(ground: Ground) -> Iterator[Finding]:
    name, other = ground.source, ground.others[0]
    ask = ("restic-backup", "cat", "config", "--no-lock")

    def opens(source: str) -> bool:
        return ground.hosts[source].run(*ask, check=False).code == 0

    yield control("the source's own key opens its repository", opens(name), name)
    began = time.monotonic()
    try:
        switch(name, ground.stack, cut=True, quiet=True)
        seconds = time.monotonic() - began
        yield judged("ops cut-off: its key opens nothing", not opens(name), f"after {seconds:.1f} s")
        yield judged("ops cut-off: another source is not touched", opens(other), other)
    finally:
        switch(name, ground.stack, cut=False, quiet=True)
    yield control("ops let-in: its key opens it again", opens(name), name)
