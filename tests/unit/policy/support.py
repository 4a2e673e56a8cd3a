"""Recorded graphs in the form that the policy's rules read, and a small vault that satisfies every rule."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from policy.bucket_rules import (
    BUCKET,
    ENCRYPTION,
    LOCK,
    OF_BUCKET,
    OF_OBJECTS,
    OWNER,
    POLICY,
    PUBLIC,
    VERSIONING,
)
from policy.graph import Graph, Node, Secret
from policy.machine_rules import ADDRESS, GROUP, INGRESS, INSTANCE, REMOTE
from policy.rules import violations
from policy.secret_rules import ACCESS_KEY
from tests.unit import recording
from tests.unit.recording import SAMPLE_KEY

BREAK_GLASS = "arn:aws:iam::123456789012:role/break-glass"
ARN = "arn:aws:s3:::example-backups"


def value(given: Any) -> Any:
    if isinstance(given, recording.Secret):
        return Secret(value(given.value))
    if isinstance(given, dict):
        return {key: value(item) for key, item in given.items()}
    return [value(item) for item in given] if isinstance(given, list) else given


def policy_graph(recorded: recording.Graph) -> Graph:
    return tuple(
        Node(
            type=one.type,
            name=one.name,
            inputs=value(one.inputs),
            protect=one.protect,
            secret_outputs=frozenset(one.secret_outputs),
            refers={key: frozenset(names) for key, names in one.refers.items()},
        )
        for one in recorded
    )


def spared(role: str = BREAK_GLASS) -> dict[str, Any]:
    return {"ArnNotEquals": {"aws:PrincipalArn": role}}


def document(*extra: dict[str, Any], without: str = "", role: str = BREAK_GLASS, tls: bool = True) -> str:
    """A bucket policy that satisfies the rules, without one denied action."""
    deny = {"Effect": "Deny", "Principal": "*"}
    of_objects = [one for one in OF_OBJECTS if one != without]
    of_bucket = [one for one in OF_BUCKET if one != without]
    found = [
        {**deny, "Action": of_objects, "Resource": f"{ARN}/*", "Condition": spared(role)},
        {**deny, "Action": of_bucket, "Resource": ARN, "Condition": spared(role)},
        *extra,
    ]
    if without != "s3:DeleteObject":
        found.append(
            {
                **deny,
                "Action": "s3:DeleteObject",
                "NotResource": [f"{ARN}/*/locks/*"],
                "Condition": spared(role),
            }
        )
    if tls:
        plain = {"Bool": {"aws:SecureTransport": "false"}}
        found.append({**deny, "Action": "s3:*", "Resource": [ARN, f"{ARN}/*"], "Condition": plain})
    return json.dumps({"Version": "2012-10-17", "Statement": found})


USER_POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [ARN]},
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": [f"{ARN}/web1/*"]},
            {"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": [f"{ARN}/web1/*/locks/*"]},
        ],
    }
)
_OF = {"bucket": frozenset({"vault"})}
_NODES = (
    Node(
        type=BUCKET,
        name="vault",
        inputs={"bucket": "example-backups", "objectLockEnabled": True},
        protect=True,
    ),
    Node(
        type=LOCK,
        name="lock",
        inputs={"rule": {"defaultRetention": {"mode": "COMPLIANCE", "days": 30}}},
        refers=_OF,
    ),
    Node(
        type=VERSIONING,
        name="versioning",
        inputs={"versioningConfiguration": {"status": "Enabled"}},
        refers=_OF,
    ),
    Node(
        type=PUBLIC,
        name="public",
        inputs=dict.fromkeys(
            ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True
        ),
        refers=_OF,
    ),
    Node(type=OWNER, name="owner", inputs={"rule": {"objectOwnership": "BucketOwnerEnforced"}}, refers=_OF),
    Node(
        type=ENCRYPTION,
        name="encryption",
        inputs={"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
        refers=_OF,
    ),
    Node(type=POLICY, name="policy", inputs={"bucket": "example-backups", "policy": document()}),
    Node(
        type="aws:iam/userPolicy:UserPolicy",
        name="web1-policy",
        inputs={"user": "web1", "policy": USER_POLICY},
    ),
    Node(type=ACCESS_KEY, name="web1-key", inputs={"user": "web1"}, secret_outputs=frozenset({"secret"})),
    Node(
        type=INSTANCE,
        name="relay",
        inputs={
            "disableApiTermination": True,
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
            "rootBlockDevice": {"encrypted": True},
            "userDataBase64": Secret("I2Nsb3VkLWNvbmZpZwo="),
        },
    ),
    Node(type=ADDRESS, name="address", inputs={"domain": "vpc"}, protect=True),
    Node(
        type=GROUP,
        name="group",
        inputs={
            "ingress": [
                {"cidrBlocks": ["203.0.113.0/24"], "fromPort": 22, "toPort": 22, "protocol": "tcp"},
            ]
        },
    ),
    Node(
        type=INGRESS,
        name="ssh",
        inputs={"cidrIpv4": "203.0.113.0/24", "fromPort": 22, "toPort": 22, "ipProtocol": "tcp"},
    ),
    Node(
        type=REMOTE,
        name="step",
        inputs={
            "connection": Secret({"host": "198.51.100.10", "hostKey": SAMPLE_KEY, "privateKey": "x"}),
            "stdin": Secret("main"),
            "addPreviousOutputInEnv": False,
        },
        secret_outputs=frozenset({"stdout", "stderr"}),
    ),
)


def good() -> Graph:
    return _NODES


def changed(name: str, inputs: dict[str, Any] | None = None, **options: Any) -> Graph:
    """The good graph with changed inputs of one resource (None: omitted) and changed options."""

    def new(node: Node) -> Node:
        merged = {key: item for key, item in {**node.inputs, **(inputs or {})}.items() if item is not None}
        return replace(node, inputs=merged, **options) if node.name == name else node

    assert any(node.name == name for node in _NODES)
    return tuple(map(new, _NODES))


def without(name: str) -> Graph:
    return tuple(node for node in _NODES if node.name != name)


def as_test_stack(graph: Graph) -> Graph:
    """The same as a test stack: a lock of one day that may be lifted."""
    lock = {"rule": {"defaultRetention": {"mode": "GOVERNANCE", "days": 1}}}
    return tuple(replace(node, inputs=lock) if node.type == LOCK else node for node in graph)


def broken(graph: Graph) -> set[str]:
    """The names of the rules that a graph breaks."""
    return {one.rule for one in violations(graph)}


def reveal_all(given: Any) -> Any:
    """Inputs as JSON can hold them: a secret is ``{"hidden": …}``."""
    if isinstance(given, Secret):
        return {"hidden": given.value}
    if isinstance(given, dict):
        return {key: reveal_all(item) for key, item in given.items()}
    return given
