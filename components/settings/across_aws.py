"""Rules over several keys of a stack in AWS. As in across.py, they read what was written, of any shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from components.settings.across import mapping, sources_of, union
from components.settings.aws import Arn, account_text
from components.settings.aws_bucket import LOCK_DAYS
from components.settings.keys import blob_of
from components.settings.people import entries, keys_of
from components.settings.problems import Finding, Fix, Loc, finding, path_text
from components.settings.sources import silent_hours_of

TEST_DAYS = 7
LOOKS_BACK = 168  # hours; what is silent for longer by its schedule, warnings speak of
MOST_PREFIX = 40  # characters; with the longest bucket and source the policy still fits IAM's 2048
ADMIN = "admin"  # the account of Debian's images


def rules(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Every contradiction between the parts of a stack in AWS."""
    yield from _account_where_it_is_used(raw)
    yield from _one_account(raw)
    yield from _purpose(raw)
    yield from _lock_is_long_enough(raw)
    yield from _names_in_policies(raw)
    yield from _identity_generations(raw)
    yield from _admin_of_the_machine(raw)


def _bucket(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(union(raw.get("storage")).get("aws"))


def _account_where_it_is_used(raw: Mapping[str, Any]) -> Iterator[Finding]:
    relay, storage = union(raw.get("intermediate")), union(raw.get("storage"))
    used = [
        f"{key}.{part}"
        for key, part, of in (("intermediate", "ec2", relay), ("storage", "aws", storage))
        if part in of
    ]
    given = raw.get("aws") not in (None, {})
    if used and not given:
        yield finding(("aws",), f"is missing, but {' and '.join(used)} stands in AWS", "region and account")
    if given and not used and relay and storage:
        allowed = "with intermediate.ec2 or storage.aws only"
        yield finding(
            ("aws",), "is not used: nothing of this stack is made in AWS", allowed, Fix(remove=True)
        )


def _one_account(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """A role, key or topic of another account or region would fail in the middle of a run, or obey somebody else."""
    aws, bucket = mapping(raw.get("aws")), _bucket(raw)
    named: tuple[tuple[Loc, object], ...] = (
        (("aws", "assumeRole"), aws.get("assumeRole")),
        (("storage", "aws", "breakGlass"), bucket.get("breakGlass")),
        (("storage", "aws", "kmsKey"), bucket.get("kmsKey")),
        (("storage", "aws", "alarms", "topic"), mapping(bucket.get("alarms")).get("topic")),
    )
    account, region = account_text(aws.get("account")), aws.get("region")
    for loc, text in named:
        arn = Arn.read(text)
        if arn is None or not isinstance(account, str) or len(account) != 12:
            continue
        if arn.account != account:
            what = f"is of account {arn.account}, but lastcopy:aws.account is {account}"
            fix = Fix(
                say="correct the one that is wrong, for example:",
                value=str(text).replace(arn.account, account),
            )
            yield finding(loc, what, "of the same account", fix)
        elif isinstance(region, str) and arn.region and arn.region != region:
            what = f"is of region {arn.region}, but lastcopy:aws.region is {region}"
            yield finding(loc, what, "of the same region", Fix(say="name one of that region:"))


def _purpose(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Only what says twice that it is a test can be destroyed with its backups (A5)."""
    bucket, protect = _bucket(raw), raw.get("protect", True)
    purpose = bucket.get("purpose", "production")
    if not bucket:
        return
    if purpose == "production" and protect is False:
        what = "is false, but storage.aws.purpose is production: its passwords would go with `pulumi destroy`"
        allowed = "true with purpose production; `pulumi destroy --exclude-protected` takes down the rest"
        yield finding(("protect",), what, allowed, Fix(value=True))
    if purpose != "test":
        return
    at, lock = ("storage", "aws"), mapping(bucket.get("lock"))
    said = f"purpose test: it is destroyed with its backups, so GOVERNANCE, {TEST_DAYS} days at most, protect false"
    if protect is True:
        yield finding(("protect",), "is true, but storage.aws.purpose is test", said, Fix(value=False))
    if lock.get("mode", "COMPLIANCE") == "COMPLIANCE":
        what = "is COMPLIANCE, which nobody lifts, but storage.aws.purpose is test"
        yield finding((*at, "lock", "mode"), what, said, Fix(value="GOVERNANCE"))
    days = lock.get("days", LOCK_DAYS)
    if type(days) is int and TEST_DAYS < days <= 36500:
        what = f"is {days}, but storage.aws.purpose is test"
        yield finding((*at, "lock", "days"), what, said, Fix(value=TEST_DAYS))
    if bucket.get("origin") == "adopted":
        what = "is adopted, so it is never destroyed, but storage.aws.purpose is test"
        yield finding((*at, "origin"), what, "new, or purpose production", Fix(value="new"))


def _lock_is_long_enough(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """What the program itself takes for granted: a backup's first pack is still locked when its snapshot is written,
    and silence is noticed before the last snapshot stands unlocked."""
    bucket = _bucket(raw)
    days = mapping(bucket.get("lock")).get("days", LOCK_DAYS)
    if not bucket or type(days) is not int or not 1 <= days <= 36500:
        return
    alarms = mapping(bucket.get("alarms"))
    silent = alarms.get("silentHours")
    hours = [silent] if silent is not None else [silent_hours_of(source) for source in sources_of(raw)]
    silent = max((one for one in hours if type(one) is int and one <= LOOKS_BACK), default=0)
    if alarms and 24 * days < silent:
        what = f"is {days}, but silence is told after {silent} hours: the last snapshot's lock ends before anybody is told"
        least = -(-silent // 24)
        yield finding(("storage", "aws", "lock", "days"), what, f"at least {least}", Fix(value=least))
    for index, source in enumerate(sources_of(raw)):
        hours = mapping(source.get("limits")).get("hours", 24)
        if type(hours) is int and 24 * days < hours <= 168:
            what = f"is {hours}, longer than the lock of {days} day(s): a backup's first packs would stand unlocked before it ends"
            fix = Fix(value=24 * days)
            yield finding(("sources", index, "limits", "hours"), what, f"at most {24 * days}", fix)


def _names_in_policies(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """The path part ``locks`` tells the vault's policies what may be deleted; IAM bounds how long a policy may be."""
    bucket = _bucket(raw)
    prefix, loc = bucket.get("prefix"), ("storage", "aws", "prefix")
    if isinstance(prefix, str) and "locks" in prefix.split("/"):
        what = "has a part named locks, below which restic's locks are deleted: no backup would be safe there"
        yield finding(loc, what, "other words", Fix(value="hosts"))
    if isinstance(prefix, str) and len(prefix) > MOST_PREFIX:
        what = f"has {len(prefix)} characters, too many for the policy of an IAM user"
        yield finding(loc, what, f"at most {MOST_PREFIX}", Fix(value="hosts"))
    for index, source in enumerate(sources_of(raw)):
        if bucket and source.get("name") == "locks":
            what = "is locks, the place of what may be deleted: no backup would be safe there"
            yield finding(("sources", index, "name"), what, "another name", Fix(value="locks1"))


def _identity_generations(raw: Mapping[str, Any]) -> Iterator[Finding]:
    storage = union(raw.get("storage"))
    for index, source in enumerate(sources_of(raw)):
        loc: Loc = ("sources", index, "identityGeneration")
        if source.get("identityGeneration") is None:
            continue
        if storage and "aws" not in storage:
            what = "is not used: only with storage.aws the program makes the storage identities"
            yield finding(loc, what, "with storage.aws only", Fix(remove=True))
        elif source.get("identity") is not None:
            what = f"is not used: {path_text(loc[:2])}.identity was made elsewhere, and is renewed there"
            yield finding(loc, what, "only without an identity of its own", Fix(remove=True))


def _admin_of_the_machine(raw: Mapping[str, Any]) -> Iterator[Finding]:
    relay, admin = union(raw.get("intermediate")), mapping(raw.get("admin"))
    if "ec2" not in relay:
        return
    user = admin.get("user", ADMIN)
    if isinstance(user, str) and user != ADMIN:
        what, allowed = "is not the account of Debian's images", f"{ADMIN} with intermediate.ec2"
        yield finding(("admin", "user"), what, allowed, Fix(value=ADMIN))
    key = blob_of(mapping(relay["ec2"]).get("adminPublicKey"))
    others: list[tuple[Loc, object]] = [
        (("sources", index, "publicKey"), source.get("publicKey"))
        for index, source in enumerate(sources_of(raw))
    ]
    for index, person in enumerate(entries(admin)):
        others += [
            (("admin", "people", index, "publicKeys", n), one) for n, one in enumerate(keys_of(person))
        ]
    for loc, one in others:
        if key is not None and blob_of(one) == key:
            what = f"is the key in {path_text(('intermediate', 'ec2', 'adminPublicKey'))} too: who holds it is root of the relay"
            yield finding(loc, what, "another key than the engine's")
