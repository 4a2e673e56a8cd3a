"""Tuning by measurement: compares the product as it is with the product after one changed setting at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.contenders import Ours, Straight, our_restic_settings
from bench.farm import RELAY, SOURCE, BenchError, Farm
from bench.rounds import Contender

SERVE = f"/etc/lastcopy/relay/{SOURCE}/serve.conf"
CONF = f"/etc/lastcopy/relay/{SOURCE}/rclone.conf"
WRAPPER = "/usr/local/lib/lastcopy/serve-restic"
RESTIC_BACKUP = "/usr/local/bin/restic-backup"
SSH = "/etc/lastcopy/ssh_config"
RESTIC = "/etc/lastcopy/restic.conf"
BACKUP = "/etc/lastcopy/backup.conf"


@dataclass(frozen=True)
class Change:
    """One `sed` on one installed file. It must change something, otherwise the product would be compared with itself."""

    machine: str
    file: str
    edit: str


@dataclass(frozen=True)
class Variant:
    name: str
    changes: tuple[Change, ...]


def _flag(*arguments: str) -> Change:
    lines = "".join(f"\\narg {argument}" for argument in arguments)
    return Change(RELAY, SERVE, f"s/^arg --append-only$/&{lines}/")


def _without(*arguments: str) -> Change:
    return Change(RELAY, SERVE, "; ".join(f"/^arg {argument}$/d" for argument in arguments))


def _cipher(name: str) -> Change:
    return Change(SOURCE, SSH, f"s/^\\( *Ciphers\\) .*/\\1 {name}/")


def _restic(name: str, value: object) -> Change:
    return Change(SOURCE, RESTIC, f"s/^{name}=.*/{name}={value}/")


def _environment(setting: str) -> Change:
    return Change(RELAY, WRAPPER, f"s/GOMEMLIMIT=/{setting} GOMEMLIMIT=/")


def _of_restic(setting: str) -> Change:
    return Change(SOURCE, RESTIC_BACKUP, f"s/^exec env -i /&{setting} /")


def _conf(**settings: str) -> Change:
    return Change(
        RELAY, CONF, "; ".join(f"s/^{name} = .*/{name} = {text}/" for name, text in settings.items())
    )


_NO_TRAILER = {"use_data_integrity_protections": "false", "use_unsigned_payload": "true"}
# The ways of docs/decisions/0017-checksums-of-uploads.md.
UPLOADS = (
    Variant(
        "uploads: no checksum, MD5 compared afterwards",
        (_conf(**_NO_TRAILER, upload_cutoff="5Gi"), _without("--ignore-checksum")),
    ),
    Variant("uploads: MD5 compared afterwards as well", (_without("--ignore-checksum"),)),
    Variant("uploads: no look afterwards", (_flag("--s3-no-head"),)),
    Variant("uploads: every object in parts with MD5", (_conf(**_NO_TRAILER, upload_cutoff="0"),)),
    Variant("uploads: parts of 16 MiB", (_conf(chunk_size="16Mi"),)),
    Variant("uploads: two parts at a time", (_conf(upload_concurrency="2"),)),
    Variant("uploads: packs of 8 MiB, hardly any parts", (_restic("pack_size", 8),)),
)
VARIANTS = (
    *UPLOADS,
    Variant("cipher chacha20-poly1305", (_cipher("chacha20-poly1305@openssh.com"),)),
    Variant("cipher aes256-gcm", (_cipher("aes256-gcm@openssh.com"),)),
    Variant("cipher aes128-gcm", (_cipher("aes128-gcm@openssh.com"),)),
    Variant("ssh compression on", (Change(SOURCE, SSH, "s/^\\( *Compression\\) no/\\1 yes/"),)),
    Variant("with --ignore-checksum (no MD5)", (_flag("--ignore-checksum"),)),
    Variant("without --ignore-checksum (MD5 after the upload)", (_without("--ignore-checksum"),)),
    Variant("with --s3-no-head", (_flag("--s3-no-head"),)),
    Variant("without --s3-no-head (look after each upload)", (_without("--s3-no-head"),)),
    Variant("with --ignore-checksum --s3-no-head", (_flag("--ignore-checksum", "--s3-no-head"),)),
    Variant("--s3-disable-checksum", (_flag("--s3-disable-checksum"),)),
    Variant("with --disable-http2", (_flag("--disable-http2"),)),
    Variant("without --disable-http2", (_without("--disable-http2"),)),
    Variant("--buffer-size 0", (_flag("--buffer-size", "0"),)),
    Variant("--s3-upload-concurrency 8", (_flag("--s3-upload-concurrency", "8"),)),
    Variant("rclone GOGC=200", (_environment("GOGC=200"),)),
    Variant("rclone GOMAXPROCS=4", (_environment("GOMAXPROCS=4"),)),
    Variant("restic GOGC=200", (_of_restic("GOGC=200"),)),
    Variant("restic GOMAXPROCS=4", (_of_restic("GOMAXPROCS=4"),)),
    Variant("both GOMAXPROCS=4", (_of_restic("GOMAXPROCS=4"), _environment("GOMAXPROCS=4"))),
    Variant(
        "both GOMAXPROCS=4, restic GOGC=200",
        (_of_restic("GOGC=200 GOMAXPROCS=4"), _environment("GOMAXPROCS=4")),
    ),
    Variant(
        "both GOMAXPROCS=4, restic GOGC=200, no MD5",
        (_of_restic("GOGC=200 GOMAXPROCS=4"), _environment("GOMAXPROCS=4"), _flag("--ignore-checksum")),
    ),
    *(Variant(f"connections {n}", (_restic("connections", n),)) for n in (2, 5, 8, 12)),
    *(Variant(f"packs of {n} MiB", (_restic("pack_size", n),)) for n in (16, 32, 64, 128)),
    Variant("read concurrency 4", (Change(SOURCE, BACKUP, "s/^read_concurrency=.*/read_concurrency=4/"),)),
)


class Changed(Ours):
    """The product with one change, which is undone after every round."""

    def __init__(self, farm: Farm, variant: Variant) -> None:
        super().__init__(farm, variant.name)
        self._changes = variant.changes

    def prepare(self) -> None:
        for change in self._changes:
            kept = f"cp -p {change.file} {change.file}.bench"
            self.farm.on(change.machine, f"{kept}; sed -i --follow-symlinks '{change.edit}' {change.file}")
        super().prepare()

    def clean(self) -> None:
        for change in self._changes:
            self.farm.on(change.machine, f"mv {change.file}.bench {change.file}")
        super().clean()


def _changes_something(farm: Farm, variant: Variant) -> bool:
    return all(
        farm.on(
            change.machine, f"sed '{change.edit}' {change.file} | cmp -s - {change.file} && echo same || true"
        )
        == ""
        for change in variant.changes
    )


def contenders(farm: Farm, only: str) -> Sequence[Contender]:
    """Straight, the product as it is, and each variant that differs from it and whose name contains ``only``."""
    fitting = [variant for variant in VARIANTS if only in variant.name]
    chosen = [Changed(farm, variant) for variant in fitting if _changes_something(farm, variant)]
    if not chosen:
        raise BenchError(
            f"no variant's name contains {only!r}, or all such variants equal the product as it is"
        )
    return [Ours(farm), Straight(farm, options=our_restic_settings(farm)), *chosen]
