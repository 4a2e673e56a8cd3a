"""The contents of the storage of a relay's tests, without using any identity of a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.enforced.servers import s3_client
from tests.scripts.relay.chain import Chain


@dataclass(frozen=True)
class Stored:
    """What the storage's own root sees below a prefix."""

    versions: list[dict[str, Any]]
    markers: list[dict[str, Any]]

    @property
    def current(self) -> list[str]:
        return [one["Key"] for one in self.versions if one["IsLatest"]]


def stored(chain: Chain, prefix: str) -> Stored:
    with chain.box.storage_admin() as (origin, ca, user, secret):
        found = s3_client(origin, Path(ca), user, secret).list_object_versions(
            Bucket="backups", Prefix=prefix
        )
    return Stored(found.get("Versions", []), found.get("DeleteMarkers", []))
