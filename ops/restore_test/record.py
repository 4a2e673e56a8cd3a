"""The record of restore tests: one JSON line per source and test, in a file that only its owner can read; and the alarm after a failure."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.errors import LastcopyError, escape_text
from ops.history.versions import iso
from ops.restore_test.trial import Extent, RestoreTestResult

ALARM_SECONDS = 60


def default_file() -> Path:
    """The record's default file, below XDG_STATE_HOME or its default."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "lastcopy" / "restore-drill.jsonl"


def make_line(result: RestoreTestResult, extent: Extent) -> dict[str, Any]:
    """The record of one source's restore test. It contains no secret."""
    return {
        "format": 1,
        "at": iso(datetime.now(UTC).replace(microsecond=0)),
        "source": result.source,
        "result": result.verdict,
        "problems": [str(problem) for problem in result.problems],
        "notices": list(result.notices),
        "repository": result.repository,
        "snapshot": result.snapshot,
        "stored": iso(result.stored) if result.stored else None,
        "canaryFiles": result.canaries,
        "extent": "all" if extent.everything else "sample",
        "seed": extent.seed,
        "sampleMiB": extent.sample_bytes >> 20,
        "readDataSubset": extent.read_subset,
        "files": result.files,
        "bytes": result.size,
        "seconds": {name: round(spent, 3) for name, spent in result.seconds.items()},
    }


def append(file: Path, result: RestoreTestResult, extent: Extent) -> None:
    """Append one line to the file and flush it to the disk. Raises LastcopyError."""
    line = json.dumps(make_line(result, extent), sort_keys=True) + "\n"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        handle = os.open(file, flags, 0o600)
        try:
            os.fchmod(handle, 0o600)
            before = os.fstat(handle).st_size
            if os.write(handle, line.encode()) != len(line):
                os.ftruncate(handle, before)  # a partial line would corrupt the next one
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise LastcopyError(
            f"the record {escape_text(file)} cannot be written: {error.strerror}",
            where="--record",
            allowed="a regular file that you own, or a path where one can be created",
        ) from None


def check_program(program: Path) -> None:
    """Check before the test that the alarm program can be run. Raises LastcopyError."""
    if not program.is_absolute() or not program.is_file() or not os.access(program, os.X_OK):
        raise LastcopyError(
            f"{escape_text(program)} cannot be run",
            where="--on-failure",
            allowed="the absolute path of a program; it gets the text on standard input",
        )


def send_alarm(program: Path, text: str) -> str:
    """Run the program with the text on standard input. Returns what went wrong, or nothing."""
    environment = {name: os.environ[name] for name in ("HOME", "PATH", "LANG", "USER") if name in os.environ}
    try:
        done = subprocess.run(
            [program], input=text.encode(), env=environment, timeout=ALARM_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{escape_text(program)} could not be run: {escape_text(error)}"
    return f"{escape_text(program)} ended with exit status {done.returncode}" if done.returncode else ""
