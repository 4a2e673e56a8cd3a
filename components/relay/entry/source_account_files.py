"""The text of one source's files on the relay: its authorized key, rclone's configuration, limits and arguments. Pure text, no engine.

Nothing that could end a line or start an option gets through (components/host/safe_text.py).
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Sequence

from components.host.safe_text import require_name, require_word
from components.relay.entry import rclone_config
from components.relay.entry.rclone_config import REMOTE
from components.relay.sshd.sshd_config import WRAPPER
from components.settings import Limits
from components.storage.service_facts import Uploads

FOLDER = "/etc/lastcopy/relay"
CA_FILE = f"{FOLDER}/storage-ca.pem"


def storage_path(root: str, source: str, generation: int) -> str:
    """The path below a bucket or a remote: ``<root>/<source>/g<generation>``."""
    root = root.strip("/")
    words = [require_word(part, "the path inside the storage") for part in root.split("/")] if root else []
    if {".", ".."} & set(words):
        raise ValueError("the path inside the storage is not of the allowed form")
    return "/".join([*words, require_name(source, "the source's name"), f"g{generation}"])


def daily_bytes(limits: Limits) -> str:
    """How many bytes a source may send in a day, in the form of the relay's step; empty means no limit."""
    return "" if limits.upload_gib_per_day is None else str(limits.upload_gib_per_day << 30)


def public_key(text: str) -> str:
    """``ssh-ed25519 <base64>`` without the comment; nothing else is accepted from a source."""
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
    """The only line of the source's key file."""
    networks = [str(ipaddress.ip_network(network)) for network in allowed_from]
    origin = f',from="{",".join(networks)}"' if networks else ""
    name = require_name(source, "the source's name")
    return f'restrict,command="{WRAPPER} {name}"{origin} {public_key(key)} {name}\n'


def section_conf(section: str) -> str:
    """rclone.conf made from the ``key = value`` lines of a stack file's secret section, under a fixed name."""
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
    return rclone_config.section(found)


def _folder(source: str) -> str:
    """Where the relay keeps the files of this source alone."""
    name = require_name(source, "the source's name")
    return f"{FOLDER}/{name}"


def credentials_file(source: str) -> str:
    """Where the relay keeps the source's storage key."""
    return f"{_folder(source)}/credentials"


def arguments(source: str, *, path: str, uploads: Uploads | None, ca: bool) -> tuple[str, ...]:
    """rclone's whole command line in a session of the source; the storage step uses it, too.

    ``path`` comes from ``storage_path``. ``uploads`` is None if the storage is not S3.
    """
    found = (
        "serve",
        "restic",
        "--stdio",
        "--append-only",
        "--config",
        f"{_folder(source)}/rclone.conf",
        *(["--ca-cert", CA_FILE] if ca else []),
        # The storage itself refuses a second write of a name (412), even if rclone's own check is outrun.
        *(["--header-upload", "If-None-Match: *"] if uploads and uploads.condition else []),
        *(rclone_config.upload_arguments(uploads) if uploads else ()),
        "--ask-password=false",
        "--contimeout",
        "15s",
        "--low-level-retries",
        "3",
        "--stats",
        "0",
        "--log-level",
        "NOTICE",
        # The trailing slash matters: without it, rclone asks whether this is a file, takes many answers for yes, and serves the folder above (S6).
        f"{REMOTE}:{path}/",
    )
    if any(not argument.isprintable() or argument != argument.strip() for argument in found):
        raise ValueError("an argument of rclone would break its line")
    return found


def serve_conf(source: str, *, path: str, limits: Limits, uploads: Uploads | None, ca: bool) -> str:
    """serve.conf: the source's limits, and rclone's command line with one argument a line."""
    s3 = uploads is not None
    lines = [
        "# Made by lastcopy (RelayEntry); read by serve-restic.",
        f"sessions {limits.sessions}",
        f"processes {limits.processes}",
        f"memory_mib {limits.memory_mib}",
        f"open_files {limits.open_files}",
        f"hours {limits.hours}",
        # Objects pass through memory; only remotes other than S3 may need a spool file.
        f"file_bytes {0 if s3 else 1 << 30}",
        # What rclone may answer for a missing path: on S3 "not found" means a missing bucket, elsewhere a repository that does not exist yet.
        f"look_fine {'0' if s3 else '0 3'}",
        *(f"arg {argument}" for argument in arguments(source, path=path, uploads=uploads, ca=ca)),
    ]
    return "\n".join(lines) + "\n"
