"""A4: an rclone or restic below the lowest allowed version, in every place where the product looks for one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.old_versions import RCLONE_PLACES, RESTIC_PLACES, FakeRun, run_with_fakes
from attack_drill.options import Level
from attack_drill.scratch_folder import EXECUTABLE, scratch_folder
from attack_drill.storage_admin import find_losses
from ops.hosts.connection import SshHost

ADVISORY = "GHSA-45pq-889g-fcgh"
RCLONES = (
    "1.40", "1.53.3", "1.60.1-DEV", "1.68.2", "1.74.4", "1.75.0", "1.75.9", "1.75.99", "1.76.0-beta.8888.0123456", "1.76.0-DEV",
    "1.9.99", "0.99", "1", "1.7.60", "", "1.76.0; true", "one",
)  # fmt: skip
RESTICS = ("0.9.6", "0.12.1", "0.14.0", "0.16.4", "0.18.1", "0.19.0", "0.19.1-dev", "0.2.0", "", "new")  # fmt: skip
SHARED = "/etc/lastcopy/relay/rclone"


def _rclone(version: str) -> str:
    return f"rclone v{version}\n- os/version: debian 13\n"


def _restic(version: str) -> str:
    return f"restic {version} compiled with go1.26 on linux/amd64\n"


def play(drill: Drill) -> Iterator[RowFinding]:
    from components.host.tool_release import floor  # imported late: recovery runs without Pulumi

    newest = {"rclone": floor("rclone"), "restic": floor("restic")}
    with (
        scratch_folder(drill.relay, EXECUTABLE) as on_relay,
        scratch_folder(drill.victim, EXECUTABLE) as on_source,
    ):
        yield from _running_relay(drill, on_relay, newest["rclone"])
        yield from _relay_step(drill, on_relay, newest["rclone"])
        yield from _wrapper(drill, on_source, newest["restic"])
        yield from _tool_steps(drill, on_relay, on_source)
    if not drill.may(Level.TRIAL):
        yield not_played("an old rclone in place on the relay, during a source's backup", Level.TRIAL.words)
        return
    with scratch_folder(drill.relay, EXECUTABLE) as folder:
        yield from _in_place(drill, folder)


def _told(
    what: str, versions: Sequence[str], ran: Sequence[FakeRun], refused: Sequence[bool]
) -> Iterator[RowFinding]:
    """One finding for each version."""
    for version, one, held in zip(versions, ran, refused, strict=True):
        words = one.err.strip().splitlines()
        told = [line for mark in ("error:", "relay:", "no restic") for line in words if mark in line]
        seen = told[0] if told else "not taken" if held else f"ended with {one.code}"
        yield judged(f"{what} '{version}'", held, seen)


def _running_relay(drill: Drill, folder: str, newest: str) -> Iterator[RowFinding]:
    """Start what a source's session starts, as its account, with another rclone in the place of the checked one."""
    relay, account, tag = drill.relay, f"bk-{drill.source}", f"lastcopy-{drill.source}"
    tool = relay.shell(f"sed -n 's/^path //p' {SHARED}").out.strip()
    serve = f"exec setpriv --reuid={account} --regid=lastcopy-sources --init-groups --reset-env /usr/local/lib/lastcopy/serve-restic </dev/null"
    run = partial(run_with_fakes, relay, folder, command=serve)
    true, fitting = run("", [""])[0], run(tool, [_rclone(newest)])[0]
    yield control(
        "the session's program runs with the checked rclone",
        true.code == 0,
        f"exit code {true.code}{true.err}",
    )
    yield control(
        f"it runs a program that says it is rclone {newest}",
        fitting.code == 0,
        f"exit code {fitting.code}{fitting.err}",
    )
    relay.run("logger", "-t", tag, "lastcopy drill begins")
    ran = run(tool, [_rclone(version) for version in RCLONES])
    yield from _told("the running relay is given rclone", RCLONES, ran, [one.code == 64 for one in ran])
    told = _named_in_journal(relay, tag, len(RCLONES))
    yield judged(
        "the relay's journal names the advisory each time",
        len(told) == len(RCLONES),
        told[-1] if told else "it does not",
    )


def _named_in_journal(relay: SshHost, tag: str, wanted: int) -> list[str]:
    """The journal's lines since the drill began that name the advisory. The journal may lag behind for a moment."""
    for _ in range(20):
        said = relay.run("journalctl", "-q", "-o", "cat", "-t", tag, "-n", str(4 * wanted)).out
        told = [line for line in said.rpartition("lastcopy drill begins")[2].splitlines() if ADVISORY in line]
        if len(told) >= wanted:
            break
        time.sleep(0.5)
    return told


def _relay_step(drill: Drill, folder: str, newest: str) -> Iterator[RowFinding]:
    """Run `pulumi up`'s step for the relay's rclone in check mode."""
    from components.host.program_texts import script_text

    relay = drill.relay
    tool = relay.shell(f"sed -n 's/^path //p' {SHARED}").out.strip()
    wrapper = relay.run("cat", "/usr/local/lib/lastcopy/serve-restic").out
    ca = relay.shell("cat /etc/lastcopy/relay/storage-ca.pem 2>/dev/null || true").out
    held = {
        "HOLD": "/usr/local/lib/lastcopy/hold-limits",
        "HOLD_UNIT": "/etc/systemd/system/lastcopy-limits.service",
        "HOLD_TIMER": "/etc/systemd/system/lastcopy-limits.timer",
    }
    rest = {name: relay.run("cat", file).out for name, file in held.items()}
    text = script_text("relay", {"RCLONE": tool, "FLOOR": newest, "WRAPPER": wrapper, "CA": ca, **rest})
    run = partial(run_with_fakes, relay, folder, command="exec sh -s -- check", stdin=text)
    asis, fitting = run("", [""])[0], run(tool, [_rclone(newest)])[0]
    yield control("the step finds the relay as the stack wants it", asis.code == 0, asis.err or "no drift")
    yield control(
        "the step would accept a program that reports an allowed version",
        fitting.code == 3,
        f"exit code {fitting.code} {fitting.err}",
    )
    ran = run(tool, [_rclone(version) for version in RCLONES])
    yield from _told(
        "the relay's step is given rclone",
        RCLONES,
        ran,
        [one.code == 1 and ADVISORY in one.err for one in ran],
    )


def _wrapper(drill: Drill, folder: str, newest: str) -> Iterator[RowFinding]:
    """Run `restic-backup` on the source."""
    run = partial(run_with_fakes, drill.victim, folder, command="exec restic-backup version")
    fitting = run(RESTIC_PLACES, [_restic(newest)])[0]
    true = run("", [""])[0]
    yield control("restic-backup starts restic", true.code == 0, true.out or true.err)
    yield control(
        f"it starts a program that says it is restic {newest}",
        fitting.code == 0,
        f"exit code {fitting.code} {fitting.err}",
    )
    ran = run(RESTIC_PLACES, [_restic(version) for version in RESTICS])
    held = [one.code == 71 and newest in one.err and not one.out for one in ran]
    yield from _told("the source is given restic", RESTICS, ran, held)


def _tool_steps(drill: Drill, on_relay: str, on_source: str) -> Iterator[RowFinding]:
    """Run `pulumi up`'s step that finds or downloads a tool. It must never accept an old one, and must name it if no release is available."""
    from components.host.program_texts import script_text
    from components.host.tool_release import release_values

    for host, folder, tool, places, versions, say in (
        (drill.relay, on_relay, "rclone", RCLONE_PLACES, RCLONES, _rclone),
        (drill.victim, on_source, "restic", RESTIC_PLACES, RESTICS, _restic),
    ):
        values = release_values(tool)
        text = script_text("host_tool", values)
        asis = run_with_fakes(host, folder, "", [""], "exec sh -s -- check", text)[0]
        yield control(f"the step finds {host.name}'s {tool}", asis.code == 0, asis.out.strip() or asis.err)
        ran = run_with_fakes(
            host, folder, places, [say(one) for one in versions], "exec sh -s -- check", text
        )
        yield from _told(
            f"the tool step is given {tool}",
            versions,
            ran,
            # It would install another one, and names none of the old ones.
            [one.code == 3 and '"path":' not in one.out and '"version":' not in one.out for one in ran],
        )
        if not drill.may(Level.TRIAL):
            yield not_played(f"the tool step with an old {tool} and no release available", Level.TRIAL.words)
            continue
        # Nothing listens at that address, so nothing can be downloaded and installed.
        nowhere = script_text("host_tool", {**values, "ARCHIVE": "http://127.0.0.1:9/none"})
        refused = run_with_fakes(host, folder, places, [say(versions[2])], "exec sh -s -- apply", nowhere)[0]
        why = ADVISORY if tool == "rclone" else values["FLOOR"]
        yield judged(
            f"an old {tool}, and no release available",
            refused.code == 1 and why in refused.err and "fix:" in refused.err,
            refused.err,
        )


@contextmanager
def _bound(drill: Drill, folder: str, version: str) -> Iterator[None]:
    """Mount the fake for the whole relay. The relay unmounts it by itself if this machine loses its access."""
    relay = drill.relay
    tool = relay.shell(f"sed -n 's/^path //p' {SHARED}").out.strip()
    relay.shell(
        f"set -e; printf '#!/bin/sh\\necho \"rclone v{version}\"\\n' >{folder}/fake; chmod 755 {folder} {folder}/fake; mount --bind {folder}/fake {tool}; "
        f"systemd-run -q --collect --unit=lastcopy-drill-tool --on-active=60 umount {tool}"
    )
    try:
        yield
    finally:
        relay.shell(f"umount {tool}; systemctl stop lastcopy-drill-tool.timer 2>/dev/null || true")


def _in_place(drill: Drill, folder: str) -> Iterator[RowFinding]:
    scratch = drill.scratch_repository()
    storage = drill.require_storage()
    before = storage.versions(scratch.path)
    with _bound(drill, folder, "1.60.1-DEV"):
        done = scratch.restic("backup", "--quiet", "tree", seconds=20)
    after = storage.versions(scratch.path)
    said = re.search(r"relay: [^\n]*", done.said)
    yield judged(
        "a source backs up through a relay with an old rclone",
        done.code != 0 and said is not None,
        said[0] if said else done.said,
    )
    yield judged(
        "nothing was written or lost",
        before == after,
        find_losses(before, after) or f"{len(after)} versions as before",
    )
    again = scratch.restic("backup", "--quiet", "tree")
    yield control(
        "with the checked rclone in place the backup works", again.code == 0, f"exit code {again.code}"
    )
