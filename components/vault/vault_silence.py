"""VaultSilence: how long ago each source's newest snapshot came, as a metric, for pauses longer than CloudWatch looks back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_aws import cloudwatch, iam, lambda_

from components.vault import aws_policies

_CODE = Path(__file__).parent / "silence_check.py"
NAMESPACE, METRIC = "lastcopy", "HoursSinceSnapshot"  # as the code says them


@dataclass(frozen=True, kw_only=True)
class VaultSilenceArgs:
    """``rooms`` maps a source to the prefix of its snapshots (``web1/g1/snapshots/``)."""

    bucket: str
    account: str
    rooms: Mapping[str, str]


class VaultSilence(pulumi.ComponentResource):
    """Every hour a small function lists the snapshots of these sources and reports the newest one's age (A8).

    Pulumi type ``lastcopy:vault:VaultSilence``. Children: ``<name>-function`` (lambda.Function), its ``<name>-role`` and
    ``<name>-rights``, the hourly ``<name>-hourly`` (EventRule) with ``<name>-target`` and ``<name>-permission``. The function can list
    the names below the given prefixes, write this one metric and its own log, and nothing else (K1). Where it fails, there is no metric.
    Costs, about, in US dollars a month: 0.30 per source (a metric), the calls within the free tier or cents.
    """

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: VaultSilenceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:vault:VaultSilence", name, {"bucket": args.bucket}, opts)
        child = pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            f"{name}-role", assume_role_policy=json.dumps(aws_policies.silence_check_trust()), opts=child
        )
        rights = iam.RolePolicy(
            f"{name}-rights",
            role=role.name,
            policy=json.dumps(
                aws_policies.silence_check_rights(
                    args.bucket,
                    sorted(args.rooms.values()),
                    account=args.account,
                    function=f"{name}-function",
                    namespace=NAMESPACE,
                )
            ),
            opts=child,
        )
        function = lambda_.Function(
            f"{name}-function",
            description=f"lastcopy: age of the newest snapshots in {args.bucket}",
            role=role.arn,
            runtime="python3.13",
            architectures=["arm64"],
            handler="silence_check.handler",
            code=pulumi.AssetArchive({_CODE.name: pulumi.FileAsset(str(_CODE))}),
            timeout=300,
            memory_size=256,
            environment={
                "variables": {"BUCKET": args.bucket, "SOURCES": json.dumps(dict(sorted(args.rooms.items())))}
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )
        hourly = cloudwatch.EventRule(
            f"{name}-hourly",
            description="lastcopy: when the age of the newest snapshots is looked at",
            schedule_expression="rate(1 hour)",
            opts=child,
        )
        permission = lambda_.Permission(
            f"{name}-permission",
            action="lambda:InvokeFunction",
            function=function.name,
            principal="events.amazonaws.com",
            source_arn=hourly.arn,
            opts=child,
        )
        target = cloudwatch.EventTarget(f"{name}-target", rule=hourly.name, arn=function.arn, opts=child)
        self.ready = (permission, target)
        self.register_outputs({})
