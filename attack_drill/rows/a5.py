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

from attack_drill.dial import alone
from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.storage import lost
from ops.hosts.connection import Done

PROTECTED = "protect"  # in every sentence of the engine's about it


def play(ground: Ground) -> Iterator[Finding]:
    yield from _the_engine(ground)
    yield from _the_console(ground)


# --- pulumi destroy ---


def _pulumi(ground: Ground, *words: str) -> Done:
    reads_settings = words[0] in ("up", "preview", "destroy") and "--config-file" not in words
    named = ground.stack.configured if reads_settings else ground.stack.named
    done = ground.stack.run(*words, *named, quiet=True, check=False)
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


def _resources(ground: Ground) -> dict[str, bool]:
    """What the state holds, and whether it is protected."""
    state = json.loads(_pulumi(ground, "stack", "export").out)
    found = state["deployment"].get("resources", [])
    real = [one for one in found if not one["type"].startswith("pulumi:providers:")]
    return {one["urn"]: bool(one.get("protect")) for one in real}


def _the_engine(ground: Ground) -> Iterator[Finding]:
    production = str(ground.config.get("protect", "true")).lower() == "true"
    if production:
        yield from _refused(ground, _resources(ground), ground.stack.file)
        yield not_played("pulumi destroy itself", "what would be tried here is production")
        return
    # A stack that is thrown away again goes whole: nothing in it holds the person up.
    plan = _pulumi(ground, "destroy", "--preview-only")
    whole = f"- {len(_resources(ground))} to delete"
    yield judged("a stack for trials would go cleanly", plan.code == 0 and whole in plan.out, whole if whole in plan.out else plan.said[-300:])  # fmt: skip
    if not ground.may(Level.TRIAL):
        yield not_played(
            "pulumi destroy of a protected stack", "this one has protect: false; played as a protected one it " + Level.TRIAL.words
        )  # fmt: skip
        return
    with _as_production(ground) as file:
        before = _resources(ground)
        sure = True
        for finding in _refused(ground, before, file):
            sure = sure and finding.outcome.value in ("held", "control")
            yield finding
        if sure:  # else it would go
            yield from _really(ground, before)


@contextmanager
def _as_production(ground: Ground) -> Iterator[Path]:
    """The stack as it would be with protect: true, through the engine; the stack file itself stays as it is. Yields that other file."""
    settings = yaml.safe_load(ground.stack.file.read_text())
    settings["config"]["lastcopy:protect"] = True
    file = ground.folder / ground.stack.file.name
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    up = partial(_pulumi, ground, "up", "--yes", "--skip-preview", "--suppress-outputs")
    try:
        up("--config-file", str(file))
        yield file
    finally:
        back = up()
        if back.code != 0:
            ground.say(f"protect: true was not wholly taken back; run pulumi up: {back.said[-200:]}")


def _refused(ground: Ground, before: dict[str, bool], file: Path) -> Iterator[Finding]:
    """What only plans, and must already say no."""
    names = [urn.rsplit("::", 1)[-1] for urn, protected in before.items() if protected]
    if not names:
        yield judged("the stack's passwords are protected", False, "nothing in the state is")
        return
    yield control("the state marks what must stay", bool(names), ", ".join(names))
    plan = _pulumi(ground, "destroy", "--preview-only")
    yield judged("pulumi destroy, planned", plan.code != 0 and PROTECTED in plan.said, _said(plan))
    settings = yaml.safe_load(file.read_text()) if file.exists() else {}
    sources = settings.get("config", {}).get("lastcopy:sources")
    if not isinstance(sources, list):
        yield not_played("a source taken out of the stack file", "its sources come from an environment")
        return
    settings["config"]["lastcopy:sources"] = [source for source in sources if source["name"] != ground.source]
    if len(sources) < 2 or f"{ground.source}-repository-password" not in names:
        yield not_played(
            "a source taken out of the stack file", "it is the only one, or brings its own password"
        )
        return
    without = ground.folder / f"without-{file.name}"
    without.write_text(yaml.safe_dump(settings, sort_keys=False))
    plan = _pulumi(ground, "preview", "--config-file", str(without))
    yield judged("a source taken out of the stack file, planned", plan.code != 0 and PROTECTED in plan.said, _said(plan))  # fmt: skip


def _said(done: Done) -> str:
    lines = [line.strip() for line in done.said.splitlines() if PROTECTED in line]
    return lines[0] if lines else f"exit code {done.code}: {done.said[-200:]}"


def _really(ground: Ground, before: dict[str, bool]) -> Iterator[Finding]:
    """Not planned any more, but meant."""
    urns = [urn for urn, protected in before.items() if protected]
    tries = {
        "pulumi destroy --yes": ("destroy", "--yes"),
        "pulumi state delete of a password": ("state", "delete", "--yes", urns[0]),
        "pulumi stack rm": ("stack", "rm", "--yes"),
    }
    for what, words in tries.items():
        done = (
            ground.stack.run(*words, ground.stack.name, quiet=True, check=False) if words[1] == "rm" else None
        )
        ended = Done(code=done.returncode, out=done.stdout, err=done.stderr) if done else _pulumi(ground, *words)  # fmt: skip
        after = _resources(ground)
        left = sorted(urn.rsplit("::", 1)[-1] for urn in before.keys() - after.keys())
        last = [line for line in ended.said.splitlines() if line.startswith("error:")] or [_said(ended)]
        yield judged(what, ended.code != 0 and not left, f"gone from the state: {left}" if left else last[0])
    back = alone(ground.relay, command=("test", "-s", f"/etc/lastcopy/relay/{ground.source}/serve.conf"))
    yield judged("the relay and the source's entry stand", back.code == 0, f"exit code {back.code}")


# --- the cloud console ---


def _the_console(ground: Ground) -> Iterator[Finding]:
    if not ground.may(Level.THROWAWAY):
        yield not_played("locked objects, under the storage's own administrator", Level.THROWAWAY.words)
        return
    made, judge = ground.throwaway(fresh=True), ground.judge()
    bucket = judge.where.bucket
    # Markers are not locked, and restic's own locks leave some behind.
    before = [one for one in judge.versions(made.path) if not one.marker]
    locks = judge.retention(before)
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
        "take its lock off": lambda s3, at: s3.put_object_retention(**at, Retention={}),
        "delete it for good by a list": lambda s3, at: _listed(
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
            "deleting with the bypass of governance",
            "this bucket's lock is one that break-glass may lift; COMPLIANCE is the one that nobody lifts",
        )
    read = judge.do(lambda s3: s3.get_object(**_at(bucket, before[0]))["ResponseMetadata"]["HTTPStatusCode"])
    yield control("the storage's administrator reads the objects", read == 200 and bool(before), f"{len(before)} versions")  # fmt: skip
    flat: dict[str, Callable[[Any], object]]
    flat = {f"{name} {n}": partial(_one, call, _at(bucket, one)) for name, call in calls.items() for n, one in enumerate(before)}  # fmt: skip
    flat["delete the bucket 0"] = lambda s3: s3.delete_bucket(Bucket=bucket)
    answers = judge.tried(flat, judge.admin)
    after = judge.versions(made.path)
    damage = lost(before, after)
    kept = judge.retention(before) if not damage else {}
    changed = sorted({place[0] for place, said in locks.items() if kept.get(place) != said})
    for name in [*calls, "delete the bucket"]:
        codes = sorted({code for tried, code in answers.items() if tried.rpartition(" ")[0] == name})
        yield judged(f"the administrator tries on every version: {name}", "done" not in codes, ", ".join(codes))  # fmt: skip
    yield judged("every version is still there", not damage, damage or f"{len(before)} versions as before")
    yield judged("every lock stands as it stood", not changed, changed or f"{len(locks)} locks")
    yield judged("the known tree restores", *made.restored())


def _at(bucket: str, one: Any) -> dict[str, str]:
    return {"Bucket": bucket, "Key": one.key, "VersionId": one.version}


def _one(call: Callable[[Any, dict[str, str]], object], at: dict[str, str], s3: Any) -> object:
    return call(s3, at)


def _listed(answer: dict[str, Any]) -> None:
    """A list's refusals stand in the answer, not in its status."""
    from botocore.exceptions import ClientError

    for error in answer.get("Errors", []):
        raise ClientError({"Error": error}, "DeleteObjects")
