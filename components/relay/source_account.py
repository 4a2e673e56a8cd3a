"""The text of one source's files on the relay: its key's line, rclone's configuration, limits and arguments. Pure text, no engine.

Every function refuses a value that could end its line or start an option; settings have refused it before, with a better error.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from components.relay import rclone_config as s3_remote
from components.relay.rclone_config import REMOTE
from components.relay.sshd_config import WRAPPER
from components.storage.service_facts import Uploads

FOLDER = "/etc/lastcopy/relay"
CA_FILE = f"{FOLDER}/storage-ca.pem"
_SOURCE = re.compile(r"[a-z][a-z0-9-]{0,22}\Z")
_PATH = re.compile(r"(?:[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*)?\Z")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one source may use on the relay. Memory and time are per session; a session is one restic at work.

    ``upload_gib_per_day``: None is no limit.
    """

    sessions: int = 4
    processes: int = 256
    memory_mib: int = 1024
    open_files: int = 1024
    hours: int = 24
    upload_gib_per_day: int | None = None

    @property
    def daily_bytes(self) -> str:
        """As the relay's step takes it; empty is no limit."""
        return "" if self.upload_gib_per_day is None else str(self.upload_gib_per_day << 30)

    def __post_init__(self) -> None:
        for name, least, most in (
            ("sessions", 1, 64),
            ("processes", 64, 4096),
            ("memory_mib", 256, 65536),
            ("open_files", 64, 65536),
            ("hours", 1, 720),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"limit {name} must be {least} to {most}, not {getattr(self, name)}")
        if self.upload_gib_per_day is not None and not 1 <= self.upload_gib_per_day <= 1 << 20:
            raise ValueError(
                f"limit upload_gib_per_day must be 1 to {1 << 20}, not {self.upload_gib_per_day}"
            )


def source_name(source: str) -> str:
    if not _SOURCE.match(source):
        raise ValueError(f"not a source's name: {source!r}")
    return source


def storage_path(root: str, source: str, generation: int) -> str:
    """Below a bucket or a remote: ``<root>/<source>/g<generation>``."""
    root = root.strip("/")
    if not _PATH.match(root) or ".." in root.split("/") or "." in root.split("/"):
        raise ValueError(f"not a path inside the storage: {root!r}")
    if generation < 1:
        raise ValueError(f"generations count from 1, not {generation}")
    return f"{root}/{source_name(source)}/g{generation}".lstrip("/")


def public_key(text: str) -> str:
    """``ssh-ed25519 <base64>`` without its comment; nothing else is accepted from a source."""
    words = text.strip().split(" ")
    blob = b""
    if len(words) >= 2 and words[0] == "ssh-ed25519":
        try:
            blob = base64.b64decode(words[1], validate=True)
        except ValueError:
            blob = b""
    if (
        len(blob) != 51
        or not blob.startswith(b"\0\0\0\x0bssh-ed25519\0\0\0\x20")
        or not text.strip().isprintable()
    ):
        raise ValueError("not a public key of the form 'ssh-ed25519 AAAA… comment'")
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def authorized_key(source: str, key: str, allowed_from: Sequence[str]) -> str:
    """The one line of the source's key file."""
    networks = [str(ipaddress.ip_network(network)) for network in allowed_from]
    origin = f',from="{",".join(networks)}"' if networks else ""
    return f'restrict,command="{WRAPPER} {source_name(source)}"{origin} {public_key(key)} {source}\n'


def section_conf(section: str) -> str:
    """rclone.conf from the ``key = value`` lines of a stack file's secret section; its name becomes ours."""
    found: dict[str, str] = {}
    for number, line in enumerate(section.splitlines(), start=1):
        line = line.strip()
        if not line or line[0] in "#;[":
            continue
        key, sign, value = line.partition("=")
        if not sign or not re.fullmatch(r"[a-z0-9_]+", key.strip()):
            raise ValueError(f"line {number} of the rclone section is not of the form key = value")
        found[key.strip()] = value.strip()
    if "type" not in found:
        raise ValueError("the rclone section has no line 'type = …'")
    return s3_remote.section(found)


def credentials_file(source: str) -> str:
    """Where the relay keeps the source's storage key."""
    return f"{FOLDER}/{source_name(source)}/credentials"


def arguments(source: str, *, path: str, uploads: Uploads | None, ca: bool) -> tuple[str, ...]:
    """rclone's whole command line in a session of the source, as the storage step uses it too.

    ``path`` as ``storage_path`` makes it; ``uploads``: None where the storage is no S3.
    """
    found = (
        "serve",
        "restic",
        "--stdio",
        "--append-only",
        "--config",
        f"{FOLDER}/{source_name(source)}/rclone.conf",
        *(["--ca-cert", CA_FILE] if ca else []),
        # The storage itself refuses a second write of a name (412), whoever races past rclone's own look.
        *(["--header-upload", "If-None-Match: *"] if uploads and uploads.condition else []),
        *(s3_remote.upload_arguments(uploads) if uploads else ()),
        "--ask-password=false",
        "--contimeout",
        "15s",
        "--low-level-retries",
        "3",
        "--stats",
        "0",
        "--log-level",
        "NOTICE",
        # With its last slash: else rclone asks whether this is a file, takes many an answer for yes, and serves the folder above (S6).
        f"{REMOTE}:{path}/",
    )
    if any(not argument.isprintable() or argument != argument.strip() for argument in found):
        raise ValueError("an argument of rclone would break its line")
    return found


def serve_conf(source: str, *, path: str, limits: Limits, uploads: Uploads | None, ca: bool) -> str:
    """serve.conf: the source's limits, and rclone's command line, one argument a line."""
    s3 = uploads is not None
    lines = [
        "# Made by lastcopy (RelayEntry); read by serve-restic.",
        f"sessions {limits.sessions}",
        f"processes {limits.processes}",
        f"memory_mib {limits.memory_mib}",
        f"open_files {limits.open_files}",
        f"hours {limits.hours}",
        # Objects pass through memory; only a remote of another kind than S3 may need a spool file.
        f"file_bytes {0 if s3 else 1 << 30}",
        # How a look at the storage may end: on S3 "not found" means a missing bucket, elsewhere a repository not made yet.
        f"look_fine {'0' if s3 else '0 3'}",
        *(f"arg {argument}" for argument in arguments(source, path=path, uploads=uploads, ca=ca)),
    ]
    return "\n".join(lines) + "\n"


HOLD_UNIT = """\
[Unit]
Description=lastcopy: hold the sources to what they may send in a day
ConditionPathExistsGlob=/etc/lastcopy/relay/*/daily
# After a ruleset of the host's own, whose load flushes every table.
After=nftables.service
[Service]
Type=oneshot
ExecStart=/usr/local/lib/lastcopy/hold-limits
"""

# By the clock: a unit whose condition fails never counts as having been active.
HOLD_TIMER = """\
[Unit]
Description=lastcopy: hold the sources to what they may send in a day
[Timer]
OnBootSec=1s
OnCalendar=minutely
AccuracySec=1s
[Install]
WantedBy=timers.target
"""
