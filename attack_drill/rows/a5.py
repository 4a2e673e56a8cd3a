"""A5: a person with the cloud console, or with `pulumi destroy` on a production stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from attack_drill.connections import log_in
from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.storage_admin import find_losses
from ops.hosts.connection import CommandResult

PROTECTED = "protect"  # in every message of the engine about it


def play(drill: Drill) -> Iterator[RowFinding]:
    yield from _the_engine(drill)
    yield from _the_console(drill)


# --- pulumi destroy ---


def _pulumi(drill: Drill, *words: str) -> CommandResult:
    reads_settings = words[0] in ("up", "preview", "destroy") and "--config-file" not in words
    named = drill.stack.configured if reads_settings else drill.stack.named
    done = drill.stack.run(*words, *named, quiet=True, check=False)
    return CommandResult(code=done.returncode, out=done.stdout, err=done.stderr)


def _resources(drill: Drill) -> dict[str, bool]:
    """The resources in the state, and whether each is protected."""
    state = json.loads(_pulumi(drill, "stack", "export").out)
    found = state["deployment"].get("resources", [])
    real = [one for one in found if not one["type"].startswith("pulumi:providers:")]
    return {one["urn"]: bool(one.get("protect")) for one in real}


def _the_engine(drill: Drill) -> Iterator[RowFinding]:
    production = str(drill.config.get("protect", "true")).lower() == "true"
    if production:
        yield from _refused(drill, _resources(drill), drill.stack.file)
        yield not_played("pulumi destroy itself", "this is a production stack")
        return
    # A test stack can be destroyed completely: nothing in it is protected.
    plan = _pulumi(drill, "destroy", "--preview-only")
    whole = f"- {len(_resources(drill))} to delete"
    yield judged(
        "a test stack can be destroyed completely",
        plan.code == 0 and whole in plan.out,
        whole if whole in plan.out else plan.said[-300:],
    )
    if not drill.may(Level.TRIAL):
        yield not_played(
            "pulumi destroy of a protected stack", "this one has protect: false; playing it as a protected one " + Level.TRIAL.words
        )  # fmt: skip
        return
    with _as_production(drill) as file:
        before = _resources(drill)
        sure = True
        for finding in _refused(drill, before, file):
            sure = sure and finding.outcome.value in ("held", "control")
            yield finding
        if sure:  # otherwise it would be destroyed
            yield from _really(drill, before)


@contextmanager
def _as_production(drill: Drill) -> Iterator[Path]:
    """Set protect: true by the engine, from a copy of the stack file, and undo it afterwards. Yields that copy."""
    settings = yaml.safe_load(drill.stack.file.read_text())
    settings["config"]["lastcopy:protect"] = True
    file = drill.folder / drill.stack.file.name
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    up = partial(_pulumi, drill, "up", "--yes", "--skip-preview", "--suppress-outputs")
    try:
        up("--config-file", str(file))
        yield file
    finally:
        back = up()
        if back.code != 0:
            drill.say(f"protect: true was not completely undone; run pulumi up: {back.said[-200:]}")


def _refused(drill: Drill, before: dict[str, bool], file: Path) -> Iterator[RowFinding]:
    """Previews, which must already fail."""
    names = [urn.rsplit("::", 1)[-1] for urn, protected in before.items() if protected]
    if not names:
        yield judged("the stack's passwords are protected", False, "nothing in the state is")
        return
    yield control("the state marks what must be kept", bool(names), ", ".join(names))
    plan = _pulumi(drill, "destroy", "--preview-only")
    yield judged("preview of pulumi destroy", plan.code != 0 and PROTECTED in plan.said, _said(plan))
    settings = yaml.safe_load(file.read_text()) if file.exists() else {}
    sources = settings.get("config", {}).get("lastcopy:sources")
    if not isinstance(sources, list):
        yield not_played("a source removed from the stack file", "its sources come from an environment")
        return
    settings["config"]["lastcopy:sources"] = [source for source in sources if source["name"] != drill.source]
    if len(sources) < 2 or f"{drill.source}-repository-password" not in names:
        yield not_played(
            "a source removed from the stack file", "it is the only one, or has a password of its own"
        )
        return
    without = drill.folder / f"without-{file.name}"
    without.write_text(yaml.safe_dump(settings, sort_keys=False))
    plan = _pulumi(drill, "preview", "--config-file", str(without))
    yield judged("preview without a source of the stack file", plan.code != 0 and PROTECTED in plan.said, _said(plan))  # fmt: skip


def _said(done: CommandResult) -> str:
    lines = [line.strip() for line in done.said.splitlines() if PROTECTED in line]
    return lines[0] if lines else f"exit code {done.code}: {done.said[-200:]}"


def _really(drill: Drill, before: dict[str, bool]) -> Iterator[RowFinding]:
    """Real attempts to destroy the protected stack."""
    urns = [urn for urn, protected in before.items() if protected]
    tries = {
        "pulumi destroy --yes": ("destroy", "--yes"),
        "pulumi state delete of a password": ("state", "delete", "--yes", urns[0]),
        "pulumi stack rm": ("stack", "rm", "--yes"),
    }
    for what, words in tries.items():
        done = (
            drill.stack.run(*words, drill.stack.name, quiet=True, check=False) if words[1] == "rm" else None
        )
        ended = CommandResult(code=done.returncode, out=done.stdout, err=done.stderr) if done else _pulumi(drill, *words)  # fmt: skip
        after = _resources(drill)
        left = sorted(urn.rsplit("::", 1)[-1] for urn in before.keys() - after.keys())
        last = [line for line in ended.said.splitlines() if line.startswith("error:")] or [_said(ended)]
        yield judged(what, ended.code != 0 and not left, f"gone from the state: {left}" if left else last[0])
    back = log_in(drill.relay, command=("test", "-s", f"/etc/lastcopy/relay/{drill.source}/serve.conf"))
    yield judged("the relay and the source's entry are kept", back.code == 0, f"exit code {back.code}")


# --- the cloud console ---


def _the_console(drill: Drill) -> Iterator[RowFinding]:
    if not drill.may(Level.SCRATCH):
        yield not_played("locked objects, attacked by the storage's own administrator", Level.SCRATCH.words)
        return
    scratch, storage = drill.scratch_repository(fresh=True), drill.require_storage()
    bucket = storage.where.bucket
    # Delete markers are not locked; restic's own locks leave some.
    before = [one for one in storage.versions(scratch.path) if not one.marker]
    locks = storage.retention(before)
    bound = all("COMPLIANCE" in said for said in locks.values())
    soon = datetime.now(UTC) + timedelta(seconds=90)

    def loosen(mode: str, bypass: bool, s3: Any, at: dict[str, str]) -> object:
        return s3.put_object_retention(
            **at, Retention={"Mode": mode, "RetainUntilDate": soon}, BypassGovernanceRetention=bypass
        )

    calls: dict[str, Callable[[Any, dict[str, str]], object]] = {
        "delete the version": lambda s3, at: s3.delete_object(**at),
        "end its lock soon": partial(loosen, "COMPLIANCE", False),
        "make its lock a governance one": partial(loosen, "GOVERNANCE", False),
        "remove its lock": lambda s3, at: s3.put_object_retention(**at, Retention={}),
        "delete it in a batch": lambda s3, at: _listed(
            s3.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": at["Key"], "VersionId": at["VersionId"]}]}
            )
        ),
    }
    if bound:
        calls |= {
            "delete the version and bypass governance": lambda s3, at: s3.delete_object(
                **at, BypassGovernanceRetention=True
            ),
            "end its lock soon and bypass governance": partial(loosen, "GOVERNANCE", True),
        }
    else:
        yield not_played(
            "deleting with a bypass of GOVERNANCE",
            "this bucket's lock mode is GOVERNANCE, which break-glass may bypass; COMPLIANCE cannot be bypassed",
        )
    read = storage.call(
        lambda s3: s3.get_object(**_at(bucket, before[0]))["ResponseMetadata"]["HTTPStatusCode"]
    )
    yield control("the storage's administrator reads the objects", read == 200 and bool(before), f"{len(before)} versions")  # fmt: skip
    flat: dict[str, Callable[[Any], object]]
    flat = {f"{name} {n}": partial(_one, call, _at(bucket, one)) for name, call in calls.items() for n, one in enumerate(before)}  # fmt: skip
    flat["delete the bucket 0"] = lambda s3: s3.delete_bucket(Bucket=bucket)
    answers = storage.try_calls(flat, storage.admin)
    after = storage.versions(scratch.path)
    damage = find_losses(before, after)
    kept = storage.retention(before) if not damage else {}
    changed = sorted({place[0] for place, said in locks.items() if kept.get(place) != said})
    for name in [*calls, "delete the bucket"]:
        codes = sorted({code for tried, code in answers.items() if tried.rpartition(" ")[0] == name})
        yield judged(f"the administrator tries on every version: {name}", "done" not in codes, ", ".join(codes))  # fmt: skip
    yield judged("every version is still there", not damage, damage or f"{len(before)} versions as before")
    yield judged("every lock is as before", not changed, changed or f"{len(locks)} locks")
    yield judged("the known tree restores", *scratch.try_restore())


def _at(bucket: str, one: Any) -> dict[str, str]:
    return {"Bucket": bucket, "Key": one.key, "VersionId": one.version}


def _one(call: Callable[[Any, dict[str, str]], object], at: dict[str, str], s3: Any) -> object:
    return call(s3, at)


def _listed(answer: dict[str, Any]) -> None:
    """Raise what DeleteObjects reports in its answer, not in its status."""
    from botocore.exceptions import ClientError

    for error in answer.get("Errors", []):
        raise ClientError({"Error": error}, "DeleteObjects")
