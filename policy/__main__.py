"""Runs the rules in the engine: `pulumi preview --policy-pack policy`. Every rule is mandatory. Only this file uses pulumi_policy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# The language host starts this folder, so without this its file names would hide other packages.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
    deserialize,
)
from pulumi_policy import policy as sdk
from pulumi_policy.proxy import _is_unknown
from pulumi_policy.secret import Secret as SdkSecret
from pulumi_policy.secret import _DictSecretsProxy, _ListSecretsProxy

from policy.graph import UNKNOWN, GraphRule, Node, NodeRule, Rule, Secret
from policy.rules import RULES

_deserialize = deserialize.deserialize_properties


def _keeping_secrets(props: dict[str, Any], _: bool = True) -> dict[str, Any]:
    return _deserialize(props, True)


# The engine tells the pack which inputs are secret, but by default the SDK drops that for validations.
vars(sdk)["deserialize_properties"] = _keeping_secrets


def _value(given: Any) -> Any:
    if isinstance(given, SdkSecret):
        return Secret(_value(given.value))
    if isinstance(given, _DictSecretsProxy | _ListSecretsProxy):
        return _value(given["__target"])  # the proxy itself returns values without their mark
    if _is_unknown(given):
        return UNKNOWN
    if isinstance(given, Mapping):
        return {key: _value(item) for key, item in given.items()}
    if isinstance(given, list):
        return [_value(item) for item in given]
    return given


def _inputs(props: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(props, _DictSecretsProxy):
        raise RuntimeError(
            "this version of pulumi-policy does not tell what is secret; use the version in requirements.txt"
        )
    inputs: dict[str, Any] = _value(props)
    return inputs


# The inputs of each resource, by URN: the engine gives inputs for each resource separately, and only outputs for the whole stack.
_asked: dict[str, dict[str, Any]] = {}


def _of_node(rule: NodeRule) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        node = Node(
            type=args.resource_type,
            name=args.name,
            inputs=_asked.setdefault(args.urn, _inputs(args.props)),
            protect=args.opts.protect,
            secret_outputs=frozenset(args.opts.additional_secret_outputs),
        )
        for text in rule.check(node):
            report(text, None)

    return validate


def _of_graph(rule: GraphRule) -> Callable[[StackValidationArgs, ReportViolation], None]:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        nodes = {
            one.urn: Node(
                type=one.resource_type,
                name=one.name,
                inputs=_asked.get(one.urn) or _inputs(one.props),
                protect=one.opts.protect,
                refers={
                    key: frozenset(other.name for other in others)
                    for key, others in one.property_dependencies.items()
                },
            )
            for one in args.resources
        }
        urns = {id(node): urn for urn, node in nodes.items()}
        for node, text in rule.check(tuple(nodes.values())):
            report(f"{node.name}: {text}", urns[id(node)])

    return validate


def _policy(rule: Rule) -> ResourceValidationPolicy | StackValidationPolicy:
    level = EnforcementLevel.MANDATORY
    if isinstance(rule, NodeRule):
        return ResourceValidationPolicy(rule.name, rule.promise, _of_node(rule), level)
    return StackValidationPolicy(rule.name, rule.promise, _of_graph(rule), level)


if __name__ == "__main__":
    PolicyPack("lastcopy", [_policy(rule) for rule in RULES])
