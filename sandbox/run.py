"""Runs commands, which raise if they fail, and ends processes by their identity, never by name."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.waiting import becomes_true

PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
PF_EXITING = 0x4  # linux/sched.h
CLEAN = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}


def run(*argv: str, stdin: str | None = None, fix: str = "") -> str:
    """Run a command. Returns its stdout; an error contains the command and its output (no argument is a secret)."""
    done = try_run(*argv, stdin=stdin)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise SandboxError(f"`{' '.join(argv)}` failed: {said}", fix=fix)
    return done.stdout


def try_run(*argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, whatever its exit status; only a missing program is an error."""
    try:
        return subprocess.run(argv, input=stdin or "", capture_output=True, text=True, env=CLEAN, check=False)
    except FileNotFoundError:
        raise SandboxError(f"`{argv[0]}` is not installed", fix="lastcopy sandbox prepare") from None


@dataclass(frozen=True)
class _Stat:
    state: str
    parent: int
    exiting: bool
    started: int  # clock ticks since boot


def _stat(pid: int) -> _Stat | None:
    """What /proc says about a process; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before ')' may contain anything
    return _Stat(fields[0], int(fields[1]), bool(int(fields[6]) & PF_EXITING), int(fields[19]))


def _doomed(pid: int) -> bool:
    """Whether SIGKILL is pending: such a process still appears to run for a moment."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return True
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(mask >> (signal.SIGKILL - 1) & 1 for mask in masks)


@dataclass(frozen=True)
class Process:
    """One process, told from a later one with the same number by its start time."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        stat = _stat(pid)
        return cls(pid, stat.started) if stat else None

    def alive(self) -> bool:
        """Whether it runs and is not about to end. `there` is weaker."""
        stat = _stat(self.pid)
        return self.there() and stat is not None and not stat.exiting and not _doomed(self.pid)

    def there(self) -> bool:
        """Whether it still has resources, which a dying process has until its end."""
        stat = _stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state not in "ZX"

    def send(self, number: int) -> None:
        """Send a signal to exactly this process. Does nothing if it has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.there():  # checked after the handle pins the process, so its number cannot be reused
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def end(self, *, grace: float) -> None:
        """Send SIGTERM, wait `grace` seconds, then kill it. Returns once it has ended."""
        if grace > 0:
            self.send(signal.SIGTERM)
            if self._gone_within(grace):
                return
        self.send(signal.SIGKILL)
        if not self._gone_within(10):
            raise SandboxError(f"process {self.pid} does not end", fix=f"look at /proc/{self.pid}/stack")

    def _gone_within(self, seconds: float) -> bool:
        def gone() -> bool:
            reap(self.pid)
            return not self.there()

        return becomes_true(gone, seconds, 0.02)


def reap(pid: int) -> None:
    """Collect an ended child, so that it does not remain as a zombie. Other processes have other parents."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def pids() -> Iterator[int]:
    """All current process ids."""
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def in_network_namespace(inode: int) -> list[Process]:
    """Every process except this one whose network namespace has that inode number."""
    link = f"net:[{inode}]"
    found = []
    for pid in pids():
        try:
            inside = str(Path(f"/proc/{pid}/ns/net").readlink()) == link
        except OSError:
            continue  # ended meanwhile, or a zombie
        process = Process.of(pid) if inside and pid != os.getpid() else None
        if process:
            found.append(process)
    return found


def end_namespace(inode: int) -> None:
    """End all processes in a network namespace, including those started meanwhile."""
    left: list[Process] = []

    def gone() -> bool:
        left[:] = [process for process in in_network_namespace(inode) if process.there()]
        for process in left:
            process.send(signal.SIGKILL)
            reap(process.pid)
        return not left

    if not becomes_true(gone, 15, 0.02):
        raise SandboxError(f"processes do not end: {[process.pid for process in left]}")


def end_machine(nspawn: Process) -> None:
    """End a booted machine at once. Its systemd is ended first, because it would outlive a killed systemd-nspawn."""
    leader = child_with_pid_one(nspawn.pid)
    process = Process.of(leader) if leader is not None else None
    if process:
        process.end(grace=0)
    nspawn.end(grace=5)


def child_with_pid_one(parent: int) -> int | None:
    """The child of `parent` that is process 1 of a namespace of its own: a booted machine's systemd."""
    for pid in pids():
        stat = _stat(pid)
        if stat is None or stat.parent != parent:
            continue
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        if len(numbers) > 1 and numbers[-1] == "1":
            return pid
    return None
