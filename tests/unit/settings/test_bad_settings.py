"""Every wrong key, type, name and combination gets one clear error: where, what, the allowed form, the fix that works."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from components.settings import Problem
from tests.unit.settings import bad, bad_aws, bad_sources
from tests.unit.settings.support import (
    GOOD,
    SANDBOX,
    STACK_FILE,
    accepted,
    certificate,
    good,
    laid_over,
    leaks,
    private_key,
    public_key,
    refused,
    secrets_in,
    stack,
)

CASES = [
    *bad.TOP,
    *bad.ADMIN,
    *bad.PEOPLE,
    *bad.RELAY,
    *bad.STORAGE,
    *bad_sources.SOURCE,
    *bad_sources.TOGETHER,
    *bad_sources.JUMPS,
    *bad_aws.EVERY,
]
each_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.where}: {case.words[:30]}" for case in CASES])


def test_there_are_at_least_sixty_bad_configurations() -> None:
    assert len({(case.yaml, case.base) for case in CASES}) >= 60


@pytest.mark.parametrize(
    "base",
    [GOOD, SANDBOX, bad.RCLONE, bad_aws.AWS, bad_aws.TEST],
    ids=["s3", "sandbox", "rclone", "aws", "test"],
)
def test_without_its_fragment_the_stack_is_accepted(base: str) -> None:
    assert good(base=base).sources


@each_case
def test_one_mistake_gives_one_problem_with_its_place_and_fix(case: bad.Bad) -> None:
    raw = stack(case.yaml, case.base)
    error = refused(raw)
    assert len(error.problems) == 1, str(error)
    problem = error.problems[0]
    assert problem.where == f"{STACK_FILE}: lastcopy:{case.where}"
    assert case.words in problem.what or case.words in problem.allowed, str(problem)
    assert case.fix in problem.fix, str(problem)
    assert problem.allowed, "the allowed form is missing"
    assert not [secret for secret in secrets_in(raw) if leaks(str(error), secret)]


@each_case
def test_the_given_fix_solves_the_problem(case: bad.Bad) -> None:
    raw = stack(case.yaml, case.base)
    problem = refused(raw).problems[0]
    repaired = apply(problem.fix, raw)
    if repaired == raw:
        assert "edit " in problem.fix, f"nothing to type in:\n{problem.fix}"
        return
    left = [] if accepted(repaired) else refused(repaired).problems
    assert (problem.where, problem.what) not in [(other.where, other.what) for other in left]


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    fragment = """
    environment: PROD
    admin: {user: "a b", secondFactor: sms, people: [{name: Al, publicKeys: [CUT-KEY]}]}
    intermediate: {existing: {port: 0}}
    storage: {s3: {bucket: X, endpoint: "http://x"}}
    sources: [{name: web1, path: [], restic: {connections: 99}}, {name: web1, paths: [x, y]}]
    """
    error = refused(stack(fragment))
    told = [problem.where.split("lastcopy:")[1] for problem in error.problems]
    assert told == [
        "environment", "admin.user", "admin.secondFactor", "admin.people[0].name", "admin.people[0].publicKeys[0]",
        "intermediate.existing.port", "storage.s3.endpoint",
        "storage.s3.bucket", "sources[0].restic.connections", "sources[0].path", "sources[1].name",
        "sources[1].paths[0]", "sources[1].paths[1]",
    ]  # fmt: skip
    assert str(error).startswith(f"13 problems in {STACK_FILE}; nothing was changed.")


def test_a_problem_is_written_as_where_what_allowed_fix() -> None:
    problem = Problem(where="file: key", what="is\nbad", allowed="good", fix="do this\nand that")
    lines = str(problem).splitlines()
    assert lines[0] == "file: key"
    assert [line.split(":")[0].strip() for line in lines if ":" in line] == [
        "file",
        "wrong",
        "allowed",
        "fix",
    ]
    assert all(line.startswith("   ") for line in lines[1:])


def test_pulumi_prints_the_error_without_a_stack_trace() -> None:
    from pulumi import RunError

    error = refused({})
    assert isinstance(error, RunError)
    assert error.__cause__ is None
    assert error.__context__ is None, "a chained pydantic error would contain the refused values"


# --- simulates the person who types the fix ---------------------------------------------------------------------

GOOD_SECRETS = {
    "password": "a-Good-Repository-Password",
    "secretAccessKey": "a-good-secret-access-key",
    "section": "type = b2\naccount = 12",
    "totpSecret": "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U",
}


def apply(fix: str, raw: dict[str, Any]) -> dict[str, Any]:
    """The stack after the fix's commands were run and its YAML was written, whole keys in place of AAAA…."""
    shown = re.search(r"(add to|write in) \S+, below config:?.*\n((?:  .*\n?)+)", fix)
    for line in fix.splitlines():
        if line.startswith("pulumi config rm"):
            raw = run(shlex.split(line), raw)
    if shown:
        added = yaml.safe_load(
            re.sub(r"(\S+) AAAA…", lambda kind: public_key("the fix's key", kind[1]), shown[2])
        )
        ((name, patch),) = added.items()
        entry = re.search(r"# entry (\d+)", shown[2])
        if entry:
            patch = at_entry(patch, int(entry[1]))
        present = raw.get(name.removeprefix("lastcopy:"))
        whole = shown[1] == "write in" and not entry
        raw = {**raw, name.removeprefix("lastcopy:"): patch if whole else laid_over(present, patch)}
    for line in fix.splitlines():
        if line.startswith("pulumi config set"):
            raw = run(shlex.split(line), raw)
    return raw


def at_entry(patch: Any, number: int) -> Any:
    """The patch with its list, which shows one entry, as long as what it is laid over needs."""
    if isinstance(patch, list):
        return [{}] * (number - 1) + patch
    ((name, below),) = patch.items()
    return {name: at_entry(below, number)}


def run(words: list[str], raw: dict[str, Any]) -> dict[str, Any]:
    if "<" in words:
        words = words[: words.index("<")]
    flags = [word for word in words if word in ("--path", "--secret")]
    rest = [word for word in words[3:] if word not in flags]
    assert rest[-2:] == ["--stack", "prod"]
    path, *value = rest[:-2]
    assert ("[" in path or "." in path) == ("--path" in flags)
    loc = [
        int(part) if part.isdigit() else part
        for part in re.findall(r"[^.\[\]]+", path.removeprefix("lastcopy:"))
    ]
    changed: dict[str, Any] = put(
        raw, loc, typed(loc, value, "--secret" in flags) if words[2] == "set" else None
    )
    return changed


def typed(loc: list[int | str], value: list[str], secret: bool) -> Any:
    """What a person types, pipes in or writes; a secret must not be an argument."""
    if secret or not value:
        assert value == []
        return (
            certificate() if loc[-1] == "caCertificate" else GOOD_SECRETS.get(str(loc[-1])) or private_key()
        )
    if "AAAA…" in value[0]:
        return public_key("the fix's key", value[0].split(" ")[0])
    return {"true": True, "false": False}.get(value[0], int(value[0]) if value[0].isdigit() else value[0])


def put(container: Any, loc: list[int | str], value: Any) -> Any:
    """As `pulumi config set --path` does it; None removes, as `rm` does."""
    part, rest = loc[0], loc[1:]
    if isinstance(part, int):
        container = list(container) if isinstance(container, list) else []
        if value is None and not rest:
            return container[:part] + container[part + 1 :]
        container += [None] * (part + 1 - len(container))
    else:
        container = dict(container) if isinstance(container, dict) else {}
        if value is None and not rest:
            return {key: item for key, item in container.items() if key != part}
    inner = container[part] if isinstance(part, int) else container.get(part)
    container[part] = put(inner, rest, value) if rest else value
    return container
