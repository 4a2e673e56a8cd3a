"""VaultSilence: reports the age of each source's newest snapshot as a metric, for pauses longer than CloudWatch looks back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_aws import cloudwatch, iam, lambda_

from components.vault.alarms import alarm_policies

_CODE = Path(__file__).parent / "silence_check.py"
NAMESPACE, METRIC = "lastcopy", "HoursSinceSnapshot"  # the same names as in the function's code


@dataclass(frozen=True, kw_only=True)
class VaultSilenceArgs:
    """``snapshots`` maps a source to the prefix of its snapshots (``web1/g1/snapshots/``)."""

    bucket: str
    account: str
    snapshots: Mapping[str, str]


class VaultSilence(pulumi.ComponentResource):
    """Every hour a small function lists the snapshots of these sources and reports the newest one's age (A8).

    Pulumi type ``lastcopy:vault:VaultSilence``. Children: ``<name>-function`` (lambda.Function), its ``<name>-role`` and
    ``<name>-rights``, the hourly ``<name>-hourly`` (EventRule) with ``<name>-target`` and ``<name>-permission``. The function can only list
    the names below the given prefixes, write this one metric and write its own log (K1). If it fails, there is no metric.
    """

    def __init__(self, name: str, args: VaultSilenceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:vault:VaultSilence", name, {"bucket": args.bucket}, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        role, rights = self._create_role()
        self._create_schedule(self._create_function(role, rights))
        self.register_outputs({})

    def _create_role(self) -> tuple[iam.Role, iam.RolePolicy]:
        name, args = self._name, self._args
        role = iam.Role(
            f"{name}-role",
            assume_role_policy=json.dumps(alarm_policies.silence_check_trust()),
            opts=self._child,
        )
        policy = alarm_policies.silence_check_rights(
            args.bucket,
            sorted(args.snapshots.values()),
            account=args.account,
            function=f"{name}-function",
            namespace=NAMESPACE,
        )
        rights = iam.RolePolicy(f"{name}-rights", role=role.name, policy=json.dumps(policy), opts=self._child)
        return role, rights

    def _create_function(self, role: iam.Role, rights: iam.RolePolicy) -> lambda_.Function:
        sources = json.dumps(dict(sorted(self._args.snapshots.items())))
        return lambda_.Function(
            f"{self._name}-function",
            description=f"lastcopy: age of the newest snapshots in {self._args.bucket}",
            role=role.arn,
            runtime="python3.13",
            architectures=["arm64"],
            handler="silence_check.handler",
            code=pulumi.AssetArchive({_CODE.name: pulumi.FileAsset(str(_CODE))}),
            timeout=300,
            memory_size=256,
            environment=lambda_.FunctionEnvironmentArgs(
                variables={"BUCKET": self._args.bucket, "SOURCES": sources}
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )

    def _create_schedule(self, function: lambda_.Function) -> None:
        hourly = cloudwatch.EventRule(
            f"{self._name}-hourly",
            description="lastcopy: when the age of the newest snapshots is looked at",
            schedule_expression="rate(1 hour)",
            opts=self._child,
        )
        lambda_.Permission(
            f"{self._name}-permission",
            action="lambda:InvokeFunction",
            function=function.name,
            principal="events.amazonaws.com",
            source_arn=hourly.arn,
            opts=self._child,
        )
        cloudwatch.EventTarget(f"{self._name}-target", rule=hourly.name, arn=function.arn, opts=self._child)
