"""SNS, CloudWatch and EventBridge, as records; nothing is ever sent."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from tests.aws.double.cloud import Cloud, tag_list
from tests.aws.double.kinds import Kind, Made, words
from tests.aws.double.names import only, pascal
from tests.aws.double.wire import Props


def _quiet(call: Any, **names: Any) -> Any:
    """The answer, or None if the object does not exist."""
    try:
        return call(**names)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if "NotFound" in code or code in (
            "NotFoundException",
            "ResourceNotFoundException",
            "ResourceNotFound",
        ):
            return None
        raise


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)


# SNS


def _make_topic(cloud: Cloud, props: Props) -> Made:
    attributes = pascal(only(props, "displayName", "kmsMasterKeyId"))
    if props.get("policy"):
        attributes["Policy"] = _text(props["policy"])
    arn = cloud.client("sns").create_topic(
        Name=props["name"], Attributes=attributes, Tags=tag_list(cloud.tags(props))
    )["TopicArn"]
    return arn, {"arn": arn, "owner": cloud.account}


def _update_topic(cloud: Cloud, arn: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    sns = cloud.client("sns")
    for name, value in pascal(only(new, "displayName", "kmsMasterKeyId")).items():
        sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue=value)
    sns.tag_resource(ResourceArn=arn, Tags=tag_list(cloud.tags(new)))
    return {}


def _read_topic(cloud: Cloud, arn: str, state: Props) -> Props | None:  # noqa: ARG001
    found = _quiet(cloud.client("sns").get_topic_attributes, TopicArn=arn)
    return found and {"arn": arn, "name": arn.rsplit(":", 1)[-1]}


def _set_policy(cloud: Cloud, arn: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    cloud.client("sns").set_topic_attributes(
        TopicArn=new["arn"], AttributeName="Policy", AttributeValue=_text(new["policy"])
    )
    return {"owner": cloud.account}


def _read_policy(cloud: Cloud, arn: str, state: Props) -> Props | None:  # noqa: ARG001
    found = _quiet(cloud.client("sns").get_topic_attributes, TopicArn=arn)
    return found and {"arn": arn, "policy": found["Attributes"]["Policy"]}


def _subscribe(cloud: Cloud, props: Props) -> Made:
    arn = cloud.client("sns").subscribe(
        TopicArn=props["topic"],
        Protocol=props["protocol"],
        Endpoint=props["endpoint"],
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]
    return arn, {"arn": arn, "pendingConfirmation": props["protocol"] == "email"}


def _read_subscription(cloud: Cloud, arn: str, state: Props) -> Props | None:
    found = _quiet(cloud.client("sns").get_subscription_attributes, SubscriptionArn=arn)
    return found and only(state, "topic", "protocol", "endpoint", "arn")


# CloudWatch

ALARM = (
    "alarmDescription comparisonOperator evaluationPeriods datapointsToAlarm metricName namespace period statistic "
    "extendedStatistic threshold thresholdMetricId treatMissingData unit dimensions metricQueries alarmActions "
    "okActions insufficientDataActions actionsEnabled"
)
SPECIAL = {
    "metricQueries": "Metrics",
    "okActions": "OKActions",
    "insufficientDataActions": "InsufficientDataActions",
}


def _dimensions(found: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in sorted(found.items())]


def _query(query: Props) -> Props:
    made: Props = pascal(only(query, "id", "expression", "label", "returnData", "accountId", "period"))
    if metric := query.get("metric"):
        what = pascal(only(metric, "namespace", "metricName"))
        made["MetricStat"] = {
            "Metric": {**what, "Dimensions": _dimensions(metric.get("dimensions") or {})},
            **pascal(only(metric, "period", "stat", "unit")),
        }
    return made


def _put_alarm(cloud: Cloud, name: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    given = {key: value for key, value in new.items() if key in words(ALARM) and value not in ({}, [])}
    dimensions, queries = given.pop("dimensions", None), given.pop("metricQueries", None)
    call = pascal(given, SPECIAL)
    if dimensions:
        call["Dimensions"] = _dimensions(dimensions)
    if queries:
        call["Metrics"] = [_query(query) for query in queries]
    cloud.client("cloudwatch").put_metric_alarm(AlarmName=name, Tags=tag_list(cloud.tags(new)), **call)
    return {"arn": cloud.arn("cloudwatch", f"alarm:{name}")}


def _read_alarm(cloud: Cloud, name: str, state: Props) -> Props | None:  # noqa: ARG001
    found = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return {"name": name, "arn": cloud.arn("cloudwatch", f"alarm:{name}")} if found else None


# EventBridge


def _put_rule(cloud: Cloud, name: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    given = pascal(only(new, "description", "scheduleExpression", "state", "roleArn", "eventBusName"))
    if new.get("eventPattern"):
        given["EventPattern"] = _text(new["eventPattern"])
    arn = cloud.client("events").put_rule(Name=name, Tags=tag_list(cloud.tags(new)), **given)["RuleArn"]
    return {"arn": arn}


def _make_target(cloud: Cloud, props: Props) -> Made:
    name = props.get("targetId") or f"target-{secrets.token_hex(6)}"
    return f"{props['rule']}-{name}", _put_target(cloud, "", {}, {**props, "targetId": name})


def _put_target(cloud: Cloud, made: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    name = new.get("targetId") or old["targetId"]
    target = {"Id": name, **pascal(only(new, "arn", "input", "inputPath", "roleArn"))}
    if change := new.get("inputTransformer"):
        target["InputTransformer"] = {
            "InputPathsMap": change.get("inputPaths") or {},
            "InputTemplate": change["inputTemplate"],
        }
    cloud.client("events").put_targets(Rule=new["rule"], Targets=[target])
    return {"targetId": name}


def _read_target(cloud: Cloud, made: str, state: Props) -> Props | None:  # noqa: ARG001
    found = _quiet(cloud.client("events").list_targets_by_rule, Rule=state["rule"])
    here = any(one["Id"] == state["targetId"] for one in (found or {"Targets": []})["Targets"])
    return only(state, "rule", "arn", "targetId") if here else None


def _named(put: Callable[[Cloud, str, Props, Props], Props]) -> Callable[[Cloud, Props], Made]:
    return lambda cloud, props: (props["name"], put(cloud, props["name"], {}, props))


KINDS: dict[str, Kind] = {
    "aws:sns/topic:Topic": Kind(
        named=True,
        takes=words("name displayName kmsMasterKeyId policy tags"),
        create=_make_topic,
        read=_read_topic,
        update=_update_topic,
        delete=lambda cloud, arn, _: _quiet(cloud.client("sns").delete_topic, TopicArn=arn),
        new=words("name"),
    ),
    "aws:sns/topicPolicy:TopicPolicy": Kind(
        takes=words("arn policy"),
        create=lambda cloud, props: (props["arn"], _set_policy(cloud, "", {}, props)),
        read=_read_policy,
        update=_set_policy,
        delete=lambda *_: (
            None
        ),  # the provider restores the default policy; the topic is deleted with its stack
        new=words("arn"),
    ),
    "aws:sns/topicSubscription:TopicSubscription": Kind(
        takes=words("topic protocol endpoint"),
        create=_subscribe,
        read=_read_subscription,
        delete=lambda cloud, arn, _: _quiet(cloud.client("sns").unsubscribe, SubscriptionArn=arn),
        new=words("topic protocol endpoint"),
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Kind(
        named=True,
        takes=words(f"name tags {ALARM}"),
        create=_named(_put_alarm),
        read=_read_alarm,
        update=_put_alarm,
        delete=lambda cloud, name, _: cloud.client("cloudwatch").delete_alarms(AlarmNames=[name]),
        new=words("name"),
    ),
    "aws:cloudwatch/eventRule:EventRule": Kind(
        named=True,
        takes=words("name description eventPattern scheduleExpression state roleArn eventBusName tags"),
        create=_named(_put_rule),
        read=lambda cloud, name, _: (
            _quiet(cloud.client("events").describe_rule, Name=name) and {"name": name}
        ),
        update=_put_rule,
        delete=lambda cloud, name, _: _quiet(cloud.client("events").delete_rule, Name=name),
        new=words("name eventBusName"),
    ),
    "aws:cloudwatch/eventTarget:EventTarget": Kind(
        takes=words("rule arn targetId input inputPath inputTransformer roleArn eventBusName"),
        create=_make_target,
        read=_read_target,
        update=_put_target,
        delete=lambda cloud, _, state: _quiet(
            cloud.client("events").remove_targets, Rule=state["rule"], Ids=[state["targetId"]]
        ),
        new=words("rule targetId eventBusName"),
    ),
}
