"""Alarms and automatic recovery for the relay's machine."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi_aws import cloudwatch, ec2, sns


def create_machine_alarms(
    name: str,
    instance: ec2.Instance,
    *,
    region: str,
    email: str | None,
    tags: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> None:
    """If the hardware fails, AWS moves the machine, which keeps its disk and address; a machine that hangs is restarted."""
    told: list[pulumi.Input[str]] = []
    if email is not None:
        topic = sns.Topic(f"{name}-alarms", tags=tags, opts=opts)
        sns.TopicSubscription(
            f"{name}-alarms-mail", topic=topic.arn, protocol="email", endpoint=email, opts=opts
        )
        told.append(topic.arn)
    for role, metric, action, minutes in (
        ("recovery", "StatusCheckFailed_System", "recover", 2),
        ("restart", "StatusCheckFailed_Instance", "reboot", 10),
    ):
        cloudwatch.MetricAlarm(
            f"{name}-{role}",
            alarm_description=f"lastcopy: the relay's machine fails ({metric}); AWS is told to {action} it",
            namespace="AWS/EC2",
            metric_name=metric,
            dimensions={"InstanceId": instance.id},
            statistic="Minimum",
            period=60,
            evaluation_periods=minutes,
            comparison_operator="GreaterThanOrEqualToThreshold",
            threshold=1,
            treat_missing_data="missing",
            alarm_actions=[f"arn:aws:automate:{region}:ec2:{action}", *told],
            ok_actions=told,
            tags=tags,
            opts=opts,
        )
