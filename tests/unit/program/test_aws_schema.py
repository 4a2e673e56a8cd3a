"""The program's AWS resources conform to the schema that pulumi-aws publishes; each kind of mistake is noticed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from tests.unit.program.aws_schema import checked, problems
from tests.unit.recording import Graph, Recorded, record, shared
from tests.unit.stacks import SHAPES, Shape, graph_of


def vault() -> None:
    from components.vault.bucket.lifecycle import Transition
    from components.vault.bucket.locked_bucket import LockedBucket, LockedBucketArgs
    from components.vault.identities.source_identity import SourceIdentity, SourceIdentityArgs

    bucket = LockedBucket(
        "vault",
        LockedBucketArgs(
            bucket="example-backups",
            region="eu-central-1",
            lock_mode="COMPLIANCE",
            lock_days=30,
            maximum_days=60,
            break_glass="arn:aws:iam::123456789012:role/break-glass",
            kms_key="arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            transitions=[Transition(after_days=30, storage_class="STANDARD_IA")],
            prefix="hosts/",
        ),
    )
    SourceIdentity(
        "web1",
        SourceIdentityArgs(source="web1", bucket="example-backups", prefix="hosts/web1/"),
        pulumi.ResourceOptions(depends_on=[bucket]),
    )


@shared
def recorded_vault() -> Graph:
    return record(vault)


def only(type_: str, inputs: dict[str, Any]) -> Graph:
    (root,) = record(lambda: None).resources
    return Graph(resources=[replace(root, type=type_, name="it", inputs=inputs)])


def test_the_vault_conforms_to_the_published_schema() -> None:
    graph = recorded_vault()
    assert len(checked(graph)) >= 11
    assert problems(graph) == []


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_kind_of_stack_conforms_to_the_published_schema(shape: Shape) -> None:
    assert problems(graph_of(shape)) == []


def changed(change: Callable[[dict[str, Any]], object], type_: str) -> Graph:
    """The vault with the inputs of its first resource of a type changed."""
    graph = copy.deepcopy(recorded_vault())
    one: Recorded = graph.of_type(type_)[0]
    change(one.inputs)
    return graph


LOCK = "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration"
RULES = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
OWNER = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
BUCKET = "aws:s3/bucket:Bucket"


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (
            lambda: changed(lambda i: i.update(objectLockEnable=True), BUCKET),
            "objectLockEnable: no such input",
        ),
        (
            lambda: changed(lambda i: i["rule"]["defaultRetention"].update(day=1), LOCK),
            "rule.defaultRetention.day: no such input",
        ),
        (lambda: changed(lambda i: i["rules"][0].pop("status"), RULES), "rules[0].status: is required"),
        (lambda: changed(lambda i: i.pop("bucket"), OWNER), "bucket: is required"),
        (
            lambda: changed(lambda i: i["rule"]["defaultRetention"].update(mode="COMPLIENCE"), LOCK),
            "'COMPLIENCE' is none of COMPLIANCE, GOVERNANCE",
        ),
        (
            lambda: changed(lambda i: i["rule"].update(objectOwnership="BucketOwner"), OWNER),
            "'BucketOwner' is none of",
        ),
        (
            lambda: changed(lambda i: i["rule"]["defaultRetention"].update(days="30"), LOCK),
            "is str '30', not int",
        ),
        (lambda: changed(lambda i: i.update(forceDestroy="no"), BUCKET), "is str 'no', not bool"),
        (lambda: changed(lambda i: i.update(rules={}), RULES), "rules: is a mapping, not"),
        (lambda: changed(lambda i: i.update(rule=[]), OWNER), "rule: is a list, not"),
        (lambda: only("aws:s3/bukket:Bukket", {}), "no resource type of the installed pulumi-aws"),
        (lambda: only("aws:no/such:Such", {}), "no resource type of the installed pulumi-aws"),
        (lambda: only("aws:s3/bucketPolicy:BucketVersioning", {}), "no resource type of the installed"),
        (lambda: only("pulumi:providers:aws", {"regoin": "x"}), "regoin: no such input"),
        (lambda: only("aws:ec2/instance:Instance", {"instanceType": "t4g.smol"}), "'t4g.smol' is none of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_noticed(graph: Callable[[], Graph], said: str) -> None:
    found = problems(graph())
    assert any(said in one for one in found), found
    assert len(found) == 1
