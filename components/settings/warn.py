"""Settings that are allowed and weaken the promise: said on every run, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.settings.hosts import ExistingHost
from components.settings.storage import RcloneRemoteSection, S3Bucket
from components.settings.values import is_loopback

if TYPE_CHECKING:
    from components.settings.stack import Settings


def warnings_of(settings: Settings) -> Iterator[str]:
    """The stack's warnings. The sandbox is for trials: its lock and missing protection need none."""
    relay, storage = settings.intermediate, settings.storage
    if not isinstance(relay, ExistingHost):
        return
    if not settings.protect and settings.environment not in ("local", "test"):
        yield (
            "lastcopy:protect is false: `pulumi destroy` deletes the repositories' passwords, and without "
            "them no backup can be read. Remove the line outside tests."
        )
    if isinstance(storage, RcloneRemoteSection):
        yield (
            "NO OBJECT LOCK (lastcopy:storage.rclone): a source still cannot delete backups, but who takes "
            "the relay or the storage's keys can delete all of them. Use storage.s3 with a locked bucket."
        )
    if isinstance(storage, S3Bucket):
        yield from _bucket_warnings(settings, storage, relay)


def _bucket_warnings(settings: Settings, storage: S3Bucket, relay: ExistingHost) -> Iterator[str]:
    sharing = [source.name for source in settings.sources if source.identity is None]
    if storage.identity is not None and sharing:
        yield (
            f"SHARED STORAGE IDENTITY ({', '.join(sharing)}): only the relay keeps these sources apart; who "
            "takes it reaches them all. Give each source an identity of its own (sources[…].identity)."
        )
    if storage.identity is not None and not sharing:
        yield "lastcopy:storage.s3.identity is used by no source. Remove it, and revoke it in the storage."
    if storage.lock.mode == "GOVERNANCE":
        yield (
            "GOVERNANCE lock (lastcopy:storage.s3.lock.mode): who holds s3:BypassGovernanceRetention can "
            "delete locked backups. Use COMPLIANCE outside tests."
        )
    if storage.lock.minimum_days < 7:
        yield (
            f"Lock of {storage.lock.minimum_days} day(s) (lastcopy:storage.s3.lock.minimumDays): an attack "
            "that nobody notices for longer can delete every backup. Use 30 or more."
        )
    host = urlsplit(storage.endpoint).hostname or ""
    if host in (relay.address.lower(), relay.as_sources_see_it().address.lower()) or is_loopback(host):
        yield (
            "The storage stands on the relay itself (lastcopy:storage.s3.endpoint): root there owns every "
            "backup. Use another machine."
        )
