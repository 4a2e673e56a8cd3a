"""Starts a program that outlives this process inside a namespace of the sandbox, and finds it again later.

The program gets a session, a mount namespace with an empty /run and a control group (on a systemd host: a scope) of its own. So its mounts
disappear with it, and what it leaves behind can be found by name or by namespace.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox import netns
from sandbox.errors import SandboxError
from sandbox.run import CLEAN, Process, end_namespace
from sandbox.store import read_json, write_json
from sandbox.waiting import becomes_true

CGROUPS = Path("/sys/fs/cgroup")


def on_systemd() -> bool:
    """Whether this host was booted with systemd, which then owns the control groups."""
    return Path("/run/systemd/system").is_dir()


def _cgroup_roots() -> list[Path]:
    """The hierarchies in which a machine's systemd creates its groups."""
    if (CGROUPS / "cgroup.procs").exists():
        return [CGROUPS]
    return [root for root in (CGROUPS / "unified", CGROUPS / "systemd") if root.is_dir()]


def remove_cgroups(pattern: str) -> None:
    """Remove the groups of ended programs. The kernel releases a dying process a moment later."""
    left: list[Path] = []

    def gone() -> bool:
        left[:] = [top for root in _cgroup_roots() for top in root.glob(pattern)]
        for top in left:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        return not any(top.exists() for top in left)

    if not becomes_true(gone, 10, 0.02):
        raise SandboxError(f"cannot remove the control group {left[0]}", fix="look at its cgroup.procs")


def running(record: Path) -> Process | None:
    """The recorded program, if it still runs."""
    known = read_json(record)
    if known is None:
        return None
    process = Process(known["pid"], known["started"])
    return process if process.alive() else None


def start(
    namespace: str | None,
    unit: str,
    script: str,
    arguments: Sequence[str],
    *,
    log: Path,
    record: Path,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Run the sh `script` with `arguments` in that network namespace (None: the workstation's own) and record the process.

    The script ends in `exec`, so the recorded process is the program itself. What still ran in the namespace,
    from a start that was killed before it was recorded, is ended first.
    """
    enter: list[str] = []
    if namespace is not None:
        end_namespace(netns.inode(namespace))
        enter = ["nsenter", f"--net={netns.path(namespace)}"]
    scope, join = _own_cgroup(unit)
    # A private /run: the program's own sockets and locks never land in the workstation's.
    whole = f"set -eu\n{join}mount -t tmpfs -o mode=755 tmpfs /run\n{script}"
    argv = [*scope, *enter, "unshare", "--mount", "--propagation", "slave", "sh", "-c", whole, unit]
    process = Process.of(_spawn([*argv, *arguments], log, {**CLEAN, **(environment or {})}))
    if process is None:
        raise failure(unit, log, record)
    write_json(record, {"pid": process.pid, "started": process.started})
    return process


def _own_cgroup(unit: str) -> tuple[list[str], str]:
    """A control group for the program: arguments to put before its command line, and lines to begin its script with."""
    remove_cgroups(unit)
    if on_systemd():
        scope = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={unit}", "-p", "Delegate=yes"]
        return [*scope, "--"], ""
    groups = [root / unit for root in _cgroup_roots()]
    for group in groups:
        group.mkdir(exist_ok=True)
    return [], "".join(f"echo $$ >{group}/cgroup.procs\n" for group in groups)


def _spawn(argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """Start a program in a session of its own, with both outputs to the log. Returns its process id."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
            cwd="/",
            env=environment,
        )
    except FileNotFoundError:
        raise SandboxError(f"`{argv[0]}` is not installed", fix="lastcopy sandbox prepare") from None
    finally:
        os.close(handle)
    return child.pid


def failure(unit: str, log: Path, record: Path) -> SandboxError:
    """The error of a program that ended too early: how it ended, if it was our child, and its last output."""
    said = log.read_text(errors="replace").strip().splitlines()[-12:] if log.exists() else []
    known = read_json(record)
    with contextlib.suppress(ChildProcessError):
        pid, status = os.waitpid(known["pid"], os.WNOHANG) if known else (0, 0)
        if pid:
            said.append(f"(it ended with {os.waitstatus_to_exitcode(status)}; below 0: by that signal)")
    return SandboxError(
        "\n    ".join([f"{unit} does not run; its last output:", *(said or ["nothing"])]), where=str(log)
    )
