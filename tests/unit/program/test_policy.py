"""What this program registers satisfies the rules of the policy pack, for every kind of stack and vault."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from policy import machine_rules
from policy.graph import Graph
from policy.rules import violations
from tests.unit import stacks
from tests.unit.policy.support import BREAK_GLASS, broken, policy_graph
from tests.unit.recording import record
from tests.unit.stacks import SHAPES, Shape


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_kind_of_stack_satisfies_the_rules(shape: Shape) -> None:
    graph = policy_graph(stacks.graph_of(shape))
    assert len(graph) > 10
    assert violations(graph) == []


def vault(**change: Any) -> Graph:
    """What the program's own vault and identities register."""
    from components.vault.bucket.locked_bucket import LockedBucket, LockedBucketArgs
    from components.vault.identities.source_identity import SourceIdentity, SourceIdentityArgs

    given: dict[str, Any] = {
        "bucket": "example-backups",
        "region": "eu-central-1",
        "lock_mode": "COMPLIANCE",
        "lock_days": 30,
        "maximum_days": 60,
        "break_glass": BREAK_GLASS,
    }

    def program() -> None:
        bucket = LockedBucket("vault", LockedBucketArgs(**given | change))
        SourceIdentity(
            "web1",
            SourceIdentityArgs(source="web1", bucket="example-backups", prefix="web1/"),
            pulumi.ResourceOptions(depends_on=[bucket]),
        )

    return policy_graph(record(program))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"lock_mode": "GOVERNANCE", "lock_days": 90, "maximum_days": 90},
        {"origin": "adopted"},
        {"kms_key": "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
        {"lock_mode": "GOVERNANCE", "lock_days": 1, "purpose": "test"},
    ],
    ids=str,
)
def test_the_programs_own_vault_satisfies_the_rules(change: dict[str, Any]) -> None:
    graph = vault(**change)
    assert sum(node.type.startswith("aws:s3/") for node in graph) == 8
    assert violations(graph) == []


def test_a_test_vault_with_a_long_lock_would_not_pass() -> None:
    assert broken(vault(lock_mode="GOVERNANCE", lock_days=30, purpose="test")) == {"vault-stays"}


def test_the_programs_own_firewall_says_why_it_is_open_to_all() -> None:
    why = 'sources roam; their "addresses" are not known'
    open_relay = {"intermediate": {"ec2": {"sourcesFrom": ["0.0.0.0/0"], "openToAllBecause": why}}}
    graph = policy_graph(stacks.graph_of(stacks.CLOUD, json.dumps(open_relay)))
    assert violations(graph) == []
    silent = tuple(
        replace(
            node, inputs={**node.inputs, "ingress": [{**node.inputs["ingress"][0], "description": "SSH"}]}
        )
        if node.type == machine_rules.GROUP and node.inputs.get("ingress")
        else node
        for node in graph
    )
    assert broken(silent) == {"no-world-open-ssh"}
