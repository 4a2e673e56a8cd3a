"""Settings of the vault that the program makes in AWS: its lock, who may lift it, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, StrictInt

from components.settings.aws import ACCOUNT, REGION, Email, KeyArn, RoleArn, TopicArn
from components.settings.model import Model
from components.settings.problems import Finding, Fix, finding, refuse, shown
from components.settings.values import Bucket, LockMode, Prefix

IN_ITS_CLASS = {"STANDARD_IA": 30, "GLACIER_IR": 90}  # days that AWS bills at least
_ONE_CHANNEL = "exactly one of: email, topic"
Days = Annotated[StrictInt, Field(ge=1, le=36500)]
LOCK_DAYS = 30


class DefaultRetention(Model):
    """What the bucket locks by itself, and the most that anybody may ask for."""

    mode: LockMode = Field(
        "COMPLIANCE",
        description="COMPLIANCE: nobody shortens the lock. GOVERNANCE: the break-glass role can.",
    )
    days: Days = Field(
        LOCK_DAYS, description="How long each object is locked from its upload, in days, 1 to 36500."
    )
    maximum_days: Days | None = Field(
        None,
        description="Longest lock that anybody may ask for, in days; default: twice days. Bounds what an"
        " attacker can make you pay.",
        examples=[60],
    )

    def cap(self) -> int:
        """The longest lock that the bucket's policy lets through, in days."""
        return min(2 * self.days, 36500) if self.maximum_days is None else self.maximum_days

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        days, most = raw.get("days", LOCK_DAYS), raw.get("maximumDays")
        if type(days) is int and type(most) is int and 1 <= most < days <= 36500:
            what = f"{most} is below lock.days, {days}: the bucket would refuse its own default"
            yield finding(("maximumDays",), what, f"at least {days}", Fix(value=days))


class StorageClassMove(Model):
    """After how many days objects above 1 MiB, which are packs, move to a cheaper class that restic can still read at once."""

    EXAMPLE: ClassVar[object] = {"afterDays": 30, "class": "STANDARD_IA"}

    after_days: Annotated[StrictInt, Field(ge=0, le=36500)] = Field(
        description="Age in days; STANDARD_IA from 30 on.", examples=[30]
    )
    class_: Literal["STANDARD_IA", "GLACIER_IR"] = Field(
        alias="class",
        description="STANDARD_IA (bills 30 days at least) or GLACIER_IR (bills 90 days at least).",
        examples=["STANDARD_IA"],
    )


class Alarms(Model):
    """Who is told when backups stop, grow or are tampered with."""

    EXAMPLE: ClassVar[object] = {"email": "ops@example.com"}

    email: Email | None = Field(
        None, description="Address that is told; it has to confirm once.", examples=["ops@example.com"]
    )
    topic: TopicArn | None = Field(
        None,
        description="ARN of an existing SNS topic, in place of an address.",
        examples=[f"arn:aws:sns:{REGION}:{ACCOUNT}:ops"],
    )
    silent_hours: Annotated[StrictInt, Field(ge=1, le=168)] | None = Field(
        None,
        description="Alarm when a source made no new snapshot for so many hours, 1 to 168, for all sources alike."
        " Default: each source's silentAfterHours.",
        examples=[28],
    )
    growth_gib_per_day: Annotated[StrictInt, Field(ge=1, le=1048576)] = Field(
        100,
        alias="growthGiBPerDay",
        description="Alarm when the bucket grows by more than so many GiB in a day.",
    )

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        chosen = [way for way in ("email", "topic") if raw.get(way) is not None]
        if not chosen:
            yield finding(
                (), "has none of email, topic: nobody would be told", _ONE_CHANNEL, Fix(add=cls.EXAMPLE)
            )
        elif len(chosen) == 2:
            fix = Fix(say="keep one, for example:", remove=True, at=("topic",))
            yield finding((), "has email and topic, which exclude each other", _ONE_CHANNEL, fix)


def _without_dots(value: str) -> str:
    if "." in value:
        what = f"{shown(value)} holds a dot, which no certificate of AWS covers"
        raise refuse(what, allowed="3 to 63 of a-z 0-9 -, beginning and ending with a letter or digit")
    return value


class AwsBucket(Model):
    """An S3 bucket that the program makes, or adopts, and locks, with an identity for every source."""

    EXAMPLE: ClassVar[object] = {
        "bucket": "example-backups-prod",
        "breakGlass": f"arn:aws:iam::{ACCOUNT}:role/break-glass",
    }

    bucket: Annotated[Bucket, AfterValidator(_without_dots)] = Field(
        description="The bucket's name.", examples=["example-backups-prod"]
    )
    origin: Literal["new", "adopted"] = Field(
        "new",
        description="new: the program makes it. adopted: it exists, with versioning and Object Lock on, and stays"
        " when the stack is destroyed.",
    )
    prefix: Prefix = Field(
        "", description="Place inside the bucket that holds all sources; empty: the bucket itself."
    )
    lock: DefaultRetention = Field(DefaultRetention(), description="The bucket's Object Lock.")
    break_glass: RoleArn = Field(
        description="ARN of the one role that the bucket's policy spares: same account, used by a person with MFA.",
        examples=[f"arn:aws:iam::{ACCOUNT}:role/break-glass"],
    )
    kms_key: KeyArn | None = Field(
        None,
        description="ARN of the KMS key that encrypts the objects, same region; default: S3's own keys (SSE-S3).",
        examples=[f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
    )
    storage_classes: tuple[StorageClassMove, ...] = Field(
        (),
        description="Moves of objects above 1 MiB, restic's packs, to cheaper classes; default: none.",
        examples=[[StorageClassMove.EXAMPLE]],
    )
    purpose: Literal["production", "test"] = Field(
        "production",
        description="test: `pulumi destroy` deletes the bucket with all backups. Needs GOVERNANCE, 7 days at most"
        " and protect false.",
    )
    alarms: Alarms | None = Field(None, description="Alarms of the vault; default: none.")

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """S3's own rules for moves; it would refuse them in the middle of a run."""
        moves = raw.get("storageClasses")
        known: dict[str, int] = {}
        for index, move in enumerate(moves if isinstance(moves, list | tuple) else []):
            if not isinstance(move, Mapping) or move.get("class") not in IN_ITS_CLASS:
                continue  # their own rules speak
            age, into, loc = move.get("afterDays"), str(move["class"]), ("storageClasses", index)
            if into in known:
                yield finding(
                    loc, "is a class that stands in the list twice", "each class once", Fix(remove=True)
                )
            elif type(age) is int and age >= 0:
                known[into] = age
                if into == "STANDARD_IA" and age < 30:
                    what = f"{age} is too early: S3 moves nothing to STANDARD_IA before"
                    yield finding((*loc, "afterDays"), what, "30 or more", Fix(value=30))
        first, last = known.get("STANDARD_IA"), known.get("GLACIER_IR")
        if first is not None and last is not None and last < first + 30:
            what = f"has GLACIER_IR {last} days after upload, STANDARD_IA {first}: S3 wants 30 days between the two"
            fix = Fix(say="keep one, for example:", remove=True, at=(0,))
            yield finding(
                ("storageClasses",), what, "STANDARD_IA first, GLACIER_IR at least 30 days later", fix
            )
