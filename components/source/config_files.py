"""The text of files on a source, from validated settings. Pure; nothing that could end a line gets through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from components.host.safe_text import require_line, require_name, require_word

Sandboxing = Literal["full", "reduced"]

RELAY_ALIAS = "lastcopy-relay"
_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]+={0,2}")

# What a restore test compares (components/source/repository.sh plants it): in every snapshot, whatever the user names or leaves out.
CANARY = "/var/lib/lastcopy/canary"

# The kernel's own trees and our cache: never files that somebody could miss.
NEVER_BACKED_UP = ("/dev/*", "/proc/*", "/run/*", "/sys/*", "/var/cache/lastcopy/*")


def public_key(line: str) -> str:
    """The type and base64 part of an ed25519 public key; a comment is dropped. It may have been read from a host."""
    key = " ".join(line.split()[:2])
    if not _KEY.fullmatch(key):
        raise ValueError("the public key is not of the allowed form")
    return key


def known_hosts(relay_host_key: str) -> str:
    """The relay's key under a fixed alias: a changed address needs no new trust, no other key is taken."""
    return f"{RELAY_ALIAS} {public_key(relay_host_key)}\n"


def ssh_config(source: str, address: str, port: int) -> str:
    """How a source dials the relay. Read with ``ssh -F``: no user's and no system's configuration counts."""
    require_name(source, "the source's name")
    require_word(address, "the relay's address")
    return f"""# Made by lastcopy; changes are overwritten.
Host relay
    HostName {address}
    Port {port}
    User bk-{source}
    IdentityFile /etc/lastcopy/id_ed25519
    IdentitiesOnly yes
    IdentityAgent none
    PreferredAuthentications publickey
    BatchMode yes
    # One pinned key, and nothing that could add another.
    HostKeyAlias {RELAY_ALIAS}
    HostKeyAlgorithms ssh-ed25519
    UserKnownHostsFile /etc/lastcopy/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    VerifyHostKeyDNS no
    CheckHostIP no
    # The relay gets a pipe and nothing of this host.
    ForwardAgent no
    ForwardX11 no
    ClearAllForwardings yes
    PermitLocalCommand no
    ControlMaster no
    ControlPath none
    RequestTTY no
    EscapeChar none
    # Fast on any CPU with AES instructions; the relay offers the same three.
    Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com
    Compression no
    ConnectTimeout 20
    ServerAliveInterval 15
    ServerAliveCountMax 4
    LogLevel ERROR
"""


def restic_conf(*, floor: str, connections: int, pack_size_mib: int, compression: str) -> str:
    """How the wrapper calls restic, whoever calls the wrapper."""
    return (
        "# Made by lastcopy; changes are overwritten. Read by restic-backup, never run.\n"
        f"floor={require_word(floor, 'the floor')}\n"
        f"connections={connections}\n"
        f"pack_size={pack_size_mib}\n"
        f"compression={require_word(compression, 'compression')}\n"
    )


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Limits in KiB/s between two minutes of the day; the end may be on the next day. 0: no limit."""

    begin: int
    end: int
    upload: int
    download: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What of the paths is stored, and what is expected of it. ``upload``, ``download``: KiB/s, 0: no limit."""

    one_file_system: bool
    exclude_caches: bool
    exclude_if_present: Sequence[str]
    exclude_larger_than: str | None
    shrink_percent: int
    partial_days: int
    may_be_empty: Sequence[str]
    upload: int
    download: int
    hours: Sequence[Hours]

    def lines(self) -> Iterator[str]:
        """As run-backup and backup-contents read them."""
        if self.one_file_system:
            yield "one_file_system=yes"
        if self.exclude_caches:
            yield "exclude_caches=yes"
        yield from (
            f"exclude_if_present={require_line(tag, 'a tag file')}" for tag in self.exclude_if_present
        )
        if self.exclude_larger_than is not None:
            yield f"exclude_larger_than={require_word(self.exclude_larger_than, 'the size')}"
        yield f"shrink_percent={self.shrink_percent}"
        yield f"partial_days={self.partial_days}"
        yield from (f"may_be_empty={require_line(path, 'a path')}" for path in self.may_be_empty)
        yield f"rate=0 1440 {self.upload} {self.download}"
        for one in self.hours:
            yield f"rate={one.begin} {one.end} {one.upload} {one.download}"  # the last one that fits counts


def backup_conf(
    *,
    source: str,
    read_concurrency: int,
    pre_hook: str | None,
    post_hook: str | None,
    selection: Selection,
) -> str:
    """What the scheduled backup does beside its paths."""
    hooks = {"pre_hook": pre_hook, "post_hook": post_hook}
    lines = [f"{name}={require_word(hook, name)}\n" for name, hook in hooks.items() if hook is not None]
    lines += [f"{line}\n" for line in selection.lines()]
    return (
        "# Made by lastcopy; changes are overwritten. Read by run-backup, never run.\n"
        f"source={require_name(source, 'the source name')}\n"
        f"read_concurrency={read_concurrency}\n" + "".join(lines)
    )


def paths_file(paths: Sequence[str]) -> str:
    """One path per line, the canary last; run-backup hands them to restic NUL-separated, so nothing in them has a meaning."""
    every = [*paths, *([] if CANARY in paths else [CANARY])]
    return "".join(f"{require_line(path, 'a path')}\n" for path in every)


def excludes_file(patterns: Sequence[str]) -> str:
    """restic's patterns, one per line, without what its exclude *file* adds to the language of patterns.

    In such a file ``$NAME`` is an environment variable, ``#`` begins a comment and outer blanks are dropped
    (restic 0.19.1, internal/filter/exclude.go); here they stand for themselves. No pattern leaves the canary out.
    """
    lines = [
        "# Made by lastcopy; changes are overwritten. restic patterns; $$ is a dollar sign.",
        *NEVER_BACKED_UP,
    ]
    for pattern in patterns:
        text = require_line(pattern, "an exclude pattern")
        if text[0] in "#":
            text = f"[{text[0]}]{text[1:]}"
        if text[0].isspace():
            text = f"[{text[0]}]{text[1:]}"
        if text[-1].isspace():
            text = f"{text[:-1]}[{text[-1]}]"
        lines.append(text.replace("$", "$$"))
    lines.append(f"!{CANARY}")  # the last word counts
    return "\n".join(lines) + "\n"


def timer_unit(*, source: str, on_calendar: str, randomized_delay: str) -> str:
    """When backups start. A run that was missed while the host was off starts after boot."""
    calendar = require_line(on_calendar, "the schedule").replace("%", "%%")
    delay = require_line(randomized_delay, "the randomized delay").replace("%", "%%")
    return f"""# Made by lastcopy; changes are overwritten.
[Unit]
Description=When lastcopy backs up {require_name(source, "the source name")}

[Timer]
OnCalendar={calendar}
RandomizedDelaySec={delay}
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
"""


# What a backup may do to its host. The first ones want a mount namespace, which a container may not be able to make; the others are a filter of
# system calls, which any process may set for itself.
_OVER_FILES = """\
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
"""
_OVER_CALLS = """\
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
KeyringMode=private
"""


def sandboxing(kind: Sandboxing) -> str:
    """The unit's lines that confine a backup: ``full``, or ``reduced`` to what holds without a mount namespace."""
    return f"NoNewPrivileges=yes\n{_OVER_FILES if kind == 'full' else ''}{_OVER_CALLS}"


def service_unit(*, source: str, confined: Sandboxing = "full") -> str:
    """One backup. Of the settings only the source's name is in it; hooks and paths are in files.

    The backup itself can read everything and write nothing but its state and cache (so no
    ProtectKernelModules, PrivateTmp, PrivateDevices: they hide files, and an empty folder would be stored); hooks are the
    operator's programs and run with a root's full rights (``+``). Exit codes and what is retried:
    components/source/run-backup.
    """
    return f"""# Made by lastcopy; changes are overwritten.
[Unit]
Description=lastcopy backup of {require_name(source, "the source name")}
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=+/usr/local/lib/lastcopy/run-backup pre
ExecStart=/usr/local/lib/lastcopy/run-backup backup
ExecStopPost=+/usr/local/lib/lastcopy/run-backup finish
SuccessExitStatus=3 143
Restart=on-failure
RestartPreventExitStatus=64 65 66 67 68 70 71 72 73 77
RestartSec=1min
TimeoutStartSec=7d
TimeoutStopSec=10min
KillMode=mixed
NotifyAccess=all
Nice=10
IOSchedulingClass=idle
StateDirectory=lastcopy
StateDirectoryMode=0755
CacheDirectory=lastcopy
CacheDirectoryMode=0700
UMask=0077
{sandboxing(confined)}"""


def backoff_drop_in() -> str:
    """Growing pauses between retries, for systemd 254 and later; older ones try every minute."""
    return """# Made by lastcopy; changes are overwritten.
[Service]
RestartSteps=5
RestartMaxDelaySec=30min
"""
