"""Settings of the AWS account, and the forms of AWS names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr, WithJsonSchema

from components.settings.form import Form, Looks
from components.settings.model import Model
from components.settings.problems import quote_harmless, refuse

ACCOUNT = "123456789012"
REGION = "eu-central-1"
_REGION = "a region of AWS's standard partition, such as eu-central-1"
_ACCOUNT = "12 digits; in quotes where the first is 0"


@dataclass(frozen=True)
class Arn:
    """The parts of an ARN that a rule compares."""

    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The parts, or None if the text is not an ARN of the standard partition."""
        form = r"arn:aws:([a-z0-9-]+):([a-z0-9-]*):([0-9]{12}):([A-Za-z0-9_+=,.@/:-]+)"
        found = re.fullmatch(form, text, re.ASCII)
        return None if found is None else cls(*found.groups())


def _region(value: str) -> str:
    if value.startswith(("cn-", "us-gov-", "us-iso", "eu-iso", "eusc-")):
        # Other partitions have other ARNs, endpoints and Debian images, and were never tried.
        raise refuse(f"{quote_harmless(value)} belongs to another partition of AWS", allowed=_REGION)
    return value


def _account_as_text(value: object) -> object:
    """`pulumi config set --path` turns twelve digits into a number; the account is text."""
    return str(value) if type(value) is int else value


def _role(value: str) -> str:
    allowed = f"a role's ARN: arn:aws:iam::{ACCOUNT}:role/NAME"
    arn = Arn.read(value)
    if arn is None or arn.service != "iam" or arn.region or not re.fullmatch(r"role/\S+[^/]", arn.resource):
        raise refuse(f"{quote_harmless(value)} is not the ARN of a role", allowed=allowed)
    return value


def _key(value: str) -> str:
    allowed = f"a key's ARN, not an alias: arn:aws:kms:{REGION}:{ACCOUNT}:key/ID"
    arn = Arn.read(value)
    if arn is None or arn.service != "kms" or not re.fullmatch(r"key/(mrk-)?[0-9a-f-]{32,36}", arn.resource):
        raise refuse(f"{quote_harmless(value)} is not the ARN of a KMS key", allowed=allowed)
    return value


def _topic(value: str) -> str:
    allowed = f"a topic's ARN: arn:aws:sns:{REGION}:{ACCOUNT}:NAME"
    arn = Arn.read(value)
    if arn is None or arn.service != "sns" or not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", arn.resource):
        raise refuse(f"{quote_harmless(value)} is not the ARN of an SNS topic", allowed=allowed)
    return value


Region = Annotated[StrictStr, Form(r"[a-z]{2,4}(-[a-z]+){1,2}-[1-9][0-9]?", _REGION), AfterValidator(_region)]
_TWELVE_DIGITS = Form(r"[0-9]{12}", _ACCOUNT)
Account = Annotated[
    StrictStr,
    _TWELVE_DIGITS,
    BeforeValidator(_account_as_text),
    WithJsonSchema({"type": ["string", "integer"], "pattern": _TWELVE_DIGITS.whole}),
]
Profile = Annotated[
    StrictStr, Form(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", "the name of a profile in ~/.aws/config")
]
RoleArn = Annotated[StrictStr, AfterValidator(_role), Looks(r"^arn:aws:iam::[0-9]{12}:role/")]
KeyArn = Annotated[StrictStr, AfterValidator(_key), Looks(r"^arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key/")]
TopicArn = Annotated[StrictStr, AfterValidator(_topic), Looks(r"^arn:aws:sns:[a-z0-9-]+:[0-9]{12}:")]
Email = Annotated[
    StrictStr,
    Form(
        r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+",
        "one e-mail address: name@host, without display name and spaces",
    ),
]


class AwsAccount(Model):
    """The AWS account and region of the stack; credentials of another account are refused."""

    EXAMPLE: ClassVar[object] = {"region": REGION, "account": ACCOUNT}

    region: Region = Field(
        description="Region of everything that is made on AWS, such as eu-central-1.", examples=[REGION]
    )
    account: Account = Field(
        description="Account number, 12 digits; credentials of another account are refused.",
        examples=[ACCOUNT],
    )
    profile: Profile | None = Field(
        None,
        description="Profile of ~/.aws/config; default: the credentials that the aws command would use.",
        examples=["backup"],
    )
    assume_role: RoleArn | None = Field(
        None,
        description="ARN of a role of this account that the program assumes.",
        examples=[f"arn:aws:iam::{ACCOUNT}:role/deploy"],
    )
