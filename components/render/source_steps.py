"""What each step on a source is told, whether `pulumi up` sends it or the enrolment script holds it."""

from __future__ import annotations

from pathlib import Path

from components.render import source as render
from components.settings import Source

_FILES = Path(__file__).parent.parent / "files"


def key(expected: str = "") -> dict[str, str]:
    """``expected``: the public key that the stack has for this source, where it has one."""
    return {"EXPECTED": expected}


def client(source: Source, *, floor: str, address: str, port: int, host_key: str) -> dict[str, str]:
    return {
        "SSH_CONFIG": render.ssh_config(source.name, address, port),
        "KNOWN_HOSTS": render.known_hosts(host_key),
        "RESTIC_CONF": render.restic_conf(
            floor=floor,
            connections=source.restic.connections,
            pack_size_mib=source.restic.pack_size_mib,
            compression=source.restic.compression,
        ),
        "WRAPPER": (_FILES / "restic-backup").read_text(),
    }


def repository(source: Source) -> dict[str, str]:
    """Beside it the step needs the secret PASSWORD."""
    return {"SOURCE": source.name, "GENERATION": str(source.generation)}


def schedule(source: Source) -> dict[str, str]:
    hooks = [hook for hook in (source.pre_hook, source.post_hook) if hook is not None]
    return {
        "RUN_BACKUP": (_FILES / "run-backup").read_text(),
        "BACKUP_CONF": render.backup_conf(
            source=source.name,
            read_concurrency=source.restic.read_concurrency,
            pre_hook=source.pre_hook,
            post_hook=source.post_hook,
        ),
        "PATHS": render.paths_file(source.paths),
        "EXCLUDES": render.excludes_file(source.exclude),
        "SERVICE": render.service_unit(source=source.name, confined=source.sandboxing),
        "SANDBOX": render.sandboxing(source.sandboxing),
        "TIMER": render.timer_unit(
            source=source.name, on_calendar=source.schedule, randomized_delay=source.randomized_delay
        ),
        "BACKOFF": render.backoff_drop_in(),
        "CALENDAR": source.schedule,
        "DELAY": source.randomized_delay,
        "HOOKS": "".join(f"{hook}\n" for hook in hooks),
    }
