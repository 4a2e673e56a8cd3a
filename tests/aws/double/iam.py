"""IAM: users with their keys and policies, roles and instance profiles."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from tests.aws.double import mirror
from tests.aws.double.cloud import Cloud, tag_list
from tests.aws.double.kinds import Kind, Made, words
from tests.aws.double.names import only, pascal
from tests.aws.double.refused import Refused
from tests.aws.double.wire import Props


def gone(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in ("NoSuchEntity", "NoSuchEntityException")


def _drop(call: Any, **names: str) -> None:
    """Deleting something that does not exist counts as done."""
    try:
        call(**names)
    except ClientError as error:
        if not gone(error):
            raise


def _found(call: Any, member: str, **names: str) -> Any:
    try:
        return call(**names)[member]
    except ClientError as error:
        if gone(error):
            return None
        raise


def _document(value: Any) -> str:
    return json.dumps(value if isinstance(value, dict) else json.loads(unquote(value)))


# users


def _make_user(cloud: Cloud, props: Props) -> Made:
    name = props["name"]
    given = pascal(only(props, "path", "permissionsBoundary"))
    made = cloud.client("iam").create_user(UserName=name, Tags=tag_list(cloud.tags(props)), **given)["User"]
    return name, {"arn": made["Arn"], "uniqueId": made["UserId"], "path": made["Path"]}


def _read_user(cloud: Cloud, name: str, state: Props) -> Props | None:
    user = _found(cloud.client("iam").get_user, "User", UserName=name)
    if user is None:
        return None
    return {
        "name": name,
        "arn": user["Arn"],
        "uniqueId": user["UserId"],
        **only(state, "tags", "forceDestroy"),
    }


def _update_user(cloud: Cloud, name: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    cloud.client("iam").tag_user(UserName=name, Tags=tag_list(cloud.tags(new)))
    return {}


def _drop_user(cloud: Cloud, name: str, state: Props) -> None:
    iam = cloud.client("iam")
    if state.get("forceDestroy"):
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
            mirror.key_gone(cloud, key["AccessKeyId"])
    _drop(iam.delete_user, UserName=name)


# a user's policy


def _make_policy(cloud: Cloud, props: Props) -> Made:
    name = props.get("name") or "policy"
    _put_policy(cloud, "", {}, {**props, "name": name})
    return f"{props['user']}:{name}", {"name": name}


def _put_policy(cloud: Cloud, _: str, old: Props, new: Props) -> Props:
    name = new.get("name") or old["name"]
    cloud.client("iam").put_user_policy(
        UserName=new["user"], PolicyName=name, PolicyDocument=_document(new["policy"])
    )
    mirror.rights_changed(cloud, new["user"])
    return {"name": name}


def _read_policy(cloud: Cloud, made: str, state: Props) -> Props | None:  # noqa: ARG001
    user, name = made.split(":", 1)
    document = _found(cloud.client("iam").get_user_policy, "PolicyDocument", UserName=user, PolicyName=name)
    return None if document is None else {"user": user, "name": name, "policy": _document(document)}


def _drop_policy(cloud: Cloud, made: str, state: Props) -> None:  # noqa: ARG001
    user, name = made.split(":", 1)
    _drop(cloud.client("iam").delete_user_policy, UserName=user, PolicyName=name)
    mirror.rights_changed(cloud, user)


# access keys

MOST_KEYS = 2  # IAM's quota per user, which moto does not have


def _make_key(cloud: Cloud, props: Props) -> Made:
    iam, user = cloud.client("iam"), props["user"]
    if len(iam.list_access_keys(UserName=user)["AccessKeyMetadata"]) >= MOST_KEYS:
        raise Refused("api error LimitExceeded: Cannot exceed quota for AccessKeysPerUser: 2")
    key = iam.create_access_key(UserName=user)["AccessKey"]
    mirror.key_made(cloud, key["AccessKeyId"], key["SecretAccessKey"])
    mirror.rights_changed(cloud, user)
    return key["AccessKeyId"], {"secret": key["SecretAccessKey"], "status": "Active"}


def _read_key(cloud: Cloud, made: str, state: Props) -> Props | None:
    listed = _found(cloud.client("iam").list_access_keys, "AccessKeyMetadata", UserName=state["user"])
    here = [one for one in listed or [] if one["AccessKeyId"] == made]
    return {"user": state["user"], "status": here[0]["Status"]} if here else None


def _update_key(cloud: Cloud, made: str, old: Props, new: Props) -> Props:
    status = new.get("status") or "Active"
    cloud.client("iam").update_access_key(UserName=new["user"], AccessKeyId=made, Status=status)
    if status != "Active":
        mirror.key_gone(cloud, made)
    elif old.get("status") != "Active":
        mirror.key_made(cloud, made, old["secret"])
        mirror.rights_changed(cloud, new["user"])
    return {"status": status, "secret": old["secret"]}


def _drop_key(cloud: Cloud, made: str, state: Props) -> None:
    _drop(cloud.client("iam").delete_access_key, UserName=state["user"], AccessKeyId=made)
    mirror.key_gone(cloud, made)


# roles and instance profiles


def _make_role(cloud: Cloud, props: Props) -> Made:
    name = props["name"]
    given = pascal(only(props, "path", "description", "permissionsBoundary", "maxSessionDuration"))
    made = cloud.client("iam").create_role(
        RoleName=name,
        AssumeRolePolicyDocument=_document(props["assumeRolePolicy"]),
        Tags=tag_list(cloud.tags(props)),
        **given,
    )["Role"]
    return name, {"arn": made["Arn"], "uniqueId": made["RoleId"]}


def _read_role(cloud: Cloud, name: str, state: Props) -> Props | None:  # noqa: ARG001
    role = _found(cloud.client("iam").get_role, "Role", RoleName=name)
    if role is None:
        return None
    return {"name": name, "arn": role["Arn"], "assumeRolePolicy": _document(role["AssumeRolePolicyDocument"])}


def _update_role(cloud: Cloud, name: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    iam = cloud.client("iam")
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=_document(new["assumeRolePolicy"]))
    iam.tag_role(RoleName=name, Tags=tag_list(cloud.tags(new)))
    return {}


def _put_role_policy(cloud: Cloud, made: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    cloud.client("iam").put_role_policy(
        RoleName=new["role"], PolicyName=new["name"], PolicyDocument=_document(new["policy"])
    )
    return {}


def _read_role_policy(cloud: Cloud, made: str, state: Props) -> Props | None:  # noqa: ARG001
    names = {"RoleName": state["role"], "PolicyName": state["name"]}
    document = _found(cloud.client("iam").get_role_policy, "PolicyDocument", **names)
    return None if document is None else {**only(state, "role", "name"), "policy": _document(document)}


def _attach(cloud: Cloud, props: Props) -> Made:
    cloud.client("iam").attach_role_policy(RoleName=props["role"], PolicyArn=props["policyArn"])
    return f"{props['role']}-{props['policyArn']}", {}


def _read_attachment(cloud: Cloud, made: str, state: Props) -> Props | None:  # noqa: ARG001
    listed = _found(
        cloud.client("iam").list_attached_role_policies, "AttachedPolicies", RoleName=state["role"]
    )
    here = any(one["PolicyArn"] == state["policyArn"] for one in listed or [])
    return only(state, "role", "policyArn") if here else None


def _make_profile(cloud: Cloud, props: Props) -> Made:
    iam, name = cloud.client("iam"), props["name"]
    given = pascal(only(props, "path"))
    made = iam.create_instance_profile(InstanceProfileName=name, Tags=tag_list(cloud.tags(props)), **given)[
        "InstanceProfile"
    ]
    if props.get("role"):
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=props["role"])
    return name, {"arn": made["Arn"], "uniqueId": made["InstanceProfileId"]}


def _read_profile(cloud: Cloud, name: str, state: Props) -> Props | None:  # noqa: ARG001
    profile = _found(cloud.client("iam").get_instance_profile, "InstanceProfile", InstanceProfileName=name)
    if profile is None:
        return None
    roles = [role["RoleName"] for role in profile["Roles"]]
    return {"name": name, "arn": profile["Arn"], **({"role": roles[0]} if roles else {})}


def _drop_profile(cloud: Cloud, name: str, state: Props) -> None:
    iam = cloud.client("iam")
    if state.get("role"):
        _drop(iam.remove_role_from_instance_profile, InstanceProfileName=name, RoleName=state["role"])
    _drop(iam.delete_instance_profile, InstanceProfileName=name)


KINDS: dict[str, Kind] = {
    "aws:iam/user:User": Kind(
        named=True,
        takes=words("name path permissionsBoundary forceDestroy tags"),
        create=_make_user,
        read=_read_user,
        update=_update_user,
        delete=_drop_user,
        # AWS can rename a user; the double cannot, and no component does.
        new=words("name path permissionsBoundary"),
    ),
    "aws:iam/userPolicy:UserPolicy": Kind(
        named=True,
        takes=words("name user policy"),
        create=_make_policy,
        read=_read_policy,
        update=_put_policy,
        delete=_drop_policy,
        new=words("name user"),
    ),
    "aws:iam/accessKey:AccessKey": Kind(
        takes=words("user status"),
        create=_make_key,
        read=_read_key,
        update=_update_key,
        delete=_drop_key,
        new=words("user"),
        secrets=words("secret"),
    ),
    "aws:iam/role:Role": Kind(
        named=True,
        takes=words("name path description assumeRolePolicy permissionsBoundary maxSessionDuration tags"),
        create=_make_role,
        read=_read_role,
        update=_update_role,
        delete=lambda cloud, name, _: _drop(cloud.client("iam").delete_role, RoleName=name),
        new=words("name path"),
    ),
    "aws:iam/rolePolicy:RolePolicy": Kind(
        named=True,
        takes=words("name role policy"),
        create=lambda cloud, props: (
            f"{props['role']}:{props['name']}",
            _put_role_policy(cloud, "", {}, props),
        ),
        read=_read_role_policy,
        update=_put_role_policy,
        delete=lambda cloud, _, state: _drop(
            cloud.client("iam").delete_role_policy, RoleName=state["role"], PolicyName=state["name"]
        ),
        new=words("name role"),
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Kind(
        takes=words("role policyArn"),
        create=_attach,
        read=_read_attachment,
        delete=lambda cloud, _, state: _drop(
            cloud.client("iam").detach_role_policy, RoleName=state["role"], PolicyArn=state["policyArn"]
        ),
        new=words("role policyArn"),
    ),
    "aws:iam/instanceProfile:InstanceProfile": Kind(
        named=True,
        takes=words("name path role tags"),
        create=_make_profile,
        read=_read_profile,
        update=lambda cloud, name, _, new: (
            cloud.client("iam").tag_instance_profile(InstanceProfileName=name, Tags=tag_list(cloud.tags(new)))
            and {}
        ),
        delete=_drop_profile,
        new=words("name path role"),
    ),
}
