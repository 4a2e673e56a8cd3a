"""VaultAlarms: people are notified when the vault is touched, grows or falls silent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, s3, sns

from components.vault.alarms import alarm_policies, event_patterns
from components.vault.alarms.event_alarms import EventAlarm, event_alarms, silence_alarm
from components.vault.alarms.vault_silence import METRIC, NAMESPACE, VaultSilence, VaultSilenceArgs
from components.vault.policy_documents import Document

_HOUR = 3600  # seconds
_DAY = 24 * _HOUR
_GIB = 1024**3
# "An alarm's total current evaluation period can be no longer than seven days" (PutMetricAlarm, read 2026-11-28).
LOOKS_BACK = 168  # hours


@dataclass(frozen=True, kw_only=True)
class VaultAlarmsArgs:
    """``snapshots`` maps a source to the prefix of its snapshots (``web1/g1/snapshots/``). Exactly one of ``email``, ``topic``.

    ``topic``: ARN of an existing SNS topic that CloudWatch alarms of this account may publish to. ``silent_hours``: the limit for each source.
    """

    bucket: str
    account: str
    snapshots: Mapping[str, str]
    email: str | None = None
    topic: str | None = None
    silent_hours: Mapping[str, int]
    growth_gib_per_day: int = 100

    def __post_init__(self) -> None:
        wrong = sorted(source for source in self.snapshots if self.silent_hours.get(source, 0) < 1)
        if wrong:
            raise ValueError(f"silent_hours lacks a whole number of hours for {', '.join(wrong)}")

    def reported_sources(self) -> dict[str, str]:
        """Sources that may be silent for longer than CloudWatch looks back, with their snapshots' prefixes."""
        return {
            source: prefix
            for source, prefix in self.snapshots.items()
            if self.silent_hours[source] > LOOKS_BACK
        }


class VaultAlarms(pulumi.ComponentResource):
    """People are notified when backups stop, and when the vault is hidden, destroyed, reconfigured, flooded or refuses calls (A8, R1, R4, S10).

    Pulumi type ``lastcopy:vault:VaultAlarms``. Children: ``<name>-events`` (s3.BucketNotification: the bucket reports to EventBridge; this
    replaces other notifications of an adopted bucket), ``<name>-counted`` (a topic without subscribers, so that each rule has a target
    and its invocations are counted), ``<name>-people`` with its subscription if an address is given, and for each alarm an
    EventRule, EventTarget and MetricAlarm. For a source that may be silent for longer than the 7 days that CloudWatch looks back, the alarm watches
    the age that ``<name>-silence`` (VaultSilence) reports every hour. All other alarms watch counts, so that a
    thousand refused calls cause one message.
    Output: ``topic``, the ARN of the topic that notifies people.
    docs/aws.md, Alarms, says what each alarm sees, does not see and costs. Whoever may change this stack may silence them.
    The topics are not encrypted: AWS's own key for SNS (alias/aws/sns) would exclude CloudWatch and EventBridge, and messages contain only the names of
    the bucket and the source. To use a key of your own, give a ``topic``.
    """

    topic: pulumi.Output[str]

    def __init__(self, name: str, args: VaultAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:vault:VaultAlarms", name, {"bucket": args.bucket}, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        events = s3.BucketNotification(
            f"{name}-events", bucket=args.bucket, eventbridge=True, opts=self._child
        )
        self.topic = self._create_people_topic()
        counted = self._create_topic("counted", alarm_policies.rules_topic)
        reported = args.reported_sources()
        for source, prefix in args.snapshots.items():
            if source not in reported:
                pattern = event_patterns.new_snapshot(args.bucket, prefix)
                hours = args.silent_hours[source]
                alarm = silence_alarm(source, pattern, self._silence_text(source), hours)
                self._create_event_alarm(alarm, counted, events)
        if reported:
            self._create_reported_silence(reported)
        for alarm in event_alarms(args.bucket):
            self._create_event_alarm(alarm, counted, events)
        self._create_growth_alarm()
        self.register_outputs({"topic": self.topic})

    def _silence_text(self, source: str) -> str:
        hours, bucket = self._args.silent_hours[source], self._args.bucket
        return f"No new snapshot of {source} in {bucket} for {hours} hours. On {source}: systemctl status lastcopy-backup"

    def _create_people_topic(self) -> pulumi.Output[str]:
        """The topic to which alarms are sent."""
        args = self._args
        if args.topic is not None:
            return pulumi.Output.from_input(args.topic)
        people = self._create_topic(
            "people", lambda arn: alarm_policies.operators_topic(arn, account=args.account)
        )
        sns.TopicSubscription(
            f"{self._name}-subscription",
            topic=people,
            protocol="email",
            endpoint=args.email or "",
            opts=self._child,
        )
        return people

    def _create_topic(self, role: str, policy: Callable[[str], Document]) -> pulumi.Output[str]:
        topic = sns.Topic(f"{self._name}-{role}", opts=self._child)
        allowed = sns.TopicPolicy(
            f"{self._name}-{role}-policy",
            arn=topic.arn,
            policy=topic.arn.apply(lambda arn: json.dumps(policy(arn))),
            opts=self._child,
        )
        # The policy's own output, so that whatever uses the topic is created after the permission.
        return allowed.arn

    def _create_event_alarm(
        self, alarm: EventAlarm, counted: pulumi.Output[str], events: pulumi.Resource
    ) -> None:
        """A rule that counts the alarm's events, and the alarm on that count."""
        rule = cloudwatch.EventRule(
            f"{self._name}-{alarm.role}",
            description=f"lastcopy: counted for the alarm {alarm.role}",
            event_pattern=json.dumps(alarm.pattern),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[events]),
        )
        target = cloudwatch.EventTarget(
            f"{self._name}-{alarm.role}-target", rule=rule.name, arn=counted, opts=self._child
        )
        cloudwatch.MetricAlarm(
            f"{self._name}-{alarm.role}-alarm",
            alarm_description=alarm.text,
            namespace="AWS/Events",
            metric_name="Invocations",
            dimensions={"RuleName": rule.name},
            statistic="Sum",
            threshold=1,
            comparison_operator=alarm.comparison_operator,
            period=alarm.period,
            evaluation_periods=alarm.evaluation_periods,
            datapoints_to_alarm=alarm.datapoints_to_alarm,
            treat_missing_data=alarm.treat_missing_data,
            alarm_actions=[self.topic],
            ok_actions=[self.topic] if alarm.tells_when_over else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[target]),
        )

    def _create_reported_silence(self, reported: Mapping[str, str]) -> None:
        """A function that reports the age of these sources' newest snapshots, and one alarm on each age."""
        args = self._args
        check = VaultSilence(
            f"{self._name}-silence",
            VaultSilenceArgs(bucket=args.bucket, account=args.account, snapshots=reported),
            self._child,
        )
        for source in reported:
            cloudwatch.MetricAlarm(
                f"{self._name}-silent-{source}-alarm",
                alarm_description=self._silence_text(source),
                namespace=NAMESPACE,
                metric_name=METRIC,
                dimensions={"Bucket": args.bucket, "Source": source},
                statistic="Maximum",
                comparison_operator="GreaterThanThreshold",
                threshold=args.silent_hours[source],
                period=3 * _HOUR,  # three reports, so that a single late one does not fire the alarm
                evaluation_periods=1,
                treat_missing_data="breaching",
                alarm_actions=[self.topic],
                ok_actions=[self.topic],
                opts=pulumi.ResourceOptions(parent=self, depends_on=[check]),
            )

    def _create_growth_alarm(self) -> None:
        args = self._args
        cloudwatch.MetricAlarm(
            f"{self._name}-growth-alarm",
            alarm_description=f"{args.bucket} grew by more than {args.growth_gib_per_day} GiB within a day",
            comparison_operator="GreaterThanThreshold",
            threshold=args.growth_gib_per_day * _GIB,
            # S3 measures once a day and reports late: three days contain the newest figure and the one before it.
            evaluation_periods=3,
            datapoints_to_alarm=1,
            treat_missing_data="notBreaching",
            metric_queries=_growth_queries(args.bucket),
            alarm_actions=[self.topic],
            opts=self._child,
        )


def _growth_queries(bucket: str) -> list[cloudwatch.MetricAlarmMetricQueryArgs]:
    size = cloudwatch.MetricAlarmMetricQueryMetricArgs(
        namespace="AWS/S3",
        metric_name="BucketSizeBytes",
        dimensions={"BucketName": bucket, "StorageType": "StandardStorage"},
        period=_DAY,
        stat="Average",
    )
    return [
        cloudwatch.MetricAlarmMetricQueryArgs(id="size", metric=size),
        cloudwatch.MetricAlarmMetricQueryArgs(
            id="growth",
            expression="DIFF(size)",
            label="bytes more than the day before",
            return_data=True,
        ),
    ]
