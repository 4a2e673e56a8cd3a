"""Compares the settings with the last run's outputs, so that no change of the stack file abandons the backups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi

from components.settings.aws_bucket import AwsBucket
from components.settings.problems import Finding, Fix, Loc
from components.settings.stack import Settings


def read_last_vault() -> Mapping[str, Any]:
    """The stack's own output ``vault`` in its state, or empty before the first successful run.

    The engine reads it for the program: without a file or a cloud, in a few hundredths of a second, and with every backend.
    """
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    answer = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": name}).value
    outputs = answer.get("outputs") if isinstance(answer, Mapping) else None
    vault = outputs.get("vault") if isinstance(outputs, Mapping) else None
    return vault if isinstance(vault, Mapping) else {}


def refuse_other_vault(settings: Settings) -> Iterator[Finding]:
    """Refuse changes that would replace a production vault with another one.

    The second safeguard is the engine's ``protect``, which also covers a vault whose first run was interrupted.
    """
    bucket, aws = settings.storage, settings.aws
    if not isinstance(bucket, AwsBucket) or aws is None:
        return
    old = read_last_vault()
    if old.get("purpose") != "production":
        return
    now: tuple[tuple[str, Loc, str], ...] = (
        ("region", ("aws", "region"), aws.region),
        ("account", ("aws", "account"), aws.account),
        ("bucket", ("storage", "aws", "bucket"), bucket.bucket),
        ("purpose", ("storage", "aws", "purpose"), bucket.purpose),
    )
    for name, loc, value in now:
        before = old.get(name)
        if isinstance(before, str) and before != value:
            what = f'is {value}, but this stack has a vault: {name} "{before}", whose backups must not be abandoned'
            allowed = f"{before}, as long as this stack exists"
            say = "set it back; another vault belongs to another stack (pulumi stack init):"
            yield Finding(loc, what, allowed, Fix(say=say, value=before))
