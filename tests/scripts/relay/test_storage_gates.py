"""A10: the storage step with each service, by its gate (tests/gates): features it provides pass, missing ones are named or refused before a backup is written.

And one complete backup over a relay to a real Ceph.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.storage.service_facts import ServiceName, rows_lost
from components.storage.services import SERVICES
from sandbox.tools import tool
from tests.enforced.relayed_repository import digests, make_tree
from tests.sabotage import weaken
from tests.scripts.relay.beside import Program, beside
from tests.scripts.relay.chain import Answer, Chain
from tests.scripts.relay.conftest import IDENTITIES
from tests.scripts.relay.stored import stored

WEB1 = IDENTITIES["web1"]


@contextmanager
def gate(chain: Chain, service: ServiceName, **more: Any) -> Iterator[Program]:
    given = {
        "behind": chain.storage["endpoint"],
        "certs": str(chain.box.storage_folder / "certs"),
        "secrets": dict(IDENTITIES.values()),
        "service": service,
    }
    with beside(chain, "tests.gates", {**given, **more}) as program:
        yield program


def asked(
    chain: Chain, service: ServiceName, changes: Mapping[str, str] | None = None, **more: Any
) -> Answer:
    """Run the step with this service, with the losses that RelayEntry accepts there. ``changes``: of the step's values; ``more``: of the gate's."""
    known = SERVICES[service]
    lost = {*rows_lost(known), *(() if known.conditional_write.value else ("S5",))}
    with gate(chain, service, **more) as program:
        return chain.run(
            chain.storage_check(
                "web1",
                WEB1,
                service,
                **{"ENDPOINT": program.endpoint, "ACCEPTED": " ".join(sorted(lost)), **(changes or {})},
            )
        )


def warnings(answer: Answer) -> list[str]:
    return [text for name, text in answer.line["facts"].items() if name.startswith("warning")]


def test_amazon_provides_everything(ready: Chain) -> None:
    answer = asked(ready, "AWS")
    assert answer.code == 0, answer.words
    assert warnings(answer) == []


def test_a_bucket_with_a_kms_key_passes_and_an_unusable_key_is_named(ready: Chain) -> None:
    """A bucket that somebody else made (storage.s3): the program wrote neither its encryption nor the identity's policy."""
    answer = asked(ready, "AWS", kms=[])
    assert (answer.code, warnings(answer)) == (0, []), answer.words
    for right in ("kms:GenerateDataKey", "kms:Decrypt"):
        answer = asked(ready, "AWS", kms=[right])
        assert answer.code == 1
        (error,) = [line for line in answer.words.splitlines() if line.startswith("error:")]
        assert "may not use the KMS key that encrypts the bucket's objects" in error
        assert f"is not authorized to perform: {right}" in error
        assert "allow it kms:GenerateDataKey and kms:Decrypt on that key" in answer.words


@pytest.mark.parametrize("service", ["Backblaze", "Wasabi"])
def test_an_ignored_condition_is_reported_and_the_rest_passes(ready: Chain, service: ServiceName) -> None:
    answer = asked(ready, service)
    assert answer.code == 0, answer.words
    (warning,) = warnings(answer)
    assert "takes a second write of a name" in warning
    assert "row S5" in warning


REFUSED = {
    "Hetzner": "answers 403 AccessDenied for an object that is not there",
    "Cloudflare": "501 NotImplemented when asked for the bucket's versioning",
    "Google": "has Object Lock but no default retention",
}


@pytest.mark.parametrize("service", REFUSED)
def test_services_that_cannot_work_are_refused_by_name(ready: Chain, service: ServiceName) -> None:
    answer = asked(ready, service)
    assert answer.code == 1
    assert REFUSED[service] in answer.words
    assert "fix:" in answer.words


def test_a_wrong_clock_and_a_wrong_region_are_reported_as_such(ready: Chain) -> None:
    assert "the relay's clock is wrong" in asked(ready, "AWS", minutes=16).words
    assert "the bucket is not in region 'us-east-1'" in asked(ready, "AWS", region="eu-central-1").words


SET = "set lastcopy:storage.s3.region to '{}' and lastcopy:storage.s3.endpoint to the endpoint of that region, https://s3.{}.amazonaws.com in the stack file"
FRANKFURT = {"REGION": "eu-central-1"}


@pytest.mark.parametrize(("new_for", "answer"), [(0, "301 PermanentRedirect"), (99, "307 TemporaryRedirect")])
def test_the_endpoint_of_another_region_is_reported_with_the_buckets_own_region(
    ready: Chain, new_for: int, answer: str
) -> None:
    """The stack file names Frankfurt, its region and its endpoint; the bucket is in Virginia, and old or new."""
    before = stored(ready, "")
    told = asked(ready, "AWS", FRANKFURT, region="eu-central-1", new_for=new_for)
    assert told.code == 1
    assert "bucket 'backups' is in region 'us-east-1', not in region 'eu-central-1'" in told.words
    assert answer in told.words
    assert SET.format("us-east-1", "us-east-1") in told.words
    assert told.words.count("error:") == 1
    assert stored(ready, "") == before


def test_sabotage_a_step_that_ignores_redirects_gives_the_operator_wrong_advice(ready: Chain) -> None:
    with gate(ready, "AWS", region="eu-central-1") as program:
        step = ready.storage_check("web1", WEB1, "AWS", ENDPOINT=program.endpoint, **FRANKFURT)
        text = step.text()
        known = "PermanentRedirect | TemporaryRedirect | IllegalLocationConstraintException) elsewhere"
        text = weaken(text, known, "IllegalLocationConstraintException) elsewhere")
        done = ready.root("sh", "-s", "--", "apply", "203.0.113.1 1 2 22", stdin=text)
    assert done.returncode == 1
    assert "check that the endpoint speaks S3" in done.stderr
    assert "us-east-1" not in done.stderr


def test_a_new_bucket_gets_time_until_amazons_names_lead_to_it(ready: Chain) -> None:
    assert asked(ready, "AWS", {"PATIENCE": "60"}, new_for=1).code == 0
    told = asked(ready, "AWS", new_for=99)  # a bucket that the program did not make, so it does not wait
    assert "which is another region's endpoint or does not know a new bucket yet" in told.words
    assert "to the endpoint of region 'us-east-1', https://s3.us-east-1.amazonaws.com" in told.words


def test_sabotage_the_former_arguments_are_refused_by_amazon(ready: Chain) -> None:
    """Without a checksum nothing is accepted, which the former step did not notice."""
    with gate(ready, "AWS") as program:
        step = ready.storage_check("web1", WEB1, "AWS", ENDPOINT=program.endpoint)
        conf = weaken(
            step.values["RCLONE_CONF"],
            "use_data_integrity_protections = true",
            "use_data_integrity_protections = false",
        )
        key = weaken(step.values["CREDENTIALS"], "when_supported", "when_required")
        answer = ready.run(step.but(RCLONE_CONF=conf, CREDENTIALS=key))
    assert answer.code == 1
    assert "demands a checksum with every upload" in answer.words


def test_a_backup_over_a_relay_to_a_real_ceph(changing: Chain, tmp_path: Path) -> None:
    given = {
        "folder": str(tmp_path / "ceph"),
        "certs": str(changing.box.storage_folder / "certs"),
        "bucket": changing.storage["bucket"],
        "sources": ["web1"],
    }
    (tmp_path / "ceph").mkdir()
    tree = make_tree(tmp_path / "tree", megabytes=1)
    with beside(changing, "tests.ceph", given) as program:
        key = (program.facts["keys"]["web1"][0], program.facts["keys"]["web1"][1])
        changing.apply(
            changing.storage_check("web1", key, "Ceph", ENDPOINT=program.endpoint, ACCEPTED="R5 R8 S5")
        )
        changing.apply(changing.entry("web1", identity=key, endpoint=program.endpoint, service="Ceph"))
        (tmp_path / "password").write_text("correct horse\n")

        def restic(*words: str) -> None:
            done = subprocess.run(
                [
                    os.fspath(tool("restic")),
                    *(
                        "-o",
                        f"rclone.program={changing.forced_line('web1')}",
                        "-o",
                        "rclone.args=serve",
                        "-r",
                        "rclone:",
                    ),
                    *("--no-cache", "--password-file", str(tmp_path / "password"), *words),
                ],
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=90,
            )
            assert done.returncode == 0, done.stderr[-1500:]

        restic("init")
        restic("backup", str(tree))
        restic("check", "--read-data")
        restic("restore", f"latest:{tree}", "--target", str(tmp_path / "out"))
    assert digests(tmp_path / "out") == digests(tree)
