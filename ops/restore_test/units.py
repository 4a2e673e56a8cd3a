"""Units: a systemd service and timer that run the restore test at a trusted place, and a service that raises the alarm if it could not run.

They contain no secrets: systemd passes the files to the service.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ops.errors import LastcopyError, escape_text, raise_all
from toolchain.checkout import ROOT

NAME = "lastcopy-restore-drill"
# Characters that need no quoting anywhere in a unit.
_PLAIN = re.compile(r"[A-Za-z0-9_./=@:+,-]+")
_SCHEDULE = re.compile(r"[A-Za-z0-9 *:.,/~+-]{1,100}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def make_units(
    *,
    stack: str | None,
    environment_file: Path | None,
    credentials: Mapping[str, str],
    words: Sequence[str],
    on_failure: Path | None,
    schedule: str,
    user: str,
    tools: Path,
) -> dict[str, str]:
    """File name and content of each unit. Raises LastcopyError with all problems at once.

    ``credentials``: the option's name and the path of the secret's file at the trusted place. ``tools``: the tool cache for the service; systemd
    sets no XDG_CACHE_HOME and a different HOME than the shell, so it would look for the tools elsewhere. ``environment_file``: with a
    stack, a file that gives `pulumi` its backend, secrets provider and credentials, because there is no shell.
    """
    arguments = [
        *([f"--stack={stack}"] if stack else []),
        *words,
        *([f"--on-failure={on_failure}"] if on_failure else []),
    ]
    raise_all(
        [
            *_check_words(credentials, environment_file, arguments, tools),
            *_check_paths(credentials, {"on-failure": on_failure, "environment-file": environment_file}),
            *_check_options(stack, environment_file, schedule, user),
        ]
    )
    made = {
        f"{NAME}.service": _service(credentials, environment_file, arguments, on_failure, user, tools),
        f"{NAME}.timer": _timer(schedule),
    }
    if on_failure:
        made[f"{NAME}-failed.service"] = _failed(on_failure, user)
    return made


def _check_words(
    credentials: Mapping[str, str], environment_file: Path | None, arguments: Sequence[str], tools: Path
) -> Iterator[LastcopyError]:
    """What systemd would read otherwise than it is meant."""
    for word in (
        *credentials.values(),
        *([str(environment_file)] if environment_file else []),
        *(word.replace("%", "") for word in arguments),
        sys.executable,
        str(ROOT),
        str(tools),
    ):
        if not _PLAIN.fullmatch(word):
            yield LastcopyError(
                f"{escape_text(word)} cannot be written into a unit",
                allowed="letters, digits and _ . / = @ : + , -",
            )


def _check_paths(credentials: Mapping[str, str], files: Mapping[str, Path | None]) -> Iterator[LastcopyError]:
    for name, path in (*credentials.items(), *((name, str(file)) for name, file in files.items() if file)):
        if not path.startswith("/"):
            yield LastcopyError(
                f"{escape_text(path)} is not an absolute path",
                where=f"--{name}",
                fix="give the file's path at the trusted place",
            )


def _check_options(
    stack: str | None, environment_file: Path | None, schedule: str, user: str
) -> Iterator[LastcopyError]:
    if bool(stack) is not bool(environment_file):
        yield LastcopyError(
            "a unit has no shell that tells `pulumi` the stack's backend"
            if stack
            else "a kit needs no `pulumi`",
            where="--environment-file",
            allowed="only with --stack, and required there: a file at the trusted place with lines NAME=VALUE: PULUMI_BACKEND_URL,"
            " PULUMI_CONFIG_PASSPHRASE_FILE, AWS_…, and PATH if `pulumi` is elsewhere",
        )
    if not _SCHEDULE.fullmatch(schedule):
        yield LastcopyError(
            f"{escape_text(schedule)} is not a schedule",
            where="--schedule",
            allowed="a systemd OnCalendar expression",
        )
    if not _USER.fullmatch(user):
        yield LastcopyError(f"{escape_text(user)} is not a user's name", where="--user")


def _service(
    credentials: Mapping[str, str],
    environment_file: Path | None,
    arguments: Sequence[str],
    on_failure: Path | None,
    user: str,
    tools: Path,
) -> str:
    command = [sys.executable, "-m", "ops", "restore-test", "run"]
    command += [f"--{name}=%d/{name}" for name in credentials]
    command += [f"--scratch=%C/{NAME}", f"--record=%S/{NAME}/record.jsonl"]
    command += [word.replace("%", "%%") for word in arguments]
    loads = "\n".join(f"LoadCredential={name}:{path}" for name, path in credentials.items())
    if environment_file:
        loads += f"\nEnvironmentFile={environment_file}"
    lines = " \\\n    ".join(command)
    rings = f"OnFailure={NAME}-failed.service\n" if on_failure else ""
    return f"""# Made by `lastcopy restore-test units`. What failed: journalctl -u {NAME}; record: /var/lib/{NAME}/record.jsonl
[Unit]
Description=lastcopy restore test: restores and verifies every source's newest snapshot
Wants=network-online.target
After=network-online.target time-sync.target
{rings}
[Service]
Type=oneshot
User={user}
WorkingDirectory={ROOT}
Environment=LASTCOPY_CACHE={tools}
# Read by systemd as root, for this service alone.
{loads}
ExecStart={lines}
StateDirectory={NAME}
StateDirectoryMode=0700
CacheDirectory={NAME}
CacheDirectoryMode=0700
TimeoutStartSec=2d
Nice=10
IOSchedulingClass=idle
UMask=0077
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictRealtime=yes
LockPersonality=yes
KeyringMode=private
"""


def _timer(schedule: str) -> str:
    return f"""# Made by `lastcopy restore-test units`.
[Unit]
Description=Schedule of the lastcopy restore test

[Timer]
OnCalendar={schedule}
RandomizedDelaySec=2h
Persistent=true

[Install]
WantedBy=timers.target
"""


def _failed(on_failure: Path, user: str) -> str:
    """The unit that raises the alarm if the test could not do so: a credential is missing, it was killed, or timed out. After 1 and 130 it has."""
    return f"""# Made by `lastcopy restore-test units`.
[Unit]
Description=lastcopy restore test: reports that it could not run

[Service]
Type=oneshot
User={user}
ExecStart=/bin/sh -c 'case "$$MONITOR_EXIT_CODE $$MONITOR_EXIT_STATUS" in "exited 1" | "exited 130") exit 0 ;; esac; \
    echo "the restore test could not run: $$MONITOR_SERVICE_RESULT $$MONITOR_EXIT_STATUS; why: journalctl -u {NAME}" | {on_failure}'
NoNewPrivileges=yes
ProtectSystem=full
"""


def write(path: Path, text: str) -> None:
    """Write a new file. An existing file is never replaced. Raises LastcopyError."""
    try:
        with path.open("x") as file:
            file.write(text)
    except OSError as error:
        raise LastcopyError(
            f"{escape_text(path)} cannot be written: {error.strerror}", where="--out"
        ) from None
