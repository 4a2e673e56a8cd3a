"""Servers that run during a block, on loopback and on free ports, each ended by its own process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import toolchain
from sandbox.bucket import wait_ready
from sandbox.storage_server import prepare_files
from tests.networks import free_port
from tests.waiting import wait_until

READY_SECONDS = 30


@contextmanager
def run_server(
    argv: Sequence[str], environment: Mapping[str, str], log: Path, *, at_once: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; secrets are only in its environment. ``at_once``: it is killed at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv,
            env={"PATH": "/usr/bin:/bin", "HOME": str(log.parent), **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
        )
    try:
        yield process
    finally:
        process.kill() if at_once else process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait_for_server(
    ready: Callable[[], object],
    process: subprocess.Popen[bytes],
    log: Path,
    errors: tuple[type[Exception], ...] = (OSError,),
) -> None:
    """Return when `ready` no longer raises one of `errors`."""
    said = "nothing was asked"

    def answers() -> bool:
        nonlocal said
        assert process.poll() is None, f"server ended: {log.read_text()[-2000:]}"
        try:
            ready()
        except errors as error:
            said = str(error)
            return False
        return True

    wait_until(answers, READY_SECONDS, lambda: f"server not ready ({said}): {log.read_text()[-2000:]}", 0.05)


@dataclass(frozen=True)
class MinioServer:
    """The local stack's storage server; the root key and the certificates are in its folder, as `sandbox.storage_server` writes them."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "certs" / "ca.crt"


@contextmanager
def run_minio(folder: Path) -> Iterator[MinioServer]:
    """minio as the local stack runs it, but on loopback and without a machine."""
    program = toolchain.ensure("minio")["minio"].path
    (folder / "data").mkdir(parents=True)
    prepare_files(folder, "127.0.0.1")
    port, log = free_port(), folder / "server.log"
    argv = [str(program), "server", "--quiet", "--address", f"127.0.0.1:{port}"]
    argv += ["--certs-dir", str(folder / "certs"), str(folder / "data")]
    with run_server(argv, {"MINIO_CONFIG_ENV_FILE": str(folder / "root.env")}, log) as process:
        made = MinioServer(folder, port, process)

        def alive() -> None:
            assert process.poll() is None, f"minio ended: {log.read_text()[-2000:]}"

        wait_ready(folder, made.origin, alive)
        yield made
