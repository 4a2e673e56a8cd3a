"""VaultAlarms: somebody hears of it when the vault is touched, grows or falls silent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import cloudwatch, s3, sns

from components.vault import aws_policies, vault_events
from components.vault.vault_silence import METRIC, NAMESPACE, VaultSilence, VaultSilenceArgs

_HOUR = 3600  # seconds
_DAY = 24 * _HOUR
_GIB = 1024**3
# "An alarm's total current evaluation period can be no longer than seven days" (PutMetricAlarm, read 2026-11-28).
LOOKS_BACK = 168  # hours


@dataclass(frozen=True, kw_only=True)
class VaultAlarmsArgs:
    """``rooms`` maps a source to the prefix of its snapshots (``web1/g1/snapshots/``). Exactly one of ``email``, ``topic``.

    ``topic``: ARN of an existing SNS topic that CloudWatch alarms of this account may publish to. ``silent_hours``: for each source.
    """

    bucket: str
    account: str
    rooms: Mapping[str, str]
    email: str | None = None
    topic: str | None = None
    silent_hours: Mapping[str, int]
    growth_gib_per_day: int = 100
    after: Sequence[pulumi.Resource] = ()

    def __post_init__(self) -> None:
        if (self.email is None) == (self.topic is None):
            raise ValueError("exactly one of email and topic says who is told")
        wrong = sorted(source for source in self.rooms if self.silent_hours.get(source, 0) < 1)
        if wrong:
            raise ValueError(f"silent_hours lacks a whole number of hours for {', '.join(wrong)}")


class VaultAlarms(pulumi.ComponentResource):
    """Somebody is told when backups stop, and when the vault is hidden, destroyed, reconfigured, refused or flooded (A8, R1, R4, S10).

    Pulumi type ``lastcopy:vault:VaultAlarms``. Children: ``<name>-events`` (s3.BucketNotification: the bucket reports to EventBridge; it
    replaces other notifications of an adopted bucket), ``<name>-counted`` (a topic without subscribers, so that each rule has a target
    and its invocations are counted), ``<name>-people`` with its subscription where an address is given, and per alarm an
    EventRule, EventTarget and MetricAlarm. A source that may be silent for longer than the 7 days that CloudWatch looks back has its alarm on
    the age that ``<name>-silence`` (VaultSilence) reports every hour in place of the rule. Else all are alarms on counts: a
    thousand refused calls are one message, not a thousand.

    ======================  ==================================================  =========================================================
    alarm                   sees                                                does not see
    ======================  ==================================================  =========================================================
    ``silent-<source>``     no object below snapshots/ for ``silent_hours``     a forged snapshot: the source itself can write one; nor one
                            (one hour more at worst, three beyond 7 days).      that holds too little. `ops status --hosts` and the restore
                            Fires on its first day, until the first backup      drill tell that
                            is there. Also where nothing that was meant could
                            be stored, for then no snapshot is made (A9)
    ``hidden``              a delete marker outside locks/, minutes later       why; locks/ are deleted all day
    ``destroyed``           a version deleted by a call                         expiry by lifecycle; the closing of the account
    ``reconfigured``        a change of the bucket's settings, tried or done    anything, unless a CloudTrail trail logs management events
    ``denied``              a refused call                                      refused calls on objects, unless a trail logs the bucket's data
                                                                                events as well; anything without a trail
    ``growth``              the STANDARD class grown by more than the limit     a burst within the day (S3 measures once a day, a day late);
                            within a day                                        what storage class moves took away on that day
    ======================  ==================================================  =========================================================

    Costs, about, in US dollars a month: 0.10 per alarm (5 and one per source), 1 per million objects written (events), a trail's data
    events 0.10 per 100,000 if you log them. S3 request metrics would cost more and count 403 together with 404, so they are not used.
    CloudWatch gets EventBridge's counts by best effort. Not for the relay's or deployer's eyes, yet not safe from the deployer: who may
    change this stack may silence it. The address must confirm its subscription by the link in a mail; until then nobody is told.
    The topics are not encrypted: AWS's own key for SNS (alias/aws/sns) would shut CloudWatch and EventBridge out, and messages hold names of
    bucket and source only. Who wants a key of their own gives a ``topic``.
    """

    topic: pulumi.Output[str]

    def __init__(self, name: str, args: VaultAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:vault:VaultAlarms", name, {"bucket": args.bucket}, opts)
        self._name = name
        self._child = pulumi.ResourceOptions(parent=self)
        self._bucket = args.bucket
        reports = s3.BucketNotification(
            f"{name}-events",
            bucket=args.bucket,
            eventbridge=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.topic = self._people(args)
        self._counted = self._topic("counted", aws_policies.rules_topic)
        self._silence(args, reports)
        for role, pattern, text in (
            (
                "hidden",
                vault_events.hidden,
                "Something outside locks/ was deleted; its versions are kept: docs/operations.md",
            ),
            (
                "destroyed",
                vault_events.destroyed,
                "Versions were deleted by a call: only break-glass can, and only what no lock holds",
            ),
            (
                "reconfigured",
                vault_events.reconfigured,
                "The bucket's settings were changed, or somebody tried: look into CloudTrail",
            ),
            (
                "denied",
                vault_events.denied,
                "The vault refused calls: look into CloudTrail for who asked for what",
            ),
        ):
            self._event(
                role,
                pattern(args.bucket),
                f"{args.bucket}: {text}",
                reports,
                comparison_operator="GreaterThanOrEqualToThreshold",
                period=300,
                evaluation_periods=1,
                treat_missing_data="notBreaching",
            )
        self._growth(args)
        self.register_outputs({"topic": self.topic})

    def _silence(self, args: VaultAlarmsArgs, reports: pulumi.Resource) -> None:
        """One alarm for each source: on the events of its new snapshots, or beyond seven days on their age."""
        long = {source: room for source, room in args.rooms.items() if args.silent_hours[source] > LOOKS_BACK}
        check = None
        if long:
            check = VaultSilence(
                f"{self._name}-silence",
                VaultSilenceArgs(bucket=args.bucket, account=args.account, rooms=long),
                self._child,
            )
        for source, snapshots in args.rooms.items():
            hours, role = args.silent_hours[source], f"silent-{source}"
            text = f"No new snapshot of {source} in {args.bucket} for {hours} hours. On {source}: systemctl status lastcopy-backup"
            if check is None or source not in long:
                self._event(
                    role,
                    vault_events.new_snapshot(args.bucket, snapshots),
                    text,
                    reports,
                    comparison_operator="LessThanThreshold",
                    period=_HOUR,
                    evaluation_periods=hours,
                    datapoints_to_alarm=hours,
                    # Nothing is counted where nothing happened: here that is the alarm, elsewhere it is peace.
                    treat_missing_data="breaching",
                    ok_actions=[self.topic],
                )
                continue
            cloudwatch.MetricAlarm(
                f"{self._name}-{role}-alarm",
                alarm_description=text,
                namespace=NAMESPACE,
                metric_name=METRIC,
                dimensions={"Bucket": args.bucket, "Source": source},
                statistic="Maximum",
                comparison_operator="GreaterThanThreshold",
                threshold=hours,
                period=3 * _HOUR,  # three reports: one that comes late is no alarm
                evaluation_periods=1,
                treat_missing_data="breaching",
                alarm_actions=[self.topic],
                ok_actions=[self.topic],
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(check.ready)),
            )

    def _people(self, args: VaultAlarmsArgs) -> pulumi.Output[str]:
        """The topic that alarms go to."""
        if args.topic is not None:
            return pulumi.Output.from_input(args.topic)
        people = self._topic("people", lambda arn: aws_policies.operators_topic(arn, account=args.account))
        sns.TopicSubscription(
            f"{self._name}-subscription",
            topic=people,
            protocol="email",
            endpoint=args.email or "",
            opts=self._child,
        )
        return people

    def _topic(self, role: str, policy: Any) -> pulumi.Output[str]:
        topic = sns.Topic(f"{self._name}-{role}", opts=self._child)
        allowed = sns.TopicPolicy(
            f"{self._name}-{role}-policy",
            arn=topic.arn,
            policy=topic.arn.apply(lambda arn: json.dumps(policy(arn))),
            opts=self._child,
        )
        # The policy's own output, so that whoever uses the topic comes after the permission to.
        return allowed.arn

    def _event(
        self, role: str, pattern: vault_events.Pattern, text: str, reports: pulumi.Resource, **when: Any
    ) -> None:
        rule = cloudwatch.EventRule(
            f"{self._name}-{role}",
            description=f"lastcopy: counted for the alarm {role}",
            event_pattern=json.dumps(pattern),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[reports]),
        )
        target = cloudwatch.EventTarget(
            f"{self._name}-{role}-target", rule=rule.name, arn=self._counted, opts=self._child
        )
        cloudwatch.MetricAlarm(
            f"{self._name}-{role}-alarm",
            alarm_description=text,
            namespace="AWS/Events",
            metric_name="Invocations",
            dimensions={"RuleName": rule.name},
            statistic="Sum",
            threshold=1,
            alarm_actions=[self.topic],
            **when,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[target]),
        )

    def _growth(self, args: VaultAlarmsArgs) -> None:
        size = {"BucketName": args.bucket, "StorageType": "StandardStorage"}
        cloudwatch.MetricAlarm(
            f"{self._name}-growth-alarm",
            alarm_description=f"{args.bucket} grew by more than {args.growth_gib_per_day} GiB within a day",
            comparison_operator="GreaterThanThreshold",
            threshold=args.growth_gib_per_day * _GIB,
            # S3 measures once a day and reports late: a look at three days finds the newest figure and the one before it.
            evaluation_periods=3,
            datapoints_to_alarm=1,
            treat_missing_data="notBreaching",
            metric_queries=[
                {
                    "id": "size",
                    "metric": {
                        "namespace": "AWS/S3",
                        "metric_name": "BucketSizeBytes",
                        "dimensions": size,
                        "period": _DAY,
                        "stat": "Average",
                    },
                },
                {
                    "id": "growth",
                    "expression": "DIFF(size)",
                    "label": "bytes more than the day before",
                    "return_data": True,
                },
            ],
            alarm_actions=[self.topic],
            opts=self._child,
        )
