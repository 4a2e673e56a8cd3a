"""Lambda: functions and their callers, as records; the double never runs a function."""

from __future__ import annotations

import io
import json
import secrets
import zipfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tests.aws.double.cloud import Cloud
from tests.aws.double.kinds import Kind, Made, words
from tests.aws.double.names import only, pascal
from tests.aws.double.wire import Props

SETTINGS = "description role runtime handler timeout memorySize"


def _quiet(call: Any, **names: Any) -> Any:
    """The answer, or None if the object does not exist."""
    try:
        return call(**names)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise


def zipped(archive: Props) -> bytes:
    """The engine's archive as the file that the provider uploads."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, asset in sorted(archive["assets"].items()):
            text = Path(asset["path"]).read_bytes() if "path" in asset else asset["text"].encode()
            file.writestr(zipfile.ZipInfo(name), text)
    return packed.getvalue()


def _settings(props: Props) -> Props:
    variables = (props.get("environment") or {}).get("variables") or {}
    return {**pascal(only(props, *words(SETTINGS))), "Environment": {"Variables": variables}}


def _make(cloud: Cloud, props: Props) -> Made:
    made = cloud.client("lambda").create_function(
        FunctionName=props["name"],
        Code={"ZipFile": zipped(props["code"])},
        Architectures=props.get("architectures") or ["x86_64"],
        Tags=cloud.tags(props),
        **_settings(props),
    )
    return props["name"], {"arn": made["FunctionArn"], "codeSha256": made["CodeSha256"]}


def _update(cloud: Cloud, name: str, old: Props, new: Props) -> Props:
    client = cloud.client("lambda")
    client.update_function_configuration(FunctionName=name, **_settings(new))
    if old.get("code") != new["code"]:
        client.update_function_code(FunctionName=name, ZipFile=zipped(new["code"]))
    return {}


def _read(cloud: Cloud, name: str, state: Props) -> Props | None:
    found = _quiet(cloud.client("lambda").get_function, FunctionName=name)
    return found and {**only(state, "code"), "name": name, "arn": found["Configuration"]["FunctionArn"]}


def _permit(cloud: Cloud, props: Props) -> Made:
    sid = props.get("statementId") or f"permission-{secrets.token_hex(6)}"
    given = pascal(only(props, "action", "principal", "sourceArn", "sourceAccount"))
    cloud.client("lambda").add_permission(FunctionName=props["function"], StatementId=sid, **given)
    return sid, {"statementId": sid}


def _read_permission(cloud: Cloud, sid: str, state: Props) -> Props | None:
    found = _quiet(cloud.client("lambda").get_policy, FunctionName=state["function"])
    stated = json.loads(found["Policy"])["Statement"] if found else []
    here = any(one["Sid"] == sid for one in stated)
    return only(state, "action", "function", "principal", "sourceArn", "statementId") if here else None


KINDS: dict[str, Kind] = {
    "aws:lambda/function:Function": Kind(
        named=True,
        takes=words(f"name code architectures environment tags {SETTINGS}"),
        create=_make,
        read=_read,
        update=_update,
        delete=lambda cloud, name, _: _quiet(cloud.client("lambda").delete_function, FunctionName=name),
        new=words("name"),
    ),
    "aws:lambda/permission:Permission": Kind(
        takes=words("action function principal sourceArn sourceAccount statementId"),
        create=_permit,
        read=_read_permission,
        delete=lambda cloud, sid, state: _quiet(
            cloud.client("lambda").remove_permission, FunctionName=state["function"], StatementId=sid
        ),
        new=words("action function principal sourceArn sourceAccount statementId"),
    ),
}
