"""R8: one source's storage identity is useless below another's prefix. Both servers enforce components/vault/identities/identity_policy.py."""

from __future__ import annotations

import copy
import json
from typing import Any

from tests.enforced import attacks, documents
from tests.enforced.conftest import Make
from tests.enforced.servers import Server
from tests.enforced.vault import LOCK, OBJECTS, all_tried, damage, tried

REFUSED = {"AccessDenied", "403"}


def test_r8_another_sources_prefix_cannot_be_listed_read_written_or_emptied(
    server: Server, vault: Make
) -> None:
    made = vault(server)
    s3 = server.client(made.relay("web1"))
    before = made.state()
    answers = all_tried(attacks.r8_reach_into(s3, made, "db1"))
    assert {name: code for name, code in answers.items() if code not in REFUSED} == {}
    assert made.state() == before


def at_home(s3: Any, bucket: str) -> dict[str, str]:
    """What the relay's rclone does for restic below web1's own prefix, and the relay's check of the bucket."""
    key = "web1/g1/data/cd/parts"
    made = {"Bucket": bucket, "Key": key}
    return all_tried(
        {
            "list": lambda: s3.list_objects_v2(Bucket=bucket, Prefix="web1/g1/"),
            "read": lambda: s3.get_object(Bucket=bucket, Key=f"web1/{OBJECTS[0]}"),
            "write": lambda: s3.put_object(
                Bucket=bucket, Key="web1/g1/data/cd/new", Body=b"x", IfNoneMatch="*"
            ),
            "abort": lambda: s3.abort_multipart_upload(
                **made, UploadId=s3.create_multipart_upload(**made)["UploadId"]
            ),
            "unlock": lambda: s3.delete_object(Bucket=bucket, Key=f"web1/{LOCK}"),
            "ask for versioning": lambda: s3.get_bucket_versioning(Bucket=bucket),
            "ask for the lock": lambda: s3.get_object_lock_configuration(Bucket=bucket),
        }
    )


def test_r8_a_source_works_in_its_own_prefix(server: Server, vault: Make) -> None:
    """The refusals above are due to the prefix: below its own prefix the source may do everything that restic needs."""
    made = vault(server)
    answers = at_home(server.client(made.relay("web1")), made.bucket)
    assert set(answers.values()) == {"done"}, answers


# Needed by AWS's own tools and by the relay's check of the storage; test_storage_proof.py of the relay's scripts tries it without them.
FOR_OTHERS = {"s3:GetBucketLocation", "s3:GetLifecycleConfiguration", "s3:GetObjectRetention", "s3:GetObjectVersion"}  # fmt: skip


def test_every_action_of_the_identity_is_needed(server: Server, vault: Make) -> None:
    """Sabotage of the test above: it fails without any one of the actions."""
    made = vault(server)
    whole = documents.identity(made.bucket, "web1")
    actions = {action for statement in whole["Statement"] for action in statement["Action"]}
    for number, action in enumerate(sorted(actions - FOR_OTHERS)):
        less = copy.deepcopy(whole)
        for statement in less["Statement"]:
            statement["Action"] = [one for one in statement["Action"] if one != action]
        less["Statement"] = [statement for statement in less["Statement"] if statement["Action"]]
        s3 = server.client(server.add_identity(f"less{number}", less))
        answers = at_home(s3, made.bucket)
        assert set(answers.values()) & REFUSED, f"{action} is not needed"


def test_r8_sabotage_with_a_wider_prefix_other_sources_can_be_reached(server: Server, vault: Make) -> None:
    """web1's identity, with the whole bucket as its prefix."""
    made = vault(server)
    wide = json.loads(json.dumps(documents.identity(made.bucket, "web1")).replace("web1/", ""))
    s3 = server.client(server.add_identity("wide", wide))
    before = made.state()
    answers = all_tried(attacks.r8_reach_into(s3, made, "db1"))
    reached = {name for name, code in answers.items() if code == "done"}
    assert {"list 'db1/'", "read", "look", "copy to my prefix", "overwrite", "write in parts"} <= reached
    assert (
        damage(before, made.state()) == []
    )  # only added versions and a hidden lock: against more than that there is the lock of R1 to R3
    assert made.state() != before


def test_s5_a_second_write_of_a_name_is_refused_by_the_storage(server: Server, vault: Make) -> None:
    """The relay's rclone sends this header with every write. An attacker may leave it out, see test_statements.py."""
    made = vault(server)
    s3, key = server.client(made.relay("web1")), f"web1/{OBJECTS[0]}"
    before = made.state()
    again = tried(lambda: s3.put_object(Bucket=made.bucket, Key=key, Body=b"evil", IfNoneMatch="*"))
    assert again == "PreconditionFailed"
    assert made.state() == before
    assert tried(lambda: s3.put_object(Bucket=made.bucket, Key=key, Body=b"evil")) == "done"  # the sabotage
