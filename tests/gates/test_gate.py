"""The gate itself: it verifies every digest and signature before it forwards anything."""

from __future__ import annotations

import base64
import datetime
import hashlib
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.storage.service_facts import Checksum
from components.storage.services import SERVICES
from tests.enforced.servers import REGION, Identity
from tests.enforced.vault import Vault
from tests.gates import rules
from tests.gates.gate import Gate, opened
from tests.gates.message import TRAILER, Answer, Request
from tests.gates.rules import Rule, all_rules
from tests.gates.services import GATES
from tests.gates.signature import sign

BODY = b"0123456789" * 3000
CRC = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
MD5 = base64.b64encode(hashlib.md5(BODY, usedforsecurity=False).digest()).decode()
_numbers = itertools.count()


@pytest.fixture(scope="module")
def gate(vault: Vault, web1: Identity) -> Iterator[Gate]:
    with opened(Gate(vault.server.endpoint, vault.server.ca.parent, GATES["AWS"]())) as made:
        made.knows(web1)
        yield made


@pytest.fixture
def key() -> str:
    """A name that no other test writes to."""
    return f"web1/g1/data/{next(_numbers):02d}/x"


def framed(body: bytes, trailer: str) -> bytes:
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return chunks + b"0\r\n" + trailer.encode() + b"\r\n\r\n"


def put(gate: Gate, vault: Vault, key: str, headers: dict[str, str], body: bytes, **wrong: str) -> Answer:
    """A PUT as a client signs it; `wrong`: with another secret or region than the identity's."""
    ((key_id, secret),) = gate.secrets.items()
    request = Request("PUT", f"/{vault.bucket}/{key}", {"host": gate.endpoint[8:], **headers}, body)
    sign(request, key_id, **{"secret": secret, "region": REGION, **wrong})
    return gate.take(request)


def trailer_headers(body: bytes = BODY) -> dict[str, str]:
    return {
        "x-amz-content-sha256": TRAILER,
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": str(len(body)),
        "content-encoding": "aws-chunked",
    }


def stored(vault: Vault, key: str) -> list[bytes]:
    root = vault.server.root
    versions = [version for version in vault.versions() if version["Key"] == key]
    return [root.get_object(Bucket=vault.bucket, **version)["Body"].read() for version in versions]


GOOD = {
    "md5": ({"content-md5": MD5}, BODY),
    "checksum in a header": ({"x-amz-checksum-crc32": CRC}, BODY),
    "checksum in a trailer": (trailer_headers(), framed(BODY, f"x-amz-checksum-crc32:{CRC}")),
}
DAMAGED = b"x" + BODY[1:]
BAD = {
    "md5": ({"content-md5": MD5}, DAMAGED, "BadDigest"),
    "checksum in a header": ({"x-amz-checksum-crc32": CRC}, DAMAGED, "BadDigest"),
    "checksum in a trailer": (
        trailer_headers(),
        framed(DAMAGED, f"x-amz-checksum-crc32:{CRC}"),
        "BadDigest",
    ),
    "another trailer": (
        trailer_headers(),
        framed(BODY, f"x-amz-checksum-sha1:{CRC}"),
        "MalformedTrailerError",
    ),
    "no trailer": (trailer_headers(), framed(BODY, ""), "MalformedTrailerError"),
    "cut short": (
        trailer_headers(),
        framed(BODY[:-9], f"x-amz-checksum-crc32:{CRC}"),
        "IncompleteBody",
    ),
    "chunks malformed": (trailer_headers(), BODY, "IncompleteBody"),
    "none": ({}, BODY, "InvalidRequest"),
    "signed digest": ({"content-md5": MD5, "x-amz-content-sha256": "ab" * 32}, BODY, "XAmzContentSHA256Mismatch"),
    "an algorithm that it cannot verify": ({"x-amz-checksum-crc64nvme": CRC}, BODY, "NotImplemented"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_an_intact_object_is_stored(gate: Gate, vault: Vault, key: str, name: str) -> None:
    headers, body = GOOD[name]
    assert put(gate, vault, key, headers, body).status == 200
    assert stored(vault, key) == [BODY]


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_body_is_refused_and_not_passed_on(gate: Gate, vault: Vault, key: str, name: str) -> None:
    headers, body, code = BAD[name]
    answer = put(gate, vault, key, headers, body)
    assert f"<Code>{code}</Code>".encode() in answer.body
    assert stored(vault, key) == []


def test_a_wrong_secret_clock_or_region_is_refused(
    gate: Gate, vault: Vault, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, body = GOOD["md5"]
    assert b"SignatureDoesNotMatch" in put(gate, vault, key, headers, body, secret="wrong").body
    assert b"<Region>us-east-1</Region>" in put(gate, vault, key, headers, body, region="eu-central-1").body
    monkeypatch.setattr(gate, "clock", datetime.timedelta(minutes=16))
    assert b"RequestTimeTooSkewed" in put(gate, vault, key, headers, body).body
    assert stored(vault, key) == []


def test_every_rule_names_its_source_and_its_date() -> None:
    for rule in all_rules():
        assert rule.__doc__
        assert len(rule.source) > 20
        assert datetime.date.fromisoformat(rule.date) <= datetime.date(2026, 11, 28)


def test_every_rule_is_used_by_a_gate() -> None:
    used: set[type[Rule]] = {type(rule) for make in GATES.values() for rule in make()}
    assert {rule.__name__ for rule in set(all_rules()) - used} == {
        "EtagIsNoDigest",
        "HeadAnswered",
        "KmsKeyClosed",
    }


# The test that shows the effect of the rule on software that does not handle it.
BREAKS: dict[type[Rule], str] = {
    rules.BucketElsewhere: "scripts/relay/test_storage_gates.py::test_sabotage_a_step_that_ignores_redirects_gives_the_operator_wrong_advice",
    rules.ChecksumDemanded: "gates/test_rules.py::test_without_a_checksum_no_upload_is_accepted",
    rules.TrailerRefused: "gates/test_rules.py::test_a_checksum_after_the_body_does_not_suit_every_service",
    rules.ChecksumHeadersRefused: "gates/test_rules.py::test_a_checksum_after_the_body_does_not_suit_every_service",
    rules.ConditionRefused: "gates/test_rules.py::test_backblaze_accepts_no_condition_so_none_is_sent",
    rules.ConditionIgnored: "gates/test_rules.py::test_s5_if_the_condition_is_ignored_only_rclones_own_check_remains",
    rules.ConflictBetweenWriters: "gates/test_rules.py::test_of_two_writers_one_must_retry_and_restic_does",
    rules.EtagIsNoDigest: "gates/test_rules.py::test_an_etag_that_is_not_a_digest_is_not_compared",
    rules.KmsKeyClosed: "scripts/relay/test_storage_gates.py::test_a_bucket_with_a_kms_key_passes_and_an_unusable_key_is_named",
    rules.MissingKeyIs403: "gates/test_rules.py::test_a_missing_name_that_is_answered_with_403_cannot_be_written",
    rules.NoVersionsNoLocks: "gates/test_rules.py::test_a_service_without_locks_accepts_every_upload",
    rules.NoDefaultRetention: "gates/test_rules.py::test_a_service_without_locks_accepts_every_upload",
    rules.AcceptEncodingChanged: "gates/test_rules.py::test_google_needs_a_client_that_knows_its_front_end",
    rules.UnknownQueryRefused: "gates/test_rules.py::test_google_needs_a_client_that_knows_its_front_end",
    rules.HeadAnswered: "gates/test_first_look.py::test_s6_sabotage_without_the_slash_the_folder_above_is_served",
}  # fmt: skip


def test_every_rule_has_a_test_that_shows_what_it_breaks() -> None:
    assert set(BREAKS) == set(all_rules())
    for named in BREAKS.values():
        file, _, test = named.partition("::")
        assert f"def {test}(" in (Path(__file__).parents[1] / file).read_text(), named


def test_the_gates_match_the_catalogue_of_services() -> None:
    for name, make in GATES.items():
        service, own = SERVICES[name], {type(rule) for rule in make()}
        no_trailer = {rules.TrailerRefused, rules.ChecksumHeadersRefused}
        assert bool(own & no_trailer) == (service.upload_checksum() is Checksum.MD5), name
        assert (rules.ConditionRefused in own) == (not service.takes_conditions), name
        held = service.conditional_write.value is True
        ignored = bool(own & {rules.ConditionRefused, rules.ConditionIgnored})
        assert service.cannot_work or held != ignored, f"{name}: what nobody promises, the gate does not hold"
        locks_nothing = bool(own & {rules.NoVersionsNoLocks, rules.NoDefaultRetention})
        assert locks_nothing == bool(service.cannot_work), name
