"""restic on a repository as it was (a view that is served here) or as it is (over rclone): no secret in an argument or a variable, nothing of the
caller's environment.
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
# Without the cache: restic gives up where another one has begun the same cache a moment ago (restic#21940), and the check begins at the same time.
LIST = ("snapshots", "--json", "--no-cache")
CHECK = ("check", "--with-cache")  # what it read of index and trees stays cached for what comes next
# A way out through a proxy is the network's, not a secret of ours or a setting of the tools.
_PROXY = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The two programs, at the versions that the project pins."""

    restic: Path
    rclone: Path

    @classmethod
    def get(cls) -> Tools:
        found = toolchain.ensure("restic", "rclone")
        return cls(restic=found["restic"].path, rclone=found["rclone"].path)


@dataclass(frozen=True, kw_only=True)
class ResticResult:
    """What restic said, its words escaped. ``wrong``: files that it restored and then read back as something else."""

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

    ``served``: the socket of the view of that moment (view.py); of the present there is none.
    ``key_hint``: restic tries this key first; without it, it tries 20 in the order of their names and gives up at a malformed one.
    ``writes``: for the trusted prune alone; restic takes its own lock and may hide objects.
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
        """The argument vector. ``--no-lock`` unless it writes: a view of the past cannot be locked, and a look need not be."""
        serve = [
            "serve", "restic", "--stdio", "--config", str(self.folder / "rclone.conf"),
            *(["--ca-cert", str(self.folder / "ca.pem")] if self.access.where.ca_certificate else []),
            "--contimeout", "15s", "--ask-password=false", *rclone_config.upload_arguments(self.access.where.uploads()),
        ]  # fmt: skip
        # A cache for each view: restic trusts a cached index by its name, and names here were overwritten.
        cache = self.folder / f"cache-{self.served.name if self.served else 'now'}"
        if self.served:
            reach = ["-r", f"rest:http+unix://{self.served}:/", "-o", f"rest.connections={CONNECTIONS}"]
        else:
            reach = [
                # Its last slash keeps rclone from taking the path for a file, and serving the folder above.
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
        """One command to its end. Ends with the caller, with the time to give a lock back."""
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

    def follow(self, *words: str, told: Callable[[dict[str, Any]], None]) -> ResticResult:
        """One command with ``--json``: each line of its output is told as it comes. Ends with the caller, whatever ends him."""
        return follow_command(self.words(*words, "--json"), self.environment(), self.folder, told)

    @contextmanager
    def start(self, *words: str) -> Iterator[Callable[[], ResticResult]]:
        """One command while the caller does something else; its answer when he asks for it. Ends with the block, asked or not."""
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
        """What restic can read of the snapshots, as it tells it; ``answer``: where it was asked already."""
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
    told: Callable[[dict[str, Any]], None],
    stdin: str | None = None,
) -> ResticResult:
    """A command whose lines of JSON are told as they come. ``stdin``: what it gets there; the pipe stays open for as long as we listen."""
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
                with contextlib.suppress(BrokenPipeError):  # it ended at once, and says why
                    running.stdin.write(stdin)
                    running.stdin.flush()
            for line in running.stdout or ():
                message = _json(line)
                if message is None:
                    said.append(line)
                else:
                    told(message)
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
    """As restic splits it again."""
    if not set(word) & set(" \t'\"\\"):
        return word
    if "'" in word or "\\" in word:
        raise LastcopyError(
            "a path holds a quote or a backslash, which restic cannot hand on",
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
    """The file that `--verify` found to be other than it must be."""
    message = _json(line) or {}
    error, item = message.get("error", {}), message.get("item")
    text = str(error.get("message", "")) if isinstance(error, dict) else ""
    if isinstance(item, str) and text.startswith(("Unexpected content in ", "Invalid file size for ")):
        yield item


def _last_words(text: str, lines: int = 12) -> str:
    """The end of what a program said, each line escaped."""
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join(f"    {escape_text(line.rstrip(), 300)}" for line in kept)


@contextmanager
def open_workspace(access: Access, parent: Path | None = None) -> Iterator[Path]:
    """A private folder with password, rclone.conf, storage key and CA, gone at the end however it ends."""
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
    """A file with the storage's own CA, where it has one."""
    with private_folder("ca") as folder:
        file = folder / "ca.pem"
        if where.ca_certificate:
            _private(file, where.ca_certificate)
        yield file if where.ca_certificate else None


def _private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
