"""Every upload carries a checksum that the storage can compare before it stores, in a form that the service knows, and the condition of S5.

The real rclone with the relay's own rclone.conf, key and arguments, against a server that records what it gets. Its ETags are not
MD5 sums, as under SSE-KMS.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from attack_drill.http2 import RestRequest, Session
from components.relay.entry.rclone_config import ENVIRONMENT
from components.storage.service_facts import Checksum, StorageService
from components.storage.services import SERVICES
from tests.uploads.checksums import BODIES, carried, content, is_signed_with, newer_checksums
from tests.uploads.conftest import KEY_ID, SECRET, Relay
from tests.uploads.recorder import RecordedRequest

MIB = 1 << 20
# A key, restic's empty lock, a small pack.
OBJECTS = {"keys/k": 450, "locks/l": 0, f"data/{'a' * 64}": MIB}
LARGE = 17 * MIB
EVERY = pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
# One service of each way.
WAYS = pytest.mark.parametrize("name", ["AWS", "Minio", "Ceph"])


def upload(relayed: Relay, service: StorageService, objects: dict[str, int] = OBJECTS) -> dict[str, bytes]:
    """Send the objects as a source does, all at once; returns what was sent, by name in the repository."""
    bodies = {name: os.urandom(size) for name, size in objects.items()}
    with relayed.session(service.uploads()) as session:
        answers = session.together([RestRequest("POST", f"/{name}", body) for name, body in bodies.items()])
    assert [answer.status for answer in answers] == [200] * len(answers), relayed.log()
    return bodies


def pieces(relayed: Relay, name: str) -> list[RecordedRequest]:
    """The requests that carried an object, in the order of its bytes."""
    found = [one for one in relayed.recorder.writes() if one.key.endswith(name[-40:]) and one.step in BODIES]
    return sorted(found, key=lambda one: int(one.query.get("partNumber", 0)))


def unchecked(requests: Sequence[RecordedRequest]) -> list[RecordedRequest]:
    """What a bucket with a default retention refuses (S3: 400 InvalidRequest, "Content-MD5 OR x-amz-checksum- HTTP header is required")."""
    return [one for one in requests if one.step in BODIES and not carried(one)]


@EVERY
def test_every_upload_carries_a_correct_checksum_and_the_condition(
    relayed: Relay, service: StorageService
) -> None:
    relayed.furnish(service.uploads())
    for name, body in upload(relayed, service).items():
        found = pieces(relayed, name)
        assert b"".join(map(content, found)) == body
        if service.upload_checksum() is Checksum.MD5:
            assert [(one.step, carried(one)) for one in found] == [("UploadPart", {"Content-MD5"})]
        else:
            how = "crc32 trailer" if body else "crc32 header"
            assert [(one.step, carried(one)) for one in found] == [("PutObject", {how})]
        last = [one for one in relayed.recorder.writes() if one.key == found[0].key][-1]
        condition = "*" if service.takes_conditions else None
        assert last.headers.get("if-none-match") == condition, f"{last.step} of {name}"
    if service.upload_checksum() is Checksum.MD5:
        assert [one for one in relayed.recorder.requests if newer_checksums(one)] == []
    assert all(is_signed_with(one, SECRET) for one in relayed.recorder.requests)


@WAYS
def test_a_large_object_is_sent_in_as_many_requests_as_the_service_needs(relayed: Relay, name: str) -> None:
    service = SERVICES[name]  # type: ignore[index]
    relayed.furnish(service.uploads())
    body = os.urandom(LARGE)
    relayed.store(service.uploads(), "data/large", body)
    found = pieces(relayed, "data/large")
    assert b"".join(map(content, found)) == body
    assert unchecked(found) == []
    sizes, ways = [len(content(one)) // MIB for one in found], {frozenset(carried(one)) for one in found}
    assert (sizes, ways) == {
        "AWS": ([17], {frozenset({"crc32 trailer"})}),
        "Minio": ([8, 8, 1], {frozenset({"Content-MD5", "crc32 trailer"})}),
        "Ceph": ([8, 8, 1], {frozenset({"Content-MD5"})}),
    }[name]
    assert relayed.recorder.writes()[-1].headers["if-none-match"] == "*"


@WAYS
def test_sabotage_with_the_former_configuration_nothing_carries_a_checksum(relayed: Relay, name: str) -> None:
    service = SERVICES[name]  # type: ignore[index]
    relayed.conf.write_text(
        f"[lastcopy]\ntype = s3\nprovider = {service.rclone}\nenv_auth = false\naccess_key_id = {KEY_ID}\n"
        f"secret_access_key = {SECRET}\nendpoint = {relayed.recorder.url}\nregion = us-east-1\nno_check_bucket = true\n"
    )
    upload(relayed, service, {"keys/k": 450, f"data/{'a' * 64}": MIB})
    refused = unchecked(relayed.recorder.writes())
    assert {one.step for one in refused} == {"PutObject"}
    assert len(refused) == 2
    assert {one.headers["x-amz-content-sha256"] for one in refused} == {"UNSIGNED-PAYLOAD"}


@pytest.mark.parametrize("name", ["AWS", "Ceph"])
def test_sabotage_a_comparison_with_the_etag_reports_a_good_upload_as_corrupted(
    relayed: Relay, name: str
) -> None:
    service = SERVICES[name]  # type: ignore[index]
    uploads = service.uploads()
    relayed.furnish(uploads)
    relayed.conf.write_text(relayed.conf.read_text().replace("use_multipart_etag = false\n", ""))
    words = relayed.words(uploads)
    words[2] = words[2].replace("--ignore-checksum", "")
    with Session(words) as session:
        assert session.ask("POST", "/keys/k", b"x" * 450).status == 500
    assert "corrupted" in relayed.log()


@pytest.mark.parametrize(
    "secret", ["#begins-a-comment", "a;b#c=d:e", "[profile]", "a\"b'c", "%(x", "tail\\", "=" * 8]
)
def test_a_difficult_secret_is_read_back(relayed: Relay, secret: str) -> None:
    uploads = SERVICES["AWS"].uploads()
    relayed.furnish(uploads, secret)
    assert relayed.look(uploads, {}).returncode == 0, relayed.log()
    assert relayed.recorder.requests
    assert all(is_signed_with(one, secret) for one in relayed.recorder.requests)


@pytest.mark.parametrize("left", ["no file", "another profile", "no key"])
@pytest.mark.parametrize("name", ["AWS", "Ceph"])
def test_without_its_own_key_rclone_uses_no_other(relayed: Relay, name: str, left: str) -> None:
    """It uses no key of the environment, of root's own files or of the machine, and never sends a request without a signature."""
    uploads = SERVICES[name].uploads()  # type: ignore[index]
    relayed.furnish(uploads)
    kept = relayed.credentials.read_text()
    if left == "no file":
        relayed.credentials.unlink()
    else:
        other = kept.replace("lastcopy", "default")
        relayed.credentials.write_text(other if left == "another profile" else kept.splitlines()[0] + "\n")
    (relayed.folder / ".aws").mkdir()
    for file in ("credentials", "config"):
        (relayed.folder / ".aws" / file).write_text(
            "[default]\naws_access_key_id=X\naws_secret_access_key=Y\n"
        )
    foreign = {"AWS_ACCESS_KEY_ID": "X", "AWS_SECRET_ACCESS_KEY": "Y", "AWS_PROFILE": "default"}
    assert relayed.look(uploads, {**ENVIRONMENT, **foreign}).returncode != 0
    assert relayed.recorder.requests == [], relayed.log()


def test_sabotage_without_the_profile_a_key_of_the_environment_is_used(relayed: Relay) -> None:
    uploads = SERVICES["AWS"].uploads()
    relayed.furnish(uploads)
    relayed.conf.write_text(relayed.conf.read_text().replace("profile = lastcopy\n", ""))
    relayed.look(uploads, {"AWS_ACCESS_KEY_ID": "X", "AWS_SECRET_ACCESS_KEY": "Y"})
    assert any(is_signed_with(one, "Y") for one in relayed.recorder.requests)


def test_a_restore_leaves_no_message_of_the_sdk_in_the_journal(relayed: Relay) -> None:
    service = SERVICES["AWS"]
    relayed.furnish(service.uploads())
    upload(relayed, service, {"keys/k": 450})
    with relayed.session(service.uploads()) as session:
        session.ask("GET", "/keys/k")
    assert "SDK" not in relayed.log()
