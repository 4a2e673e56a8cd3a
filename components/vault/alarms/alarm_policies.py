"""Policies of the alarms' topics and of the function that looks for silence. Pure: no engine, no network."""

from __future__ import annotations

import re
from collections.abc import Sequence

from components.vault.policy_documents import Document, bucket_arn, checked, document, storage_prefix

_TOPIC = re.compile(r"arn:(aws|aws-cn|aws-us-gov):sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")


def operators_topic(topic: str, *, account: str) -> Document:
    """Only CloudWatch alarms of this account may publish."""
    return _topic(topic, "cloudwatch", {"Condition": {"StringEquals": {"aws:SourceAccount": account}}})


def rules_topic(topic: str) -> Document:
    """EventBridge may publish. There is no condition: EventBridge sends no context to check, and a topic with a condition gets nothing.

    So a rule of another account could publish, too. But nobody subscribes to this topic, and alarms count only invocations of our own rules.
    """
    return _topic(topic, "events", {})


def _topic(topic: str, service: str, condition: Document) -> Document:
    return document(
        [
            {
                "Effect": "Allow",
                "Principal": {"Service": f"{service}.amazonaws.com"},
                "Action": ["sns:Publish"],
                "Resource": [checked(_TOPIC, topic, "the ARN of one topic")],
                **condition,
            }
        ]
    )


def silence_check_trust() -> Document:
    """Only the Lambda service can assume this role."""
    service = {"Service": "lambda.amazonaws.com"}
    return document([{"Effect": "Allow", "Principal": service, "Action": ["sts:AssumeRole"]}])


def silence_check_rights(
    bucket: str,
    snapshots: Sequence[str],
    *,
    account: str,
    function: str,
    namespace: str,
    partition: str = "aws",
) -> Document:
    """It may only list the names below these prefixes, write metrics of one namespace, and write a log (K1)."""
    group = f"/aws/lambda/{checked(_NAME, function, 'a name')}-*"
    log = f"arn:{partition}:logs:*:{checked(_ACCOUNT, account, 'an account')}:log-group:{group}"
    return document(
        [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [bucket_arn(bucket, partition)],
                "Condition": {"StringEquals": {"s3:prefix": [storage_prefix(one) for one in snapshots]}},
            },
            {
                "Effect": "Allow",
                "Action": ["cloudwatch:PutMetricData"],
                "Resource": ["*"],
                "Condition": {"StringEquals": {"cloudwatch:namespace": checked(_NAME, namespace, "a name")}},
            },
            {"Effect": "Allow", "Action": ["logs:CreateLogGroup"], "Resource": [log]},
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": [f"{log}:log-stream:20*"],  # Lambda names log streams by date
            },
        ]
    )
