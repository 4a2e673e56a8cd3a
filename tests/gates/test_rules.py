"""Every rule of a gate, with software that does not handle it and fails, and with lastcopy, which works."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from attack_drill.http2 import Session
from components.storage.service_facts import ChecksumChoice, ServiceName
from tests.enforced.relayed_repository import RelayedRepository
from tests.enforced.servers import Identity
from tests.enforced.vault import Vault
from tests.gates import rules
from tests.gates.gate import Gate, opened
from tests.gates.harness import repository_behind
from tests.gates.rules import Rule
from tests.gates.services import GATES

NAME = "ab" * 32
# rclone.conf as the program made it until November 2026: with the key in the section itself, and so without a checksum (rclone does not ask the SDK for one).
YESTERDAY = """\
[lastcopy]
type = s3
provider = {provider}
env_auth = false
access_key_id = {key}
secret_access_key = {secret}
endpoint = {endpoint}
region = us-east-1
no_check_bucket = true
"""


class Tried:
    """One gate and the vault behind it; each attempt is a session of rclone through the gate."""

    def __init__(self, vault: Vault, identity: Identity, folder: Path) -> None:
        self.vault, self.identity, self.folder = vault, identity, folder
        self._names = (f"{number:064x}" for number in range(1, 1000))

    @contextmanager
    def behind(
        self, gate_rules: Sequence[Rule], service: ServiceName, checksum: ChecksumChoice = "auto"
    ) -> Iterator[tuple[RelayedRepository, Gate]]:
        server = self.vault.server
        with opened(Gate(server.endpoint, server.ca.parent, gate_rules)) as gate:
            folder = self.folder / next(self._names)
            repository = repository_behind(gate, self.vault, self.identity, folder, service, checksum)
            # What is refused here is always refused, so retries would only take time.
            text = repository.serve.read_text().replace("--low-level-retries 3", "--low-level-retries 1")
            repository.serve.write_text(text)
            yield repository, gate

    def upload(self, repository: RelayedRepository, gate: Gate) -> tuple[int, str]:
        """The status that restic would get for a new object, and the gate's refusal, if there was one."""
        with Session([str(repository.serve)]) as session:
            status = session.ask("POST", f"/data/{next(self._names)}", b"some data").status
        refused = [seen.refused for seen in gate.seen if seen.refused]
        return status, refused[-1] if refused else ""


@pytest.fixture(scope="module")
def tried(vault: Vault, web1: Identity, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    return Tried(vault, web1, tmp_path_factory.mktemp("tried"))


def as_yesterday(repository: RelayedRepository, gate: Gate, provider: str) -> None:
    """Give the repository the former rclone.conf and arguments."""
    ((key, secret),) = gate.secrets.items()
    conf = YESTERDAY.format(provider=provider, key=key, secret=secret, endpoint=gate.endpoint)
    (repository.folder / "rclone.conf").write_text(conf)
    repository.serve.write_text(repository.serve.read_text().replace(" --ignore-checksum", ""))


@pytest.mark.parametrize("service", ["AWS", "Backblaze", "Wasabi", "Hetzner"])
def test_without_a_checksum_no_upload_is_accepted(tried: Tried, service: ServiceName) -> None:
    """The reason: `restic init` could never succeed on AWS."""
    with tried.behind([rules.ChecksumDemanded()], service) as (repository, gate):
        assert tried.upload(repository, gate) == (200, "")
        as_yesterday(repository, gate, "AWS" if service == "AWS" else "Other")
        assert tried.upload(repository, gate) == (500, "InvalidRequest")


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("Wasabi", "XAmzContentSHA256Mismatch"),
        ("Hetzner", "XAmzContentSHA256Mismatch"),
        ("Backblaze", "InvalidArgument"),
    ],
)
def test_a_checksum_after_the_body_does_not_suit_every_service(
    tried: Tried, service: ServiceName, code: str
) -> None:
    with tried.behind(
        [rule for rule in GATES[service]() if not isinstance(rule, rules.MissingKeyIs403)], service, "trailer"
    ) as (repository, gate):
        assert tried.upload(repository, gate) == (500, code)


def test_backblaze_accepts_no_condition_so_none_is_sent(tried: Tried) -> None:
    with tried.behind(GATES["Backblaze"](), "Backblaze") as (repository, gate):
        assert tried.upload(repository, gate) == (200, "")
    with tried.behind(GATES["Backblaze"](), "Other") as (repository, gate):
        assert tried.upload(repository, gate) == (500, "NotImplemented")


@pytest.mark.parametrize(
    ("service", "kept"), [("AWS", b"first"), ("Wasabi", b"second"), ("Backblaze", b"second")]
)
def test_s5_if_the_condition_is_ignored_only_rclones_own_check_remains(
    tried: Tried, service: ServiceName, kept: bytes
) -> None:
    """The loss that the preview names: without rclone's check, the second write of a name wins."""
    with tried.behind(GATES[service](), service) as (repository, _):
        path = f"/data/{next(tried._names)}"
        with Session([str(repository.serve)]) as session:
            assert session.ask("POST", path, b"first").status == 200
            assert session.ask("POST", path, b"second").status == 403
        repository.serve.write_text(repository.serve.read_text().replace(" --append-only", ""))
        with Session([str(repository.serve)]) as session:
            session.ask("POST", path, b"second")
            assert session.ask("GET", path).body == kept


def test_of_two_writers_one_must_retry_and_restic_does(tried: Tried) -> None:
    """restic gets 409 as 500, which it retries. With 403 or 200 it would give up, or believe that the object exists."""
    always = rules.ConflictBetweenWriters(first=lambda key: key.endswith("f"))
    with tried.behind([always], "AWS") as (repository, gate), Session([str(repository.serve)]) as session:
        path = f"/data/{'cd' * 31}0f"
        assert session.ask("POST", path, b"some data").status == 500
        assert session.ask("POST", path, b"some data").status == 200
    assert [seen.refused for seen in gate.seen if seen.refused] == ["ConditionalRequestConflict"]


def test_two_writers_at_once_leave_one_object(tried: Tried) -> None:
    """The rule itself, without rclone: two sessions write one name at the same moment."""
    with tried.behind(GATES["AWS"](), "AWS") as (repository, _):
        path, answers = f"/data/{next(tried._names)}", []

        def write(body: bytes) -> None:
            with Session([str(repository.serve)]) as session:
                answers.append(session.ask("POST", path, body).status)

        writers = [threading.Thread(target=write, args=(body,)) for body in (b"one", b"two")]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert answers.count(200) == 1


@pytest.mark.parametrize("new_for", [0, 1000])
def test_rclone_alone_cannot_write_to_a_bucket_in_another_region(
    tried: Tried, vault: Vault, new_for: int
) -> None:
    """Without the storage step each backup would end as a storage outage, without a hint at the region."""
    before = vault.versions()
    rule = rules.BucketElsewhere(home="eu-central-1", new_for=new_for)
    with tried.behind([rule], "AWS") as (repository, gate):
        assert tried.upload(repository, gate)[0] == 500
        # After a 301 it asks for the bucket's region without a signature, which this gate refuses.
        assert gate.seen[0].refused == ("TemporaryRedirect" if new_for else "PermanentRedirect")
    assert vault.versions() == before


def test_an_etag_that_is_not_a_digest_is_not_compared(tried: Tried) -> None:
    with tried.behind([rules.EtagIsNoDigest()], "AWS") as (repository, gate):
        assert tried.upload(repository, gate) == (200, "")
        as_yesterday(repository, gate, "AWS")
        assert tried.upload(repository, gate)[0] == 500, "rclone reported it as corrupted"


def test_a_missing_name_that_is_answered_with_403_cannot_be_written(tried: Tried) -> None:
    """The policy for AWS. It works with the one that the documentation gives for Ceph: test_chain.py."""
    with tried.behind([rules.MissingKeyIs403()], "Hetzner") as (repository, gate):
        assert tried.upload(repository, gate)[0] == 500
        with Session([str(repository.serve)]) as session:
            assert session.ask("GET", f"/keys/{NAME}").status == 500


@pytest.mark.parametrize("rule", [rules.AcceptEncodingChanged, rules.UnknownQueryRefused])
def test_google_needs_a_client_that_knows_its_front_end(tried: Tried, rule: type[Rule]) -> None:
    """If the provider is named, rclone leaves out what Google's front end breaks. The service is refused anyway: it locks nothing by default."""
    with tried.behind([rule()], "Google") as (repository, gate):
        assert tried.upload(repository, gate) == (200, "")
    with tried.behind([rule()], "Other") as (repository, gate):
        status, code = tried.upload(repository, gate)
        assert (status, code) == (
            500,
            "SignatureDoesNotMatch" if rule is rules.AcceptEncodingChanged else "InvalidArgument",
        )


@pytest.mark.parametrize("rule", [rules.NoVersionsNoLocks, rules.NoDefaultRetention])
def test_a_service_without_locks_accepts_every_upload(tried: Tried, rule: type[Rule]) -> None:
    """rclone does not check, so backups would be made but not protected. That is why the preview refuses such a service, and the storage step asks
    (tests/scripts/relay/test_storage_gates.py)."""
    with tried.behind([rule()], "Other") as (repository, gate):
        assert tried.upload(repository, gate) == (200, "")
        assert not [seen for seen in gate.seen if {"versioning", "object-lock"} & seen.request.query.keys()]
