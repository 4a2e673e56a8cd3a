"""Creates, finds, enters and removes named network namespaces, also after a run that was killed between two steps."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.run import end_namespace, run, try_run

NAMED = Path("/run/netns")
CLONE_NEWNET = 0x40000000


def path(name: str) -> Path:
    return NAMED / name


def mounted(name: str) -> bool:
    """Whether a namespace of that name exists. A killed `ip netns add` leaves a plain file."""
    wanted = str(path(name))
    return any(line.split()[4] == wanted for line in Path("/proc/self/mountinfo").read_text().splitlines())


def names(prefix: str) -> list[str]:
    """All names that begin with a prefix, also those that were not completed."""
    return sorted(entry.name for entry in NAMED.glob(f"{prefix}[-_]*")) if NAMED.is_dir() else []


@contextlib.contextmanager
def _names_lock() -> Iterator[None]:
    """Let one sandbox at a time create and remove the folder of names."""
    handle = os.open(NAMED.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def ensure(name: str) -> None:
    """Create a namespace of that name, and bring its loopback interface up."""
    if not mounted(name):
        with _names_lock():
            path(name).unlink(missing_ok=True)
            run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def inode(name: str) -> int:
    return path(name).stat().st_ino


def remove(name: str) -> None:
    """End the processes in a namespace and remove it with its interfaces."""
    if mounted(name):
        end_namespace(inode(name))
        run("ip", "netns", "delete", name)
    path(name).unlink(missing_ok=True)


def tidy() -> None:
    """Remove the folder of names and its mount if it has no namespace any more."""
    with _names_lock():
        if NAMED.is_dir() and not any(NAMED.iterdir()):
            try_run("umount", str(NAMED))
            with contextlib.suppress(OSError):  # another run created a namespace meanwhile: keep the folder
                NAMED.rmdir()


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Let this thread's new sockets belong to a named namespace. A socket stays in the namespace in which it was created."""
    with inside_file(path(name), name):
        yield


@contextlib.contextmanager
def inside_file(file: Path, name: str) -> Iterator[None]:
    """The same for a namespace given by a file in /proc."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(handle: int) -> None:
        if libc.setns(handle, CLONE_NEWNET) != 0:
            why = os.strerror(ctypes.get_errno())
            raise SandboxError(f"cannot enter the network of {name}: {why}", fix="run this as root")

    with contextlib.ExitStack() as stack:
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        stack.callback(os.close, back)
        try:
            there = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            fix = "run network-up and machine-up"
            raise SandboxError(f"the network of {name} is not up", fix=fix) from None
        except PermissionError:
            raise SandboxError(
                f"the network of {name} belongs to another user", fix="run this as root"
            ) from None
        stack.callback(os.close, there)
        enter(there)
        try:
            yield
        finally:
            enter(back)
