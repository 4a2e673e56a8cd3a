"""All rules, in the order in which the engine reports them."""

from __future__ import annotations

from policy import bucket_rules, machine_rules, secret_rules
from policy.graph import Graph, Rule, Violation

RULES: tuple[Rule, ...] = (*bucket_rules.RULES, *machine_rules.RULES, *secret_rules.RULES)


def violations(graph: Graph) -> list[Violation]:
    """Everything that is wrong with a graph."""
    return [found for rule in RULES for found in rule.violations(graph)]
