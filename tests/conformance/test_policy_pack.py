"""This project's policy pack in the real engine: `pulumi preview --policy-pack policy`. What each rule judges: tests/unit/policy."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.policy.support import changed, good, reveal_all
from tests.unit.recording import SAMPLE_KEY
from toolchain.checkout import ROOT

from .stack import Stack

PACK = ROOT / "policy"
# `build` registers the described resources as components, which need no provider; the pack judges types and inputs.
PROGRAM = """
hidden = pulumi.ResourceOptions(additional_secret_outputs=["stdout", "stderr"])
step("kept", create="true", stdin=secret("x"), add_previous_output_in_env=False, opts=hidden)

def hide(value):
    if isinstance(value, dict) and value.keys() == {"hidden"}:
        return secret(value["hidden"])
    if isinstance(value, list):
        return [hide(item) for item in value]
    return {key: hide(item) for key, item in value.items()} if isinstance(value, dict) else value

for type_, name, inputs, protect in given["graph"]:
    pulumi.ComponentResource(type_, name, hide(inputs), pulumi.ResourceOptions(protect=protect))
"""
BAD_STEPS = """
step("plain", create="true", stdin="x", add_previous_output_in_env=False, opts=hidden)
step("unpinned", connection(host_key=None), create="true", add_previous_output_in_env=False, opts=hidden)
step("proud", create="true", opts=hidden)
step("loud", create="true", add_previous_output_in_env=False)
"""


@pytest.fixture(scope="session")
def sshd() -> SimpleNamespace:
    """There is no server: a preview connects to nothing."""
    return SimpleNamespace(port=1, user="nobody", host_key=SAMPLE_KEY)


def told(stack: Stack, program: str, graph: Any) -> tuple[int, set[tuple[str, str]], str]:
    """The engine's exit code, which resource broke which rule, and all output."""
    stack.program(program, {"graph": graph})
    done = stack.pulumi("preview", "--policy-pack", str(PACK), check=False)
    found = re.findall(r"\[mandatory\]\s+([a-z0-9-]+)\s+\(\S+: (\S+)\)", done.stdout)
    return done.returncode, set(found), done.stdout


def described(nodes: Any) -> list[list[Any]]:
    """Resources for PROGRAM, in JSON. Steps are real there, because rules judge their outputs."""
    kept = [node for node in nodes if not node.type.startswith(("command:", "aws:iam/accessKey"))]
    of_bucket = {"bucket": "example-backups"}
    return [
        [
            node.type,
            node.name,
            reveal_all({**(of_bucket if node.refers else {}), **node.inputs}),
            node.protect,
        ]
        for node in kept
    ]


def test_a_stack_that_keeps_the_rules_passes(stack: Stack) -> None:
    code, broken, text = told(stack, PROGRAM, described(good()))
    assert code == 0, text
    assert broken == set()
    assert "lastcopy" in text


def test_broken_rules_stop_the_preview_and_name_the_resource(stack: Stack) -> None:
    nodes = changed("vault", {"forceDestroy": True, "objectLockEnabled": False}, protect=False)
    code, broken, text = told(stack, PROGRAM + BAD_STEPS, described(nodes))
    assert code != 0, text
    assert broken == {
        ("vault-stays", "vault"),
        ("vault-locked", "vault"),
        ("no-plain-secret", "plain"),
        ("steps-pinned", "unpinned"),
        ("steps-pinned", "proud"),
        ("secret-outputs", "loud"),
    }, text


def test_the_pack_sees_what_is_secret(stack: Stack) -> None:
    """The SDK drops the secret mark for validations, and the pack keeps it. Without it every secret would be reported as plain."""
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx"
    hidden = described(changed("relay", {"userData": None}))
    for _, name, inputs, _ in hidden:
        if name == "relay":
            inputs["userData"] = {"hidden": key}
            inputs["deep"] = [{"settings": {"adminPassword": {"hidden": "deep inside"}}}]
    code, broken, text = told(stack, PROGRAM, hidden)
    assert (code, broken) == (0, set()), text
    plain = json.loads(json.dumps(hidden).replace(json.dumps({"hidden": key}), json.dumps(key)))
    code, broken, text = told(stack, PROGRAM, plain)
    assert code != 0
    assert broken == {("no-plain-secret", "relay")}, text
    assert "BEGIN OPENSSH" not in text


@pytest.mark.parametrize("rule", ["vault-not-weakened"])
def test_an_unknown_policy_document_stops_the_preview(stack: Stack, rule: str) -> None:
    unknown = [one for one in described(good()) if one[1] != "policy"]
    program = PROGRAM + (
        'pulumi.ComponentResource("aws:s3/bucketPolicy:BucketPolicy", "policy",'
        ' {"bucket": "example-backups", "policy": step("late", create="true", add_previous_output_in_env=False,'
        " opts=hidden).stdout})\n"
    )
    code, broken, text = told(stack, program, unknown)
    assert code != 0
    assert broken == {(rule, "policy")}, text
