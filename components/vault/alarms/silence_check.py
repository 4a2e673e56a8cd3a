"""Runs hourly as a function in AWS (components/vault/vault_silence.py): tells CloudWatch how long ago each source's newest snapshot came.

For sources whose schedule makes longer pauses than the seven days that a CloudWatch alarm can look back. By the storage's own times, from
a listing alone: no object is read and no password is known. What cannot be listed is not reported, which the alarm takes for silence.
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
    """Since the newest object that can be seen below the prefix; hidden ones do not count. None: there is none."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    newest = max((one["LastModified"] for page in pages for one in page.get("Contents", ())), default=None)
    return None if newest is None else (now - newest).total_seconds() / 3600


def handler(event: object, context: object) -> dict[str, float | None]:  # noqa: ARG001
    """The function's entry. Every source is tried; one that cannot be listed fails the run after the others were reported."""
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
