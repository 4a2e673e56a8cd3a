"""The units that run backups, and what confines them. Pure text, no engine."""

from __future__ import annotations

from typing import Literal

from components.host.safe_text import require_line, require_name

Sandboxing = Literal["full", "reduced"]


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


# What a backup may do to its host. The first settings need a mount namespace, which a container may not be able to make; the others filter
# system calls, which any process may do for itself.
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
    """The unit's lines that confine a backup: ``full``, or ``reduced`` to what works without a mount namespace."""
    return f"NoNewPrivileges=yes\n{_OVER_FILES if kind == 'full' else ''}{_OVER_CALLS}"


def service_unit(*, source: str, confined: Sandboxing = "full") -> str:
    """One backup. Of the settings it contains only the source's name; hooks and paths are in files.

    The backup itself can read everything and write only its state and cache. (So there is no
    ProtectKernelModules, PrivateTmp or PrivateDevices: they hide files, and empty folders would be stored.) Hooks are the
    operator's programs and run with full root rights (``+``). Exit codes and what is retried:
    components/source/schedule/run-backup.
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
    """Growing pauses between retries, for systemd 254 and later; older versions retry every minute."""
    return """# Made by lastcopy; changes are overwritten.
[Service]
RestartSteps=5
RestartMaxDelaySec=30min
"""
