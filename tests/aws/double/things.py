"""What all EC2 resources with an id and tags have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from tests.aws.double.cloud import Cloud, tag_list
from tests.aws.double.kinds import Kind, Made, words
from tests.aws.double.wire import Props


def missing(error: ClientError) -> bool:
    code: str = error.response["Error"]["Code"]
    return code.endswith((".NotFound", "NotFound", ".Malformed"))


def drop(call: Any, **names: Any) -> None:
    try:
        call(**names)
    except ClientError as error:
        if not missing(error):
            raise


def look(call: Any, member: str, **names: Any) -> Props | None:
    try:
        found = call(**names)[member]
    except ClientError as error:
        if missing(error):
            return None
        raise
    return found[0] if found else None


def tag(cloud: Cloud, made: str, props: Props) -> None:
    tags = tag_list(cloud.tags(props))
    if tags:
        cloud.client("ec2").create_tags(Resources=[made], Tags=tags)


def retag(cloud: Cloud, made: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    tag(cloud, made, new)
    return {}


def thing(
    takes: str,
    make: Callable[[Cloud, Props], Made],
    find: Callable[[Cloud, str], Props | None],
    delete: Callable[[Cloud, str, Props], None],
    update: Callable[[Cloud, str, Props, Props], Props] = retag,
    inplace: str = "tags",
    *,
    named: bool = False,
) -> Kind:
    """A resource with an id and tags. Changes of properties that are not in `inplace` replace it."""

    def create(cloud: Cloud, props: Props) -> Made:
        made, outputs = make(cloud, props)
        if "tags" in takes:
            tag(cloud, made, props)
        return made, outputs

    known = words(takes)
    return Kind(
        takes=known,
        create=create,
        read=lambda cloud, made, _: find(cloud, made),
        update=update,
        delete=delete,
        new=known - words(inplace),
        named=named,
    )
