"""The vault's alarms: which events count, what CloudWatch accepts, and that nobody else can publish to their topics."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.vault.alarms import alarm_policies, event_patterns, silence_check
from components.vault.alarms.vault_alarms import VaultAlarms, VaultAlarmsArgs
from tests.unit.recording import Graph, record
from tests.unit.vault.documents import BUCKET
from tests.unit.vault.iam import effects, like, problems

SNAPSHOTS = {"web1": "web1/g1/snapshots/", "db1": "db1/g2/snapshots/"}
TOPIC = "arn:aws:sns:eu-central-1:123456789012:ops"
MADE = "arn:aws:sns:eu-central-1:123456789012:alarms"
LIMIT = 7 * 24 * 3600  # seconds that CloudWatch looks back


def alarms(**changes: Any) -> Graph:
    def program() -> None:
        given = {
            "bucket": BUCKET,
            "account": "123456789012",
            "snapshots": SNAPSHOTS,
            "email": "ops@example.com",
            "silent_hours": dict.fromkeys(changes.get("snapshots", SNAPSHOTS), 28),
            **changes,
        }
        VaultAlarms("alarms", VaultAlarmsArgs(**given))

    return record(program)


# ---- which events count


def matches(pattern: Any, event: Any) -> bool:
    """EventBridge's rules, as far as ours use them."""
    if isinstance(pattern, dict):
        return isinstance(event, dict) and all(matches(want, event.get(key)) for key, want in pattern.items())
    return any(_one(want, event) for want in pattern)


def _one(want: Any, value: Any) -> bool:
    if not isinstance(want, dict):
        return bool(want == value)
    if not isinstance(value, str):
        return False
    [(operator, rule)] = want.items()
    return value.startswith(rule) if operator == "prefix" else not like(rule["wildcard"], value)


def from_s3(kind: str, key: str, bucket: str = BUCKET, **detail: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in detail.items()}
    return {
        "source": "aws.s3",
        "detail-type": kind,
        "detail": {"bucket": {"name": bucket}, "object": {"key": key}, **named},
    }


def from_cloudtrail(name: str, bucket: str = BUCKET, **detail: str) -> dict[str, Any]:
    call = {
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "requestParameters": {"bucketName": bucket},
        **detail,
    }
    return {"source": "aws.s3", "detail-type": "AWS API Call via CloudTrail", "detail": call}


MARKED = {"deletion_type": "Delete Marker Created", "reason": "DeleteObject"}
GONE = {"deletion_type": "Permanently Deleted", "reason": "DeleteObject"}
SNAPSHOT = from_s3("Object Created", "web1/g1/snapshots/0123")
EVENTS: list[tuple[dict[str, Any], set[str]]] = [
    (SNAPSHOT, {"new"}),
    (from_s3("Object Created", "web1/g1/data/ab/abcd"), set()),
    (from_s3("Object Created", "web10/g1/snapshots/0123"), set()),
    (from_s3("Object Created", "web1/g1/snapshots/0123", bucket="another"), set()),
    (from_s3("Object Deleted", "web1/g1/snapshots/0123", **MARKED), {"hidden"}),
    (from_s3("Object Deleted", "web1/g1/locks/0123", **MARKED), set()),
    (from_s3("Object Deleted", "web1/g1/locks/0123", **GONE), {"destroyed"}),
    (from_s3("Object Deleted", "web1/g1/data/ab/abcd", **GONE), {"destroyed"}),
    (from_s3("Object Deleted", "web1/g1/locks/0123", deletion_type="Permanently Deleted", reason="Lifecycle Expiration"), set()),
    (from_cloudtrail("PutBucketPolicy"), {"reconfigured"}),
    (from_cloudtrail("DeleteBucketLifecycle"), {"reconfigured"}),
    (from_cloudtrail("PutBucketObjectLockConfiguration"), {"reconfigured"}),
    (from_cloudtrail("PutBucketNotification"), {"reconfigured"}),
    (from_cloudtrail("PutBucketPolicy", errorCode="AccessDenied"), {"reconfigured", "denied"}),
    (from_cloudtrail("DeleteObject", errorCode="AccessDenied"), {"denied"}),
    (from_cloudtrail("GetObject"), set()),
    (from_cloudtrail("PutBucketPolicy", bucket="another"), set()),
]  # fmt: skip
PATTERNS = {
    "new": event_patterns.new_snapshot(BUCKET, SNAPSHOTS["web1"]),
    "hidden": event_patterns.hidden(BUCKET),
    "destroyed": event_patterns.destroyed(BUCKET),
    "denied": event_patterns.denied(BUCKET),
    "reconfigured": event_patterns.reconfigured(BUCKET),
}


@pytest.mark.parametrize(("event", "counted"), EVENTS)
def test_an_event_counts_for_exactly_the_intended_alarms(event: dict[str, Any], counted: set[str]) -> None:
    assert {name for name, pattern in PATTERNS.items() if matches(pattern, event)} == counted


def test_no_name_widens_a_pattern() -> None:
    for bucket, prefix in (("*", "web1/"), (BUCKET, "*/"), (BUCKET, "locks/")):
        with pytest.raises(ValueError, match="not a"):
            event_patterns.new_snapshot(bucket, prefix)


# ---- what CloudWatch and SNS get


def test_every_rule_has_its_pattern_target_and_alarm_that_notifies_people() -> None:
    graph = alarms()
    expected = {"hidden", "destroyed", "denied", "reconfigured"} | {
        f"silent-{source}" for source in SNAPSHOTS
    }
    rules = {r.name.removeprefix("alarms-"): r for r in graph.of_type("aws:cloudwatch/eventRule:EventRule")}
    assert set(rules) == expected
    for role, rule in rules.items():
        pattern = (
            event_patterns.new_snapshot(BUCKET, SNAPSHOTS[role[7:]])
            if role.startswith("silent")
            else PATTERNS[role]
        )
        assert json.loads(rule.inputs["eventPattern"]) == pattern
        assert "alarms-events" in rule.depends_on
        assert graph.named(f"alarms-{role}-target").inputs["arn"] == f"{MADE}-counted"
        alarm = graph.named(f"alarms-{role}-alarm")
        assert alarm.inputs["metricName"] == "Invocations"
        assert alarm.inputs["alarmActions"] == [f"{MADE}-people"]
        assert f"alarms-{role}-target" in alarm.depends_on
    assert graph.named("alarms-events").inputs == {"bucket": BUCKET, "eventbridge": True}


@pytest.mark.parametrize("hours", [1, 28, 168])
def test_missing_data_fires_the_silence_alarm_and_fits_what_cloudwatch_looks_back(hours: int) -> None:
    graph = alarms(silent_hours={"web1": hours, "db1": 2})
    assert graph.named("alarms-silent-db1-alarm").inputs["evaluationPeriods"] == 2
    assert not graph.of_type("lastcopy:vault:VaultSilence")
    alarm = graph.named("alarms-silent-web1-alarm").inputs
    assert alarm["treatMissingData"] == "breaching"
    assert alarm["comparisonOperator"] == "LessThanThreshold"
    assert alarm["evaluationPeriods"] == alarm["datapointsToAlarm"] == hours
    assert alarm["period"] == 3600
    assert alarm["period"] * alarm["evaluationPeriods"] <= LIMIT
    assert alarm["okActions"] == [f"{MADE}-people"]


@pytest.mark.parametrize("hours", [169, 172, 748, 8788])
def test_longer_silence_has_an_alarm_on_a_reported_age(hours: int) -> None:
    graph = alarms(silent_hours={"web1": hours, "db1": 28})
    alarm = graph.named("alarms-silent-web1-alarm")
    told = {name: alarm.inputs[name] for name in ("namespace", "metricName", "dimensions", "threshold")}
    assert told == {
        "namespace": silence_check.NAMESPACE,
        "metricName": silence_check.METRIC,
        "dimensions": {"Bucket": BUCKET, "Source": "web1"},
        "threshold": hours,
    }
    assert alarm.inputs["comparisonOperator"] == "GreaterThanThreshold"
    assert alarm.inputs["treatMissingData"] == "breaching", "a check that does not run must not look normal"
    assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == [f"{MADE}-people"]
    assert alarm.inputs["period"] * alarm.inputs["evaluationPeriods"] <= LIMIT
    assert {"alarms-silence-permission", "alarms-silence-target"} <= set(alarm.depends_on)
    names = {resource.name for resource in graph}
    assert "alarms-silent-web1" not in names, "no rule counts what the alarm does not use"
    assert "alarms-silent-db1" in names
    asked = graph.named("alarms-silence-function").inputs["environment"]["variables"]
    assert asked == {"BUCKET": BUCKET, "SOURCES": json.dumps({"web1": SNAPSHOTS["web1"]})}


def test_the_silence_check_can_only_list_names_and_write_its_metric() -> None:
    """K1: what the function's identity may do."""
    rights = alarm_policies.silence_check_rights(
        BUCKET,
        [SNAPSHOTS["web1"]],
        account="123456789012",
        function="alarms-silence-function",
        namespace="lastcopy",
    )
    assert problems(rights, "identity") == []
    [trust] = alarm_policies.silence_check_trust()["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": "lambda.amazonaws.com"}, ["sts:AssumeRole"])
    bucket = f"arn:aws:s3:::{BUCKET}"

    def allows(action: str, resource: str, **context: str) -> bool:
        return effects(
            rights, action, resource, {name.replace("_", ":"): value for name, value in context.items()}
        ) == {"Allow"}

    assert allows("s3:ListBucket", bucket, s3_prefix=SNAPSHOTS["web1"])
    assert allows("cloudwatch:PutMetricData", "*", cloudwatch_namespace="lastcopy")
    for prefix in ("", "web1/", "db1/g2/snapshots/", "web1/g1/snapshots/x"):
        assert not allows("s3:ListBucket", bucket, s3_prefix=prefix)
    assert not allows("cloudwatch:PutMetricData", "*", cloudwatch_namespace="AWS/Events")
    for action in (
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:PutObjectRetention",
        "s3:GetObjectVersion",
    ):
        assert not allows(action, f"{bucket}/{SNAPSHOTS['web1']}x")


def test_the_other_alarms_do_not_fire_without_events() -> None:
    graph = alarms()
    for role in ("hidden", "destroyed", "denied", "reconfigured", "growth"):
        assert graph.named(f"alarms-{role}-alarm").inputs["treatMissingData"] == "notBreaching"


def test_growth_compares_one_day_with_the_day_before() -> None:
    alarm = alarms(growth_gib_per_day=5).named("alarms-growth-alarm").inputs
    assert alarm["threshold"] == 5 * 1024**3
    size, growth = alarm["metricQueries"]
    assert size["metric"] == {
        "namespace": "AWS/S3",
        "metricName": "BucketSizeBytes",
        "dimensions": {"BucketName": BUCKET, "StorageType": "StandardStorage"},
        "period": 86400,
        "stat": "Average",
    }
    assert (growth["expression"], growth["returnData"]) == ("DIFF(size)", True)
    assert size["metric"]["period"] * alarm["evaluationPeriods"] <= LIMIT


def test_people_subscribe_to_their_topic_and_nobody_to_the_counting_one() -> None:
    graph = alarms()
    [subscription] = graph.of_type("aws:sns/topicSubscription:TopicSubscription")
    assert subscription.inputs == {
        "topic": f"{MADE}-people",
        "protocol": "email",
        "endpoint": "ops@example.com",
    }


def test_an_existing_topic_is_used_and_not_changed() -> None:
    graph = alarms(email=None, topic=TOPIC)
    assert not graph.of_type("aws:sns/topicSubscription:TopicSubscription")
    assert [r.name for r in graph.of_type("aws:sns/topicPolicy:TopicPolicy")] == ["alarms-counted-policy"]
    assert graph.named("alarms-hidden-alarm").inputs["alarmActions"] == [TOPIC]


def test_topic_policies_have_the_form_that_aws_accepts() -> None:
    people, rules = (
        alarm_policies.operators_topic(TOPIC, account="123456789012"),
        alarm_policies.rules_topic(TOPIC),
    )
    assert problems(people, "topic") == problems(rules, "topic") == []
    assert people["Statement"][0]["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    # EventBridge gives SNS no context: with a condition it would be refused for ever, silently.
    assert "Condition" not in rules["Statement"][0]
    people["Statement"][0]["Principal"] = "*"
    assert problems(people, "topic")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"silent_hours": {"web1": 0, "db1": 28}}, "hours for web1"),
        ({"silent_hours": {"web1": 28}}, "hours for db1"),
    ],
)
def test_what_cloudwatch_would_refuse_is_refused_here(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        alarms(**change)


def test_adding_a_source_adds_its_alarm_and_changes_no_other() -> None:
    one = {r.name: r.inputs for r in alarms(snapshots={"web1": SNAPSHOTS["web1"]})}
    two = {r.name: r.inputs for r in alarms()}
    assert {name: two[name] for name in one} == one
    assert {name for name in two if name not in one} == {
        f"alarms-silent-db1{end}" for end in ("", "-target", "-alarm")
    }
