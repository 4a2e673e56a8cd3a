"""Each rule of the policy pack: a graph that satisfies it, and for each way to break it one that this rule refuses."""

from __future__ import annotations

from typing import Any

import pytest

from policy import bucket_rules
from policy.graph import UNKNOWN, Graph, Node, Secret
from policy.rules import RULES, violations
from tests.unit.policy.support import (
    ARN,
    BREAK_GLASS,
    as_test_stack,
    broken,
    changed,
    document,
    good,
    spared,
    without,
)
from tests.unit.recording import SAMPLE_KEY


def ingress(**inputs: Any) -> Graph:
    return changed("ssh", inputs)


def inline(**rule: Any) -> Graph:
    return changed("group", {"ingress": [rule]})


def connection(**fields: Any) -> Graph:
    return changed("step", {"connection": Secret({"host": "198.51.100.10", **fields})})


def retention(**fields: Any) -> Graph:
    return changed("lock", {"rule": {"defaultRetention": fields}})


def lets(action: str, **change: Any) -> Graph:
    """An identity that may also do this."""
    allow = {"Effect": "Allow", "Action": action, "Resource": f"{ARN}/*", **change}
    return changed("web1-policy", {"policy": {"Version": "2012-10-17", "Statement": [allow]}})


OPEN = {"cidrIpv4": "0.0.0.0/0"}
ENDORSED = {"description": "open to all because sources roam"}
SABOTAGE: list[tuple[str, str, Graph]] = [
    ("vault-locked", "off", changed("vault", {"objectLockEnabled": False})),
    ("vault-locked", "not said", changed("vault", {"objectLockEnabled": None})),
    ("vault-locked", "no retention", changed("lock", {"rule": None})),
    ("vault-locked", "no days", retention(mode="COMPLIANCE")),
    ("vault-locked", "no mode", retention(days=30)),
    ("vault-locked", "zero days", retention(mode="COMPLIANCE", days=0)),
    (
        "vault-versioned",
        "suspended",
        changed("versioning", {"versioningConfiguration": {"status": "Suspended"}}),
    ),
    *(
        ("vault-private", name, changed("public", {name: off}))
        for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        for off in (False, None)
    ),
    ("vault-owner-enforced", "ACLs", changed("owner", {"rule": {"objectOwnership": "ObjectWriter"}})),
    ("vault-encrypted", "none", changed("encryption", {"rules": []})),
    *(
        (f"vault-has-{word}", "missing", without(name))
        for word, name in (
            ("lock", "lock"),
            ("versioning", "versioning"),
            ("public-access-block", "public"),
            ("ownership", "owner"),
            ("encryption", "encryption"),
            ("policy", "policy"),
        )
    ),
    ("vault-has-lock", "of another bucket", changed("lock", refers={"bucket": frozenset({"other"})})),
    *(
        ("vault-not-weakened", action, changed("policy", {"policy": document(without=action)}))
        for action in (*bucket_rules.OF_BUCKET, *bucket_rules.OF_OBJECTS, "s3:DeleteObject")
    ),
    (
        "vault-not-weakened",
        "any role spared",
        changed("policy", {"policy": document(role="arn:aws:iam::123456789012:role/*")}),
    ),
    (
        "vault-not-weakened",
        "a whole account spared",
        changed("policy", {"policy": document(role="arn:aws:iam::123456789012:root")}),
    ),
    (
        "vault-not-weakened",
        "denied sometimes",
        changed(
            "policy",
            {
                "policy": document(
                    {
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:PutBucketPolicy",
                        "Resource": ARN,
                        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "false"}},
                    },
                    without="s3:PutBucketPolicy",
                )
            },
        ),
    ),
    (
        "vault-not-weakened",
        "denied to one",
        changed(
            "policy",
            {
                "policy": document(
                    {
                        "Effect": "Deny",
                        "Principal": {"AWS": BREAK_GLASS},
                        "Action": "s3:PutBucketPolicy",
                        "Resource": ARN,
                    },
                    without="s3:PutBucketPolicy",
                )
            },
        ),
    ),
    (
        "vault-not-weakened",
        "denied elsewhere",
        changed(
            "policy",
            {
                "policy": document(
                    {
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:PutBucketPolicy",
                        "Resource": f"{ARN}-other",
                    },
                    without="s3:PutBucketPolicy",
                )
            },
        ),
    ),
    (
        "vault-not-weakened",
        "two roles spared",
        changed(
            "policy",
            {
                "policy": document(
                    {
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:PutBucketPolicy",
                        "Resource": ARN,
                        "Condition": spared("arn:aws:iam::123456789012:role/other"),
                    },
                    without="s3:PutBucketPolicy",
                )
            },
        ),
    ),
    (
        "vault-not-weakened",
        "public",
        changed(
            "policy",
            {
                "policy": document(
                    {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{ARN}/*"}
                )
            },
        ),
    ),
    ("vault-not-weakened", "no document", changed("policy", {"policy": "{}"})),
    ("vault-not-weakened", "not known", changed("policy", {"policy": UNKNOWN})),
    ("vault-tls", "not demanded", changed("policy", {"policy": document(tls=False)})),
    (
        "vault-tls",
        "of objects only",
        changed(
            "policy",
            {
                "policy": document(
                    {
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": f"{ARN}/*",
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    },
                    tls=False,
                )
            },
        ),
    ),
    *(
        ("identity-adds-only", action, lets(action))
        for action in (
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            "s3:*",
            "*",
            "s3:Delete*",
            "s3:putobjectretention",
        )
    ),
    ("identity-adds-only", "bucket settings", lets("s3:PutBucketPolicy", Resource=ARN)),
    ("identity-adds-only", "all but", lets("", Action=None, NotAction=["s3:GetObject"])),
    ("identity-adds-only", "its own prefix", lets("s3:DeleteObject", Resource=f"{ARN}/web1/*")),
    (
        "identity-adds-only",
        "an attached policy",
        (
            *good(),
            Node(
                type="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
                name="all",
                inputs={"policyArn": "arn:aws:iam::aws:policy/AmazonS3FullAccess"},
            ),
        ),
    ),
    ("vault-stays", "force destroy", changed("vault", {"forceDestroy": True})),
    ("vault-stays", "perhaps force destroy", changed("vault", {"forceDestroy": UNKNOWN})),
    ("vault-stays", "unprotected", changed("vault", protect=False)),
    ("vault-current-types", "old", (*good(), Node(type="aws:s3/bucketV2:BucketV2", name="old"))),
    ("no-world-open-ssh", "IPv4", ingress(**OPEN)),
    ("no-world-open-ssh", "IPv6", ingress(cidrIpv4=None, cidrIpv6="::/0")),
    ("no-world-open-ssh", "half the world", ingress(cidrIpv4="128.0.0.0/1")),
    ("no-world-open-ssh", "a big part", ingress(cidrIpv4="12.0.0.0/7")),
    ("no-world-open-ssh", "a range", ingress(**OPEN, fromPort=1, toPort=1024)),
    ("no-world-open-ssh", "all protocols", ingress(**OPEN, ipProtocol="-1", fromPort=None, toPort=None)),
    ("no-world-open-ssh", "no reason", ingress(**OPEN, description="open to all because")),
    (
        "no-world-open-ssh",
        "inline",
        inline(cidrBlocks=["10.0.0.0/8", "0.0.0.0/0"], fromPort=22, toPort=22, protocol="tcp"),
    ),
    (
        "no-world-open-ssh",
        "inline IPv6",
        inline(ipv6CidrBlocks=["::/0"], fromPort=0, toPort=0, protocol="-1"),
    ),
    ("no-world-open-ssh", "unknown", changed("group", {"ingress": [UNKNOWN]})),
    (
        "metadata-v2",
        "version 1",
        changed("relay", {"metadataOptions": {"httpTokens": "optional", "httpPutResponseHopLimit": 1}}),
    ),
    (
        "metadata-v2",
        "hops",
        changed("relay", {"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2}}),
    ),
    ("metadata-v2", "defaults", changed("relay", {"metadataOptions": None})),
    ("disks-encrypted", "root", changed("relay", {"rootBlockDevice": {"volumeSize": 8}})),
    ("disks-encrypted", "another", changed("relay", {"ebsBlockDevices": [{"deviceName": "/dev/sdf"}]})),
    ("machine-stays", "termination", changed("relay", {"disableApiTermination": False})),
    ("machine-stays", "unprotected", changed("address", protect=False)),
    ("steps-pinned", "any host", connection()),
    ("steps-pinned", "another kind", connection(hostKey="ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ")),
    ("steps-pinned", "proxy", connection(hostKey=SAMPLE_KEY, proxy={"host": "198.51.100.9"})),
    ("steps-pinned", "output in env", changed("step", {"addPreviousOutputInEnv": None})),
    ("steps-pinned", "environment", changed("step", {"environment": {"A": "b"}})),
    ("no-plain-secret", "stdin", changed("step", {"stdin": "main"})),
    (
        "no-plain-secret",
        "connection",
        changed("step", {"connection": {"hostKey": SAMPLE_KEY, "privateKey": "x"}}),
    ),
    (
        "no-plain-secret",
        "user data",
        changed("relay", {"userData": "-----BEGIN OPENSSH PRIVATE KEY-----\nx"}),
    ),
    ("no-plain-secret", "by name", changed("group", {"tags": {"adminPassword": "x"}})),
    ("secret-outputs", "access key", changed("web1-key", secret_outputs=frozenset())),
    ("secret-outputs", "stdout", changed("step", secret_outputs=frozenset({"stderr"}))),
]


def test_a_good_graph_breaks_no_rule() -> None:
    assert violations(good()) == []


@pytest.mark.parametrize(
    ("rule", "graph"), [pytest.param(rule, graph, id=f"{rule}: {how}") for rule, how, graph in SABOTAGE]
)
def test_each_broken_graph_is_refused_by_its_rule(rule: str, graph: Graph) -> None:
    assert broken(graph) == {rule}


def test_every_rule_has_its_sabotage() -> None:
    assert {rule.name for rule in RULES} == {rule for rule, _, _ in SABOTAGE}
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(
    "graph",
    [
        ingress(**OPEN, **ENDORSED),
        ingress(**OPEN, fromPort=443, toPort=443),
        ingress(cidrIpv4=UNKNOWN, fromPort=443, toPort=443),
        inline(cidrBlocks=["198.51.100.0/24"], fromPort=22, toPort=22, protocol="tcp"),
        changed("relay", {"metadataOptions": {"httpEndpoint": "disabled"}}),
        changed("step", {"stdin": UNKNOWN}),
        connection(hostKey=UNKNOWN),
        changed("encryption", {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]}),
        changed("policy", {"policy": document({"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:Delete*", "Resource": [ARN, f"{ARN}/*"]})}),
        as_test_stack(changed("vault", {"forceDestroy": True}, protect=False)),
        as_test_stack(changed("relay", {"disableApiTermination": False})),
        as_test_stack(changed("address", protect=False)),
    ],
)  # fmt: skip
def test_allowed_variations_are_not_refused(graph: Graph) -> None:
    assert violations(graph) == []


@pytest.mark.parametrize(("mode", "days"), [("COMPLIANCE", 1), ("GOVERNANCE", 8)])
def test_no_lock_that_binds_for_longer_counts_as_a_test(mode: str, days: int) -> None:
    lock = {"rule": {"defaultRetention": {"mode": mode, "days": days}}}
    graph = tuple(
        Node(
            type=one.type, name=one.name, inputs=lock if one.name == "lock" else one.inputs, refers=one.refers
        )
        for one in changed("vault", {"forceDestroy": True})
        if one.name != "relay"
    )
    assert "vault-stays" in broken(graph)
