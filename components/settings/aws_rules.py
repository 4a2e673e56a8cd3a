"""Rules across the sections of a stack on AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from components.settings.aws import Arn, AwsAccount
from components.settings.aws_bucket import MOST_SILENT_HOURS, TEST_DAYS, AwsBucket
from components.settings.ec2 import Ec2Vm
from components.settings.model import read_if_known, run_until_unknown
from components.settings.problems import Finding, Fix, Loc, format_path
from components.settings.sources import Source
from components.settings.stack import Settings

MOST_PREFIX = 40  # characters; with the longest bucket and source the policy still fits IAM's 2048
_VAULT = ("storage", "aws")


def require_account(stack: Settings) -> Iterator[Finding]:
    """The AWS account is given if and only if something is made on AWS."""
    used = []
    if isinstance(stack.intermediate, Ec2Vm):
        used.append("intermediate.ec2")
    if isinstance(stack.storage, AwsBucket):
        used.append("storage.aws")
    if used and stack.aws is None:
        what = f"is missing, but {' and '.join(used)} {'are' if len(used) > 1 else 'is'} in AWS"
        yield Finding(("aws",), what, "region and account")
    if stack.aws is not None and not used:
        what = "is not used: nothing of this stack is made in AWS"
        yield Finding(("aws",), what, "with intermediate.ec2 or storage.aws only", Fix(remove=True))


def require_one_account(stack: Settings) -> Iterator[Finding]:
    """A role, key or topic of another account or region would fail in the middle of a run, or belong to somebody else."""
    aws = stack.aws
    if aws is None:
        return
    yield from run_until_unknown(_require_account(aws, ("aws", "assumeRole"), lambda: aws.assume_role))
    vault = stack.storage
    if not isinstance(vault, AwsBucket):
        return
    named: dict[Loc, Callable[[], str | None]] = {
        ("breakGlass",): lambda: vault.break_glass,
        ("kmsKey",): lambda: vault.kms_key,
        ("alarms", "topic"): lambda: None if vault.alarms is None else vault.alarms.topic,
    }
    for loc, read in named.items():
        yield from run_until_unknown(_require_account(aws, (*_VAULT, *loc), read))


def _require_account(aws: AwsAccount, loc: Loc, read: Callable[[], str | None]) -> Iterator[Finding]:
    text = read()
    arn = None if text is None else Arn.read(text)
    if text is None or arn is None:
        return
    if arn.account != aws.account:
        what = f"is of account {arn.account}, but lastcopy:aws.account is {aws.account}"
        say, value = "correct the one that is wrong, for example:", text.replace(arn.account, aws.account)
        yield Finding(loc, what, "of the same account", Fix(say=say, value=value))
    elif arn.region and arn.region != aws.region:
        what = f"is of region {arn.region}, but lastcopy:aws.region is {aws.region}"
        yield Finding(loc, what, "of the same region", Fix(say="name one of that region:"))


def require_protection_in_production(stack: Settings) -> Iterator[Finding]:
    """The repositories' passwords of a production vault must survive `pulumi destroy` (A5)."""
    vault = stack.storage
    if isinstance(vault, AwsBucket) and vault.purpose == "production" and not stack.protect:
        what = "is false, but storage.aws.purpose is production: its passwords would go with `pulumi destroy`"
        allowed = "true with purpose production; `pulumi destroy --exclude-protected` takes down the rest"
        yield Finding(("protect",), what, allowed, Fix(value=True))


_IS_TEST = "but storage.aws.purpose is test"
_TEST = (
    f"purpose test: it is destroyed with its backups, so GOVERNANCE, {TEST_DAYS} days at most, protect false"
)


def refuse_protection_in_test(stack: Settings) -> Iterator[Finding]:
    """Only a stack that is marked as a test in two places can be destroyed with its backups (A5)."""
    if _is_test(stack) and stack.protect:
        yield Finding(("protect",), f"is true, {_IS_TEST}", _TEST, Fix(value=False))


def refuse_compliance_in_test(stack: Settings) -> Iterator[Finding]:
    """The lock of a test vault can be lifted."""
    vault = stack.storage
    if isinstance(vault, AwsBucket) and _is_test(stack) and vault.lock.mode == "COMPLIANCE":
        what = f"is COMPLIANCE, which nobody lifts, {_IS_TEST}"
        yield Finding((*_VAULT, "lock", "mode"), what, _TEST, Fix(value="GOVERNANCE"))


def refuse_long_lock_in_test(stack: Settings) -> Iterator[Finding]:
    """The lock of a test vault is short."""
    vault = stack.storage
    if isinstance(vault, AwsBucket) and _is_test(stack) and vault.lock.days > TEST_DAYS:
        what = f"is {vault.lock.days}, {_IS_TEST}"
        yield Finding((*_VAULT, "lock", "days"), what, _TEST, Fix(value=TEST_DAYS))


def refuse_adoption_in_test(stack: Settings) -> Iterator[Finding]:
    """An existing bucket is never destroyed, so it cannot be a test vault."""
    vault = stack.storage
    if isinstance(vault, AwsBucket) and _is_test(stack) and vault.origin == "adopted":
        what = f"is adopted, so it is never destroyed, {_IS_TEST}"
        yield Finding((*_VAULT, "origin"), what, "new, or purpose production", Fix(value="new"))


def _is_test(stack: Settings) -> bool:
    return isinstance(stack.storage, AwsBucket) and stack.storage.purpose == "test"


def require_lock_beyond_silence(stack: Settings) -> Iterator[Finding]:
    """Silence must be reported before the last snapshot's lock ends. A schedule with longer pauses causes only a warning."""
    vault = stack.storage
    if not isinstance(vault, AwsBucket) or vault.alarms is None:
        return
    given, days = vault.alarms.silent_hours, vault.lock.days
    of_sources = [read_if_known(lambda one=one: one.silent_hours) for one in stack.sources]  # type: ignore[misc]
    hours = of_sources if given is None else [given]
    silent = max((one for one in hours if one is not None and one <= MOST_SILENT_HOURS), default=0)
    if 24 * days < silent:
        what = f"is {days}, but silence is reported after {silent} hours: the last snapshot's lock ends before anybody is notified"
        least = -(-silent // 24)
        yield Finding((*_VAULT, "lock", "days"), what, f"at least {least}", Fix(value=least))


def require_lock_beyond_session(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """A backup's first pack must still be locked when its snapshot is written: the program relies on it."""
    vault = stack.storage
    if isinstance(vault, AwsBucket) and source.limits.hours > 24 * vault.lock.days:
        days, most = vault.lock.days, 24 * vault.lock.days
        what = f"is {source.limits.hours}, longer than the lock of {days} day(s): a backup's first packs would be unlocked before it ends"
        yield Finding((*loc, "limits", "hours"), what, f"at most {most}", Fix(value=most))


def refuse_prefix_of_locks(stack: Settings) -> Iterator[Finding]:
    """The vault's policies allow deletion below a path part ``locks``, so a prefix must not contain it; and IAM limits the length of a policy."""
    if not isinstance(stack.storage, AwsBucket):
        return
    prefix, loc = stack.storage.prefix, (*_VAULT, "prefix")
    if "locks" in prefix.split("/"):
        what = "has a part named locks, below which restic's locks are deleted: no backup would be safe there"
        yield Finding(loc, what, "other words", Fix(value="hosts"))
    if len(prefix) > MOST_PREFIX:
        what = f"has {len(prefix)} characters, too many for the policy of an IAM user"
        yield Finding(loc, what, f"at most {MOST_PREFIX}", Fix(value="hosts"))


def refuse_name_of_locks(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """No source may be called ``locks``, because the vault's policies allow deletion below that name."""
    if isinstance(stack.storage, AwsBucket) and source.name == "locks":
        what = "is locks, the place of what may be deleted: no backup would be safe there"
        yield Finding((*loc, "name"), what, "another name", Fix(value="locks1"))


def refuse_unused_identity_generation(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """The generation of an identity is set only if the program makes the identity."""
    if "identity_generation" not in source.model_fields_set:
        return
    place = (*loc, "identityGeneration")
    if not isinstance(stack.storage, AwsBucket):
        what = "is not used: only with storage.aws the program makes the storage identities"
        yield Finding(place, what, "with storage.aws only", Fix(remove=True))
    elif source.identity is not None:
        what = f"is not used: {format_path(loc)}.identity was made elsewhere, and is renewed there"
        yield Finding(place, what, "only without an identity of its own", Fix(remove=True))
