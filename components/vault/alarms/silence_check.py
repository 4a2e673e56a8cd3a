"""An hourly function in AWS (components/vault/alarms/vault_silence.py) that reports the age of each source's newest snapshot to CloudWatch.

For sources whose schedule has pauses longer than the seven days that a CloudWatch alarm can look back. It uses only a listing with the storage's
own times: it reads no object and knows no password. If it cannot list a source, it reports nothing, which the alarm treats as silence.
Needs the environment: BUCKET, SOURCES (JSON: source -> prefix of its snapshots). Python and boto3 are the runtime's own.
"""

from __future__ import annotations

import datetime
import json
import os
from typing import Any

import boto3

NAMESPACE, METRIC = "lastcopy", "HoursSinceSnapshot"


def hours_since_snapshot(s3: Any, bucket: str, prefix: str, now: datetime.datetime) -> float | None:
    """Hours since the newest visible object below the prefix was written; hidden objects do not count. None if there is none."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    newest = max((one["LastModified"] for page in pages for one in page.get("Contents", ())), default=None)
    return None if newest is None else (now - newest).total_seconds() / 3600


def handler(event: object, context: object) -> dict[str, float | None]:  # noqa: ARG001
    """The function's entry point. Every source is tried; if one cannot be listed, the run fails after the others were reported."""
    bucket, sources = os.environ["BUCKET"], json.loads(os.environ["SOURCES"])
    s3, cloudwatch = boto3.client("s3"), boto3.client("cloudwatch")
    now = datetime.datetime.now(datetime.UTC)
    found: dict[str, float | None] = {}
    failed = []
    for source, prefix in sources.items():
        try:
            found[source] = hours = hours_since_snapshot(s3, bucket, prefix, now)
        except Exception as error:
            failed.append(f"{source}: {error}")
            continue
        if hours is not None:
            dimensions = [{"Name": "Bucket", "Value": bucket}, {"Name": "Source", "Value": source}]
            data = {"MetricName": METRIC, "Dimensions": dimensions, "Value": hours, "Unit": "None"}
            cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[data])
    if failed:
        raise RuntimeError("; ".join(failed))
    return found
