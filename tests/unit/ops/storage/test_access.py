"""A stack's outputs contain everything that verbs need: where the storage is, how objects are sent there, what each source promises."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from components.storage.service_facts import Checksum
from ops.kit.kit import make_kit as kit_of
from ops.kit.kit import parse
from ops.storage.access import (
    RepositoryRecord,
    StorageKey,
    StorageLocation,
    read_access,
    read_records,
    read_storage_location,
)

HEX, KEY = "ab" * 32, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFh"
# None of these is the default for a missing output.
VAULT = {
    "endpoint": "https://[2001:db8::9]:9000",
    "region": "eu-central-1",
    "bucket": "a-bucket",
    "prefix": "hosts",
    "provider": "Minio",
    "checksum": "md5",
    "caCertificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
}
RECORD = {
    "generation": 3,
    "repositoryId": HEX,
    "keyId": HEX,
    "publicKey": KEY,
    "hostKey": KEY,
    "silentAfterHours": 200,
    "shrinkPercent": 30,
}
OUTPUTS: dict[str, Any] = {
    "vault": {**VAULT, "objectLock": "COMPLIANCE"},
    "sources": {
        "web1": {**RECORD, "address": "web1.example.com", "port": 22, "user": "admin", "managed": True}
    },
    "passwords": {"web1": "a-password"},
}
STORAGE_KEY = StorageKey.read({"accessKeyId": "EXAMPLE", "secretAccessKey": "0123456789"}, "test")


def told(where: StorageLocation, record: RepositoryRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    return where.model_dump(by_alias=True), record.model_dump(by_alias=True, exclude={"password"})


def test_every_output_that_verbs_need_is_read() -> None:
    expected = (VAULT, {"name": "web1", **RECORD})
    assert told(read_storage_location(OUTPUTS), read_records(OUTPUTS)["web1"]) == expected
    access = read_access(OUTPUTS, "web1", STORAGE_KEY)
    assert told(access.where, access.record) == expected
    assert access.path == "hosts/web1/g3"
    assert access.record.silent_hours == 200
    assert access.where.uploads().checksum is Checksum.MD5, "as in the stack file, not the service's default"


def test_a_kit_contains_the_same_after_writing_and_reading() -> None:
    kit = kit_of("prod", OUTPUTS, {"restic": "0.19.1"}, datetime(2026, 11, 28, tzinfo=UTC), key=STORAGE_KEY)
    access = parse(json.dumps(json.loads(kit.text())), "kit").access("web1", None)
    assert told(access.where, access.record) == told(
        read_storage_location(OUTPUTS), read_records(OUTPUTS)["web1"]
    )
