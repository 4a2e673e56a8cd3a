"""A10: a storage that does not provide what the design needs is found before anything else is written, by name, with the row that is lost.

The storage is real, behind a proxy that removes one guarantee (attack_drill/weak_storage.py) if it must be weaker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attack_drill.weak_storage import (
    WEAKNESSES,
    Weakness,
    WeakStorage,
    has_lifecycle,
    weak_storage,
)
from components.vault.identities.ceph_policy import ceph_bucket_policy
from components.vault.identities.identity_policy import identity_policy
from sandbox.bucket import _admin
from tests.ceph import ceph
from tests.enforced import servers
from tests.enforced.servers import s3_client
from tests.sabotage import weaken
from tests.scripts.relay.chain import Answer, Chain, Step
from tests.scripts.relay.conftest import IDENTITIES
from tests.scripts.relay.stored import stored

WEB1 = IDENTITIES["web1"]
NEW = "new1"  # a source that is not enrolled
NEW_KEY = ("new1key", "new1-secret-0123456789")
LOCKS = "web1/g1/locks/"


def weakness(name: str) -> Weakness:
    return next(one for one in WEAKNESSES if one.name == name)


@pytest.fixture(scope="module")
def weak(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WeakStorage]:
    """The storage behind a proxy on the relay's loopback, unchanged until a test requests a weakness."""
    with weak_storage(
        chain.storage["endpoint"], chain.box.storage_folder / "certs" / "ca.crt", "backups",
        tmp_path_factory.mktemp("weak"), chain.box.driver.network_of("relay"),
    ) as made:  # fmt: skip
        yield made


@contextlib.contextmanager
def so_weak(chain: Chain, weak: WeakStorage, *found: Weakness) -> Iterator[Step]:
    """Run the step with a storage of these weaknesses."""
    weak.weak = found
    weak.asked.clear()
    try:
        with chain.reached_by_sources(weak.port):
            yield chain.storage_check("web1", WEB1, ENDPOINT=weak.endpoint, CA=weak.ca)
    finally:
        weak.weak = ()


def warnings(answer: Answer) -> list[str]:
    return [text for name, text in answer.line["facts"].items() if name.startswith("warning")]


def test_a_good_storage_passes_silently_and_nothing_visible_is_left(ready: Chain) -> None:
    before = {one["VersionId"] for one in stored(ready, "web1/").versions}
    answer = ready.apply(ready.storage_check("web1", WEB1))
    assert answer.line["facts"] == {"lock": "COMPLIANCE 1 days"}
    now = stored(ready, "web1/")
    assert not [name for name in now.current if "lastcopy-probe" in name]
    # One version, hidden by one marker: the second write was refused. All of it below restic's locks, which come and go.
    (made,) = [one for one in now.versions if one["VersionId"] not in before]
    assert made["Key"].startswith(f"{LOCKS}lastcopy-probe-")


def test_a_good_storage_also_passes_through_the_proxy(ready: Chain, weak: WeakStorage) -> None:
    """The control of all tests with a weakness. The relay's own rclone made the uploads, with the header that sessions send."""
    with so_weak(ready, weak) as step:
        assert ready.apply(step).line["facts"] == {"lock": "COMPLIANCE 1 days"}
    by_rclone = [
        one for one in weak.asked if one.method == "PUT" and "rclone" in one.headers.get("user-agent", "")
    ]
    assert len(by_rclone) >= 2
    assert {one.headers.get("if-none-match") for one in by_rclone if "partNumber" not in one.query} == {"*"}
    assert all(one.key.startswith(LOCKS) for one in weak.asked if one.method == "PUT" and one.key)


APART = (
    "demands another checksum",
    "reports a missing object as forbidden",
    "gives no versions",
)  # they end the check early


def judged(answer: Answer, one: Weakness) -> None:
    """Check that the weakness is reported by name, with the row that is lost, and with the fix; the fix of an error is in its next line."""
    mine = [line for line in answer.words.splitlines() if one.told in line]
    assert mine, f"{one.name} is not told in {answer.words}"
    assert one.row == "A10" or any(f"row {one.row} of docs/threat-model.md" in line for line in mine), mine
    assert any(line.startswith("error:") for line in mine) is one.refused, mine


def test_every_weakness_is_found_and_all_are_reported_at_once(ready: Chain, weak: WeakStorage) -> None:
    many = [one for one in WEAKNESSES if one.name not in APART and one.name != "moves objects to an archive"]
    with so_weak(ready, weak, *many) as step:
        answer = ready.run(step.but(ACCEPT_BY="lastcopy:storage.s3.acceptedLosses"))
    assert answer.code == 1
    assert answer.words.count("or accept the loss by lastcopy:storage.s3.acceptedLosses: [") == 5
    for one in many:
        judged(answer, one)
    assert answer.words.count("fix:") == answer.words.count("error:")
    assert WEB1[1] not in answer.words


DAYS, DATE = (
    "<Expiration><Days>1</Days></Expiration>",
    "<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>",
)


@pytest.mark.parametrize(
    ("prefix", "rule", "refused"),
    [
        (LOCKS, DAYS, False),
        (f"{LOCKS}0", DAYS, False),
        (LOCKS, DATE, True),  # of any age, so also one of a running step
        (LOCKS, f"{DAYS}<AllVersionsExpiration><Days>1</Days></AllVersionsExpiration>", True),
        ("web1/g1/lock", DAYS, True),
        ("web1/g1/", DAYS, True),
        ("web1/g1/snapshots/", DAYS, True),
    ],
)
def test_only_locks_may_expire(
    ready: Chain, weak: WeakStorage, prefix: str, rule: str, refused: bool
) -> None:
    """R1 allows locks to be lost: their source deletes them anyway."""
    expires = Weakness(
        name="", row="R1", told="lets current objects expire", instead=has_lifecycle(rule, prefix)
    )
    with so_weak(ready, weak, expires) as step:
        answer = ready.run(step)
    assert (expires.told in answer.words, answer.code != 0) == (refused, refused), answer.words


# The other two: the gates and a real Ceph (test_storage_gates.py), and the attack drill's row A10, which plays all of them.
@pytest.mark.parametrize("name", ["gives no versions", "moves objects to an archive"])
def test_weaknesses_that_end_the_check_are_found_as_well(ready: Chain, weak: WeakStorage, name: str) -> None:
    one = weakness(name)
    with so_weak(ready, weak, one) as step:
        answer = ready.run(step)
    if one.refused:
        assert answer.code == 1
        judged(answer, one)
    else:
        assert one.told in warnings(answer)[0]


def test_losses_that_the_stack_accepts_are_warnings(ready: Chain, weak: WeakStorage) -> None:
    accepted = [weakness("takes a second write of a name"), weakness("lets the identity change the bucket")]
    with so_weak(ready, weak, *accepted) as step:
        answer = ready.apply(step.but(ACCEPTED="R4 S5"))
    assert [any(one.told in text for text in warnings(answer)) for one in accepted] == [True, True]
    assert len(warnings(answer)) == 2


# --- an identity with all rights, on the real servers without a proxy: found, and no attempt had an effect ---

ALLOW_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}  # fmt: skip
TOO_WIDE = (
    "list others",
    "read others",
    "write to others",
    "hide objects",
    "delete versions",
    "lock for longer",
    "change the bucket",
)


def set_policy(chain: Chain, policy: dict[str, Any]) -> None:
    with chain.box.storage_admin() as (origin, *_):
        _admin(chain.box.storage_folder, origin).policy_add(f"source-{NEW_KEY[0]}", policy=policy)


@pytest.fixture
def new(ready: Chain) -> Iterator[Step]:
    """The step of a source that is not enrolled, with its own identity."""
    ready.box.identity_up(NEW, f"{NEW}/", *NEW_KEY)
    try:
        yield ready.storage_check(NEW, NEW_KEY)
    finally:
        set_policy(ready, identity_policy("backups", f"{NEW}/"))


def settings(s3: Any, bucket: str) -> dict[str, str]:
    found = {}
    for name in ("get_bucket_versioning", "get_object_lock_configuration", "get_bucket_policy", "get_bucket_lifecycle_configuration"):  # fmt: skip
        with contextlib.suppress(s3.exceptions.ClientError):
            answer = getattr(s3, name)(Bucket=bucket)
            answer.pop("ResponseMetadata")
            found[name] = str(answer)
    return found


def found_too_wide(answer: Answer) -> None:
    for right in TOO_WIDE:
        one = weakness(f"lets the identity {right}")
        assert one.told.replace("lifecycle, ", "") in answer.words or one.told in answer.words, (
            f"{right}: {answer.words}"
        )


def test_excessive_rights_are_found_on_minio_without_using_them(ready: Chain, new: Step) -> None:
    set_policy(ready, ALLOW_ALL)
    with ready.box.storage_admin() as (origin, ca, user, secret):
        s3 = s3_client(origin, Path(ca), user, secret)
        # Another source's configuration could be read: the step knows that source from the relay.
        s3.put_object(Bucket="backups", Key="db1/g1/config", Body=b"sealed")
        before = settings(s3, "backups")
    answer = ready.run(new)
    assert answer.code == 1
    found_too_wide(answer)
    with ready.box.storage_admin():
        assert settings(s3, "backups") == before
        assert not s3.list_multipart_uploads(Bucket="backups").get("Uploads")
    left = stored(ready, "")
    mine = [one["Key"] for one in [*left.versions, *left.markers] if "lastcopy-probe" in one["Key"]]
    assert mine
    assert all("/g1/locks/lastcopy-probe-" in key for key in mine)
    assert not [key for key in left.current if "lastcopy-probe" in key]


def test_what_the_identity_may_not_ask_is_reported_and_stops_nothing(ready: Chain, new: Step) -> None:
    """A former identity: the policy without the rights to see locks, versions and lifecycle."""
    policy = identity_policy("backups", f"{NEW}/")
    for statement in policy["Statement"]:
        statement["Action"] = [
            action
            for action in statement["Action"]
            if not action.endswith(("Retention", "ObjectVersion", "LifecycleConfiguration"))
        ]
    set_policy(ready, policy)
    facts = ready.apply(new).line["facts"]
    seen = {name: text for name, text in facts.items() if name != "lock"}
    assert all(name.startswith("unseen") for name in seen)
    assert {"s3:GetObjectRetention", "s3:GetLifecycleConfiguration"} == {
        word for text in seen.values() for word in text.replace("(", " ").replace(")", " ").split() if word.startswith("s3:")
    }  # fmt: skip


def test_excessive_rights_are_found_on_versitygw_as_on_minio(ready: Chain, tmp_path: Path) -> None:
    """A second server that enforces AWS's documents; it counts a default retention from its configuration (as in the catalogue)."""
    with ready.box.driver.network_of("relay"), servers.versity(tmp_path) as server:
        server.make_bucket("backups", "COMPLIANCE", 1)
        server.root.put_object(Bucket="backups", Key="db1/g1/config", Body=b"sealed")
        keys = {name: server.add_identity(name, policy) for name, policy in
                {"narrow": identity_policy("backups", "web1/"), "wide": ALLOW_ALL}.items()}  # fmt: skip
        port = int(server.endpoint.rpartition(":")[2])
        before = settings(server.root, "backups")
        with ready.reached_by_sources(port):
            steps = {
                name: ready.storage_check(
                    "web1", (key.access_key, key.secret_key), service="Versity", ENDPOINT=server.endpoint, CA=server.ca.read_text(), ACCEPTED="R1 R2 R3"
                )
                for name, key in keys.items()
            }  # fmt: skip
            good, bad = ready.apply(steps["narrow"]), ready.run(steps["wide"])
        assert settings(server.root, "backups") == before
        assert not server.root.list_multipart_uploads(Bucket="backups").get("Uploads")
    assert [text.split(" (")[0] for text in warnings(good)] == [
        "bucket 'backups' has a default retention, yet what is written is not locked"
    ]
    assert bad.code == 1
    found_too_wide(bad)


def test_weaknesses_of_a_real_ceph_are_named(ready: Chain, tmp_path: Path) -> None:
    """With the policy that the documentation gives for it, with AWS's, and with one that forgets the owners' rights."""
    with ready.box.driver.network_of("relay"), ceph(tmp_path) as server:
        key, port = server.add_user("web1"), int(server.endpoint.rpartition(":")[2])
        documented = ceph_bucket_policy("backups", {"web1": server.arn("web1")}, server.arn("root"))
        server.make_bucket("backups", "COMPLIANCE", 1)
        step = ready.storage_check(
            "web1", (key.access_key, key.secret_key), ENDPOINT=server.endpoint, service="Ceph", CA=server.ca.read_text(), ACCEPTED="S5"
        )  # fmt: skip
        policies = {
            "documented": documented,
            "conditioned": {**documented, "Statement": [with_prefix(one) for one in documented["Statement"]]},
            "owners": {**documented, "Statement": [one for one in documented["Statement"] if one["Effect"] == "Allow"]},
        }  # fmt: skip
        answers = {}
        with ready.reached_by_sources(port):
            for name, policy in policies.items():
                server.set_policy("backups", policy)
                answers[name] = ready.run(step)
    assert [text.partition(" (row ")[2][:2] for text in warnings(answers["documented"])] == ["S5", "R8"]
    assert answers["conditioned"].code == 1
    assert weakness("reports a missing object as forbidden").told in answers["conditioned"].words
    assert "pull request 68577" in answers["conditioned"].words
    assert any(
        weakness("lets the identity lock for longer").told in text for text in warnings(answers["owners"])
    )


def with_prefix(statement: dict[str, Any]) -> dict[str, Any]:
    listing = statement["Action"] == ["s3:ListBucket"]
    return {**statement, **({"Condition": {"StringLike": {"s3:prefix": "web1/*"}}} if listing else {})}


# --- the account, and a killed step ---


def accounts(chain: Chain) -> set[str]:
    return set(
        chain.sh(
            "getent passwd | grep '^bk-' | cut -d : -f 1; getent group | grep '^bk-' | cut -d : -f 1"
        ).split()
    )


def test_a_source_that_is_not_enrolled_yet_has_its_account_only_during_the_check(
    ready: Chain, weak: WeakStorage, new: Step
) -> None:
    before = accounts(ready)
    files = ready.sh("ls /run/lastcopy")
    good = ready.apply(new)
    assert (good.changed, accounts(ready)) == ([], before)
    with so_weak(ready, weak, weakness("locks nothing")):
        bad = ready.run(ready.storage_check(NEW, NEW_KEY, ENDPOINT=weak.endpoint, CA=weak.ca))
    assert bad.code == 1
    assert accounts(ready) == before
    assert ready.sh("ls /run/lastcopy") == files


def test_the_check_is_made_under_the_sources_firewall_rule(ready: Chain, weak: WeakStorage) -> None:
    """root reaches the proxy on the relay's loopback, but a source's account does not, and so the step does not either."""
    with so_weak(ready, weak) as step:
        pass
    assert ready.sh(f"curl -s -k -o /dev/null -w '%{{http_code}}' {weak.endpoint}/") == "403"
    answer = ready.run(step)
    assert "is not reached from the relay" in answer.words


def test_leftovers_of_killed_steps_are_removed_by_the_next_step_of_any_source(
    ready: Chain, new: Step
) -> None:
    before = accounts(ready)
    ready.killed_after(new, 0.7)
    # As after a kill at the worst moment.
    ready.sh(
        f"getent passwd bk-{NEW} >/dev/null || {{ groupadd --system bk-{NEW}; useradd --system --gid lastcopy-sources --groups bk-{NEW} "
        f"--no-create-home --home-dir / --shell /usr/local/lib/lastcopy/serve-restic --comment 'lastcopy source' bk-{NEW}; }}"
    )
    with ready.box.storage_admin() as (origin, ca, user, secret):
        s3_client(origin, Path(ca), user, secret).put_object(
            Bucket="backups", Key=f"{LOCKS}lastcopy-probe-1-ab", Body=b"left"
        )
    ready.apply(ready.storage_check("web1", WEB1))
    assert accounts(ready) == before
    assert not [name for name in stored(ready, LOCKS).current if "lastcopy-probe" in name]
    assert ready.apply(new).line["facts"] == {"lock": "COMPLIANCE 1 days"}
    assert not [name for name in stored(ready, NEW).current if "lastcopy-probe" in name]


# --- sabotage: without a part of the check, the weakness that it looks for goes unnoticed ---

PARTS = {
    "  second_write\n": "takes a second write of a name",
    "  held_by_a_lock\n": "locks nothing",
    "  settings\n": "lets the identity change the bucket",
    "  lifecycle\n": "lets current objects expire",
}


def test_sabotage_without_a_part_of_the_check_its_weakness_is_not_found(
    ready: Chain, weak: WeakStorage
) -> None:
    control = weakness("lets the identity hide objects")
    with so_weak(ready, weak, control, *map(weakness, PARTS.values())) as step:
        text = step.text()
        for part in PARTS:
            text = weaken(text, part)
        done = ready.root("sh", "-s", "--", "apply", "203.0.113.1 1 2 22", stdin=text)
    said = done.stdout + done.stderr
    assert control.told in said
    assert not [name for name in PARTS.values() if weakness(name).told in said]
