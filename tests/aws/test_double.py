"""The double must not accept what it does not know, or ignore differences that matter on AWS."""

from __future__ import annotations

from typing import Any

import pytest

from tests.aws.double import user_data
from tests.aws.double.instance import KIND
from tests.aws.double.refused import Refused
from tests.aws.double.tables import KINDS
from tests.aws.double.wire import SECRET, SIGNATURE, changed, plain, struct


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ({"a": 1}, {"a": 2}, ["a"]),
        ({"a": 1}, {}, ["a"]),
        ({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}, ["a"]),
        ({"a": True}, {"a": False}, ["a"]),
        ({"a": 0}, {}, ["a"]),
        ({"policy": '{"x": 1, "y": 2}'}, {"policy": '{"y": 2, "x": 1}'}, []),
        ({"policy": '{"x": 1}'}, {"policy": '{"x": 2}'}, ["policy"]),
        ({}, {"a": False, "b": "", "c": [], "d": {}}, []),
    ],
)
def test_only_meaningful_differences_count(
    old: dict[str, Any], new: dict[str, Any], differs: list[str]
) -> None:
    assert changed(old, new) == differs


def test_secrets_arrive_unmarked_and_leave_marked() -> None:
    sent = struct({"secret": "s", "user": "u"}, frozenset({"secret"}))
    assert sent["secret"][SIGNATURE] == SECRET
    assert sent["user"] == "u"
    assert plain(sent) == {"secret": "s", "user": "u"}


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nreboot\n",
        "#cloud-config\nphone_home: {url: https://example.com}\n",
    ],
)
def test_unknown_user_data_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        user_data.parse(text)


def test_changes_that_replace_on_aws_replace_here() -> None:
    assert {"bucket", "objectLockEnabled"} <= KINDS["aws:s3/bucket:Bucket"].new
    assert "user" in KINDS["aws:iam/accessKey:AccessKey"].new
    instance = KIND["aws:ec2/instance:Instance"]
    assert {"ami", "subnetId"} <= instance.new
    assert not instance.new & {"userData", "metadataOptions", "vpcSecurityGroupIds", "tags"}
    assert instance.new_if({}, {"userDataReplaceOnChange": True}) == {"userData", "userDataBase64"}
    encrypted = {"rootBlockDevice": {"encrypted": True}}
    assert instance.new_if({"rootBlockDevice": {"encrypted": False}}, encrypted) == {"rootBlockDevice"}
    assert instance.new_if(encrypted, encrypted) == set()
