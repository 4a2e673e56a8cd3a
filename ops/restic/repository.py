"""Runs restic on a repository as it was (through a view served here) or as it is (over rclone). No secret is in an argument or an environment
variable, and nothing is taken from the caller's environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toolchain
from components.relay.entry import rclone_config
from ops.errors import LastcopyError, escape_text
from ops.private_folder import private_folder
from ops.storage.access import Access, StorageLocation

CONNECTIONS = 8
# Without the cache: restic fails if another process has just begun the same cache (restic#21940), and the check starts at the same time.
LIST = ("snapshots", "--json", "--no-cache")
CHECK = ("check", "--with-cache")  # the index and trees that it reads stay cached for later commands
# The proxy is a property of the network, not a secret and not a setting of the tools.
_PROXY = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """restic and rclone at the versions that the project pins."""

    restic: Path
    rclone: Path

    @classmethod
    def get(cls) -> Tools:
        found = toolchain.ensure("restic", "rclone")
        return cls(restic=found["restic"].path, rclone=found["rclone"].path)


@dataclass(frozen=True, kw_only=True)
class ResticResult:
    """What restic printed, escaped. ``wrong``: files that it restored but that differ when read back."""

    code: int
    out: str
    words: str
    wrong: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.code == 0


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository as it was (read-only by construction), or as it is now.

    ``served``: the socket of the view of that moment (view.py); None for the present. ``key_hint``: the key that restic tries first; without it,
    restic tries 20 keys in the order of their names and stops at a malformed one. ``writes``: only for the trusted prune; restic then takes
    its lock and may hide objects.
    """

    access: Access
    tools: Tools
    folder: Path
    served: Path | None
    key_hint: str | None
    writes: bool = False

    def __post_init__(self) -> None:
        if self.writes and self.served:
            raise AssertionError("the past is read-only")

    def words(self, *words: str) -> list[str]:
        """The argument vector. ``--no-lock`` unless it writes: a view of the past cannot be locked, and reading needs no lock."""
        serve = [
            "serve", "restic", "--stdio", "--config", str(self.folder / "rclone.conf"),
            *(["--ca-cert", str(self.folder / "ca.pem")] if self.access.where.ca_certificate else []),
            "--contimeout", "15s", "--ask-password=false", *rclone_config.upload_arguments(self.access.where.uploads()),
        ]  # fmt: skip
        # One cache per view: restic trusts a cached index by its name, and objects may have been overwritten under their names.
        cache = self.folder / f"cache-{self.served.name if self.served else 'now'}"
        if self.served:
            reach = ["-r", f"rest:http+unix://{self.served}:/", "-o", f"rest.connections={CONNECTIONS}"]
        else:
            reach = [
                # The trailing slash stops rclone from treating the path as a file and serving the parent folder.
                "-r", f"rclone:vault:{self.access.where.bucket}/{self.access.path}/",
                "-o", f"rclone.program={_quoted(str(self.tools.rclone))}",
                "-o", f"rclone.args={' '.join(_quoted(word) for word in serve)}",
                "-o", f"rclone.connections={CONNECTIONS}",
            ]  # fmt: skip
        return [
            str(self.tools.restic),
            *reach,
            "--password-file", str(self.folder / "password"),
            "--cache-dir", str(cache),
            *([] if self.writes else ["--no-lock"]),
            *(["--key-hint", self.key_hint] if self.key_hint else []),
            *words,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        proxy = {name: os.environ[name] for name in _PROXY if name in os.environ}
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "LC_ALL": "C.UTF-8",
            **rclone_config.ENVIRONMENT,
            **proxy,
        }

    def ask(self, *words: str) -> ResticResult:
        """Run one command to its end. If the caller is interrupted, restic is terminated and gets time to remove its lock."""
        with subprocess.Popen(
            self.words(*words),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as running:
            try:
                out, errors = running.communicate()
            except BaseException:
                running.terminate()
                running.communicate(timeout=20)
                raise
        return ResticResult(code=running.returncode, out=out, words=_last_words(errors or out))

    def follow(self, *words: str, report: Callable[[dict[str, Any]], None]) -> ResticResult:
        """Run one command with ``--json`` and pass each line of its output to ``report`` as it arrives. It is terminated if the caller is interrupted."""
        return follow_command(self.words(*words, "--json"), self.environment(), self.folder, report)

    @contextmanager
    def start(self, *words: str) -> Iterator[Callable[[], ResticResult]]:
        """Start one command in the background. Yields a function that waits for its result. The command is terminated at the end of the block."""
        with (
            tempfile.TemporaryFile("w+", errors="replace", dir=self.folder) as out,
            tempfile.TemporaryFile("w+", errors="replace", dir=self.folder) as errors,
            subprocess.Popen(
                self.words(*words),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
            ) as running,
        ):

            def answer() -> ResticResult:
                code = running.wait()
                out.seek(0)
                errors.seek(0)
                said = out.read()
                return ResticResult(code=code, out=said, words=_last_words(errors.read() or said))

            try:
                yield answer
            finally:
                if running.poll() is None:
                    running.terminate()
                    running.wait(20)

    def snapshots(self, answer: ResticResult | None = None) -> list[dict[str, Any]]:
        """The snapshots that restic can read, as `restic snapshots --json` lists them. ``answer``: the result, if it was listed already."""
        answer = answer or self.ask(*LIST)
        try:
            found = json.loads(answer.out)
        except ValueError:
            found = None
        if not isinstance(found, list):
            raise LastcopyError(
                f"the snapshots cannot be listed (restic exit code {answer.code}):\n{answer.words}"
            )
        return [one for one in found if isinstance(one, dict) and isinstance(one.get("id"), str)]


def follow_command(
    words: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    report: Callable[[dict[str, Any]], None],
    stdin: str | None = None,
) -> ResticResult:
    """Run a command and pass each line of JSON to ``report`` as it arrives. ``stdin``: text to send; the pipe stays open until the command ends."""
    said: list[str] = []
    with (
        tempfile.TemporaryFile("w+", errors="replace", dir=folder) as errors,
        subprocess.Popen(
            list(words),
            env=dict(environment),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        ) as running,
    ):
        try:
            if stdin is not None and running.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # it ended at once; its output says why
                    running.stdin.write(stdin)
                    running.stdin.flush()
            for line in running.stdout or ():
                message = _json(line)
                if message is None:
                    said.append(line)
                else:
                    report(message)
            running.wait()
        except BaseException:
            running.terminate()
            running.wait(20)
            raise
        errors.seek(0)
        wrong: list[str] = []
        for line in errors:
            said.append(_error_of(line))
            wrong += _wrong(line)
    return ResticResult(code=running.returncode, out="", words=_last_words("".join(said)), wrong=tuple(wrong))


def _quoted(word: str) -> str:
    """Quote a word in the way that restic splits it."""
    if not set(word) & set(" \t'\"\\"):
        return word
    if "'" in word or "\\" in word:
        raise LastcopyError(
            "a path contains a quote or a backslash, which restic cannot pass on",
            where=word,
            fix="use another TMPDIR or LASTCOPY_CACHE",
        )
    return f"'{word}'"


def _json(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _error_of(line: str) -> str:
    message = _json(line)
    if message is None:
        return line
    error = message.get("error", {})
    text = error.get("message", "") if isinstance(error, dict) else error
    return f"{message.get('item', '')}: {text or message.get('message', '')}\n"


def _wrong(line: str) -> Iterator[str]:
    """The file that `--verify` found to have wrong content."""
    message = _json(line) or {}
    error, item = message.get("error", {}), message.get("item")
    text = str(error.get("message", "")) if isinstance(error, dict) else ""
    if isinstance(item, str) and text.startswith(("Unexpected content in ", "Invalid file size for ")):
        yield item


def _last_words(text: str, lines: int = 12) -> str:
    """The last lines of a program's output, each escaped."""
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join(f"    {escape_text(line.rstrip(), 300)}" for line in kept)


@contextmanager
def open_workspace(access: Access, parent: Path | None = None) -> Iterator[Path]:
    """A private folder with password, rclone.conf, storage key and CA. It is removed at the end, however the verb ends."""
    with private_folder("recover", parent) as folder:
        where, key = access.where, access.key
        _private(
            folder / "credentials",
            rclone_config.s3_credentials(
                uploads=where.uploads(),
                access_key_id=key.access_key_id,
                secret_access_key=key.secret_access_key.get_secret_value(),
            ),
        )
        _private(
            folder / "rclone.conf",
            rclone_config.s3_conf(
                uploads=where.uploads(),
                endpoint=where.endpoint,
                region=where.region,
                credentials_file=str(folder / "credentials"),
                remote="vault",
            ),
        )
        _private(folder / "password", access.password.get_secret_value())
        if where.ca_certificate:
            _private(folder / "ca.pem", where.ca_certificate)
        yield folder


@contextmanager
def write_certificate(where: StorageLocation) -> Iterator[Path | None]:
    """A file with the storage's own CA certificate, or None if it has none."""
    with private_folder("ca") as folder:
        file = folder / "ca.pem"
        if where.ca_certificate:
            _private(file, where.ca_certificate)
        yield file if where.ca_certificate else None


def _private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
