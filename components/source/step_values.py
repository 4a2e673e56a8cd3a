"""The values of each step on a source, both for `pulumi up` and for the enrolment script."""

from __future__ import annotations

from components.settings import Source
from components.settings.selection import to_minutes
from components.source.enrolment.client_files import known_hosts, restic_conf, ssh_config
from components.source.schedule.backup_files import Hours, Selection, backup_conf, excludes_file, paths_file
from components.source.schedule.backup_units import backoff_drop_in, sandboxing, service_unit, timer_unit


def key(expected: str = "") -> dict[str, str]:
    """``expected``: the source's public key in the stack, if it has one."""
    return {"EXPECTED": expected}


def client(source: Source, *, floor: str, address: str, port: int, host_key: str) -> dict[str, str]:
    return {
        "SSH_CONFIG": ssh_config(source.name, address, port),
        "KNOWN_HOSTS": known_hosts(host_key),
        "RESTIC_CONF": restic_conf(
            floor=floor,
            connections=source.restic.connections,
            pack_size_mib=source.restic.pack_size_mib,
            compression=source.restic.compression,
        ),
    }


def repository(source: Source) -> dict[str, str]:
    """The step also needs the secret PASSWORD."""
    return {"SOURCE": source.name, "GENERATION": str(source.generation)}


def _selection(source: Source) -> Selection:
    rate, expect = source.rate, source.expect
    upload, download = rate.upload_kibps or 0, rate.download_kibps or 0
    return Selection(
        one_file_system=source.one_file_system,
        exclude_caches=source.exclude_caches,
        exclude_if_present=source.exclude_if_present,
        exclude_larger_than=source.exclude_larger_than,
        shrink_percent=expect.shrink_percent,
        partial_days=expect.partial_days,
        may_be_empty=expect.may_be_empty,
        upload=upload,
        download=download,
        hours=[
            Hours(
                begin=to_minutes(one.from_),
                end=to_minutes(one.to),
                upload=one.upload_kibps or upload,
                download=one.download_kibps or download,
            )
            for one in rate.hours
        ],
    )


def schedule(source: Source) -> dict[str, str]:
    hooks = [hook for hook in (source.pre_hook, source.post_hook) if hook is not None]
    return {
        "BACKUP_CONF": backup_conf(
            source=source.name,
            read_concurrency=source.restic.read_concurrency,
            pre_hook=source.pre_hook,
            post_hook=source.post_hook,
            selection=_selection(source),
        ),
        "PATHS": paths_file(source.paths),
        "EXCLUDES": excludes_file(source.exclude),
        "SERVICE": service_unit(source=source.name, confined=source.sandboxing),
        "SANDBOX": sandboxing(source.sandboxing),
        "TIMER": timer_unit(
            source=source.name, on_calendar=source.schedule, randomized_delay=source.randomized_delay
        ),
        "BACKOFF": backoff_drop_in(),
        "CALENDAR": source.schedule,
        "DELAY": source.randomized_delay,
        "HOOKS": "".join(f"{hook}\n" for hook in hooks),
    }
