"""Settings of the vault that the program makes on AWS: its lock, who may lift it, and storage classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StrictInt

from components.settings.aws import ACCOUNT, REGION, Email, KeyArn, RoleArn, TopicArn
from components.settings.model import Model, read_if_known
from components.settings.problems import Finding, Fix, Loc, quote_harmless, refuse
from components.settings.values import MOST_LOCK_DAYS, Bucket, LockDays, LockMode, Prefix

IN_ITS_CLASS = {"STANDARD_IA": 30, "GLACIER_IR": 90}  # days that AWS bills at least
_ONE_CHANNEL = "exactly one of: email, topic"
_LEAST_AGE = 30  # days before S3 moves anything to STANDARD_IA, and between that and GLACIER_IR
MOST_SILENT_HOURS = 168
TEST_DAYS = 7
"""The longest lock of a vault whose purpose is test."""


class DefaultRetention(Model):
    """The bucket's default lock, and the longest lock that anybody may set."""

    mode: LockMode = Field(
        "COMPLIANCE",
        description="COMPLIANCE: nobody can shorten the lock. GOVERNANCE: the break-glass role can.",
    )
    days: LockDays = Field(
        30, description="How long each object is locked from its upload, in days, 1 to 36500."
    )
    maximum_days: LockDays | None = Field(
        None,
        description="Longest lock that anybody may set, in days; default: twice days. Limits what an attacker can "
        "make you pay.",
        examples=[60],
    )

    def cap(self) -> int:
        """The longest lock that the bucket's policy allows, in days."""
        return min(2 * self.days, MOST_LOCK_DAYS) if self.maximum_days is None else self.maximum_days

    def rules(self) -> Iterator[Iterator[Finding]]:
        yield self._require_cap_above_default()

    def _require_cap_above_default(self) -> Iterator[Finding]:
        most, days = self.maximum_days, self.days
        if most is not None and most < days:
            what = f"{most} is below lock.days, {days}: the bucket would refuse its own default"
            yield Finding(("maximumDays",), what, f"at least {days}", Fix(value=days))


class StorageClassMove(Model):
    """The age in days at which objects above 1 MiB, which are packs, move to a cheaper class that restic can still read directly."""

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
    """Who is notified if backups stop, grow or are tampered with."""

    EXAMPLE: ClassVar[object] = {"email": "ops@example.com"}

    email: Email | None = Field(
        None, description="E-mail address to notify; it must be confirmed once.", examples=["ops@example.com"]
    )
    topic: TopicArn | None = Field(
        None,
        description="ARN of an existing SNS topic, in place of an address.",
        examples=[f"arn:aws:sns:{REGION}:{ACCOUNT}:ops"],
    )
    silent_hours: Annotated[StrictInt, Field(ge=1, le=MOST_SILENT_HOURS)] | None = Field(
        None,
        description="Alarm if a source has made no new snapshot for this many hours, 1 to 168, for all sources. "
        "Default: each source's silentAfterHours.",
        examples=[28],
    )
    growth_gib_per_day: Annotated[StrictInt, Field(ge=1, le=1048576)] = Field(
        100,
        alias="growthGiBPerDay",
        description="Alarm if the bucket grows by more than this many GiB in a day.",
    )

    def rules(self) -> Iterator[Iterator[Finding]]:
        yield self._require_one_channel()

    def _require_one_channel(self) -> Iterator[Finding]:
        if self.email is None and self.topic is None:
            what = "has none of email, topic: nobody would be notified"
            yield Finding((), what, _ONE_CHANNEL, Fix(add=self.EXAMPLE))
        elif self.email is not None and self.topic is not None:
            fix = Fix(say="keep one, for example:", remove=True, at=("topic",))
            yield Finding((), "has email and topic, which exclude each other", _ONE_CHANNEL, fix)


def _without_dots(value: str) -> str:
    if "." in value:
        what = f"{quote_harmless(value)} holds a dot, which no certificate of AWS covers"
        raise refuse(what, allowed="3 to 63 of a-z 0-9 -, beginning and ending with a letter or digit")
    return value


class AwsBucket(Model):
    """An S3 bucket that the program makes or adopts, and locks, with an identity for every source."""

    EXAMPLE: ClassVar[object] = {
        "bucket": "example-backups-prod",
        "breakGlass": f"arn:aws:iam::{ACCOUNT}:role/break-glass",
    }

    bucket: Annotated[Bucket, AfterValidator(_without_dots)] = Field(
        description="The bucket's name.", examples=["example-backups-prod"]
    )
    origin: Literal["new", "adopted"] = Field(
        "new",
        description="new: the program makes the bucket. adopted: it exists with versioning and Object Lock enabled, "
        "and is kept when the stack is destroyed.",
    )
    prefix: Prefix = Field(
        "", description="Path inside the bucket that contains all sources; empty: the bucket itself."
    )
    lock: DefaultRetention = Field(DefaultRetention(), description="The bucket's Object Lock.")
    break_glass: RoleArn = Field(
        description="ARN of the only role exempt from the bucket's policy: same account, used by a person with MFA.",
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
        description="test: `pulumi destroy` deletes the bucket with all backups. Needs GOVERNANCE, at most 7 days "
        "and protect false.",
    )
    alarms: Alarms | None = Field(None, description="Alarms of the vault; default: none.")

    def rules(self) -> Iterator[Iterator[Finding]]:
        """S3's own rules for moves, which it would otherwise report in the middle of a run."""
        yield self._refuse_classes_twice()
        yield self._require_age_between_classes()
        for index, move in enumerate(self.storage_classes):
            yield _require_age(("storageClasses", index, "afterDays"), move)

    def _refuse_classes_twice(self) -> Iterator[Finding]:
        known: set[str | None] = set()
        for index, move in enumerate(self.storage_classes):
            name = read_if_known(lambda move=move: move.class_)  # type: ignore[misc]
            if name is not None and name in known:
                what = "is a class that is in the list twice"
                yield Finding(("storageClasses", index), what, "each class once", Fix(remove=True))
            known.add(name)

    def _require_age_between_classes(self) -> Iterator[Finding]:
        ages = {move.class_: move.after_days for move in reversed(self.storage_classes)}
        if len(ages) == 2 and ages["GLACIER_IR"] < ages["STANDARD_IA"] + _LEAST_AGE:
            what = (
                f"has GLACIER_IR {ages['GLACIER_IR']} days after upload, STANDARD_IA {ages['STANDARD_IA']}: S3 wants"
                f" {_LEAST_AGE} days between the two"
            )
            fix = Fix(say="keep one, for example:", remove=True, at=(0,))
            allowed = f"STANDARD_IA first, GLACIER_IR at least {_LEAST_AGE} days later"
            yield Finding(("storageClasses",), what, allowed, fix)


def _require_age(loc: Loc, move: StorageClassMove) -> Iterator[Finding]:
    if move.class_ == "STANDARD_IA" and move.after_days < _LEAST_AGE:
        what = f"{move.after_days} is too early: S3 moves nothing to STANDARD_IA before {_LEAST_AGE} days"
        yield Finding(loc, what, f"{_LEAST_AGE} or more", Fix(value=_LEAST_AGE))
