"""The lifecycle rules of the locked bucket, which S3 applies by itself. Pure: no engine, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from components.vault.policy_documents import storage_prefix

if TYPE_CHECKING:
    from pulumi_aws.s3 import BucketLifecycleConfigurationRuleArgsDict as Rule
    from pulumi_aws.s3 import BucketLifecycleConfigurationRuleFilterArgsDict as Filter

LARGE = 1024 * 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Objects above 1 MiB move to ``storage_class`` this many days after upload. Both classes can be read directly, as restic needs it."""

    after_days: int
    storage_class: Literal["STANDARD_IA", "GLACIER_IR"]


def lifecycle(*, lock_days: int, prefix: str = "", transitions: Sequence[Transition] = ()) -> list[Rule]:
    """Rules that never remove a current version, and never a version under lock.

    They are in the form of pulumi-aws's ``BucketLifecycleConfiguration``. A deleted or replaced version is kept for at least the lock's time
    plus one day after that, so that a mistaken or hostile deletion of data whose own lock has expired can be undone for as long.
    """
    if prefix:
        storage_prefix(prefix)
    rules: list[Rule] = [
        {
            "id": "deleted-versions",
            "status": "Enabled",
            "filter": {"prefix": prefix},
            "noncurrent_version_expiration": {"noncurrent_days": lock_days + 1},
            "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
        },
        {
            # A separate rule: S3 refuses it together with days for others.
            "id": "markers-of-nothing",
            "status": "Enabled",
            "filter": {"prefix": prefix},
            "expiration": {"expired_object_delete_marker": True},
        },
    ]
    return [*rules, _moves(prefix, transitions)] if transitions else rules


def _moves(prefix: str, transitions: Sequence[Transition]) -> Rule:
    """Moves by size, because S3 filters match only prefixes: packs below ``data/`` are above 1 MiB.

    Of restic's other files at most a large index is above 1 MiB, and both classes return it directly, too.
    """
    large: Filter = {"object_size_greater_than": LARGE}
    return {
        "id": "storage-classes",
        "status": "Enabled",
        "filter": {"and_": {"prefix": prefix, "object_size_greater_than": LARGE}} if prefix else large,
        "transitions": [
            {"days": move.after_days, "storage_class": move.storage_class}
            for move in sorted(transitions, key=lambda move: move.after_days)
        ],
    }
