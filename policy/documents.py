"""Reads IAM policy documents as AWS does: what a statement covers, and whom it exempts. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PRINCIPAL_KEY = "aws:principalarn"
_SPARING = re.compile(r"(?:String|Arn)Not(?:Equals|Like)(?:IfExists)?\Z")
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:(?:role|user)/[\w+=,.@/-]+\Z")


@dataclass(frozen=True, kw_only=True)
class Statement:
    effect: str
    everybody: bool
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]]

    def speaks_of(self, action: str) -> bool:
        if self.actions:
            return any(matches(one, action, fold=True) for one in self.actions)
        return bool(self.not_actions) and not any(matches(one, action, fold=True) for one in self.not_actions)

    def covers(self, action: str, resource: str) -> bool:
        """Whether a statement applies to an action on a resource, regardless of its conditions."""
        where = (
            any(matches(one, resource) for one in self.resources)
            if self.resources
            else bool(self.not_resources) and not any(matches(one, resource) for one in self.not_resources)
        )
        return self.speaks_of(action) and where

    def spares(self) -> tuple[str, ...] | None:
        """The principals that a denial exempts. None if it has other conditions, so that it does not always apply."""
        spared: list[str] = []
        for operator, tests in self.conditions.items():
            if not _SPARING.match(operator) or {key.lower() for key in tests} != {PRINCIPAL_KEY}:
                return None
            spared += [value for values in tests.values() for value in values]
        return tuple(spared)


def matches(pattern: str, text: str, *, fold: bool = False) -> bool:
    """Whether IAM's wildcards match: * for any text, ? for one character. Actions ignore case."""
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return bool(re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if fold else 0)))


def one_identity(arn: str) -> bool:
    """Whether an ARN names one role or user, without wildcards."""
    return bool(_ROLE.match(arn))


def statements(document: Any) -> tuple[Statement, ...]:
    """The statements of a document that is given as JSON text or as a mapping. Raise ValueError if it is not a policy document."""
    if isinstance(document, str):
        document = json.loads(document)
    if not isinstance(document, Mapping) or "Statement" not in document:
        raise ValueError("not a policy document")
    found = document["Statement"]
    return tuple(_statement(one) for one in (found if isinstance(found, list) else [found]))


def _many(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)


def _principals(statement: Mapping[str, Any]) -> Iterator[str]:
    principal = statement.get("Principal")
    for value in principal.values() if isinstance(principal, Mapping) else [principal]:
        yield from _many(value)


def _statement(given: Mapping[str, Any]) -> Statement:
    return Statement(
        effect=str(given.get("Effect")),
        everybody="*" in _principals(given),
        actions=_many(given.get("Action")),
        not_actions=_many(given.get("NotAction")),
        resources=_many(given.get("Resource")),
        not_resources=_many(given.get("NotResource")),
        conditions={
            operator: {key: tuple(_text(one) for one in _listed(value)) for key, value in tests.items()}
            for operator, tests in given.get("Condition", {}).items()
        },
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
