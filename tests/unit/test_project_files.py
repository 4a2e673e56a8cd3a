"""The files around the code: license, changelog, workflows, templates, hooks. A planted mistake shows that each check works."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolchain.checkout import ROOT

WORKFLOWS = sorted([*(ROOT / ".github/workflows").glob("*.yml"), *(ROOT / "docs/ci").glob("*.yml")])
OTHER_YAML = sorted(
    [*(ROOT / ".github").glob("*.yml"), *(ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"), ROOT / ".pre-commit-config.yaml"]
)  # fmt: skip
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""Of the license's text as the Apache Software Foundation publishes it."""
WRITES = {"release.yml": {"contents"}, "github-preview.yml": {"pull-requests"}}
"""What a workflow may write, for one of its jobs; all others read."""

Look = Callable[[str, str], Iterator[str]]


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _jobs(text: str) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return jobs


def _events(text: str) -> set[str]:
    """YAML 1.1 reads the key `on` as true."""
    content = yaml.safe_load(text)
    on = content.get("on", content.get(True))
    return {on} if isinstance(on, str) else set(on)


def loose_pins(text: str, _: str) -> Iterator[str]:
    """Also in lines that a reader is meant to uncomment."""
    for line in re.findall(r"\buses: *(.+)", text):
        if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line.strip()):
            yield f"{line}: not a full commit id with its version behind it"


def wide_permissions(text: str, name: str) -> Iterator[str]:
    content = yaml.safe_load(text)
    given = content.get("permissions")
    if given not in ({}, {"contents": "read"}):
        yield f"permissions of the workflow: {given}"
    for job, what in _jobs(text).items():
        own = what.get("permissions", {})
        if not isinstance(own, Mapping):
            yield f"{job}: permissions {own}"
            continue
        for scope, level in own.items():
            if level != "read" and scope not in WRITES.get(name, set()):
                yield f"{job}: may write {scope}"


def strangers_code_with_secrets(text: str, _: str) -> Iterator[str]:
    if _events(text) & {"pull_request_target", "workflow_run"}:
        yield "runs with secrets on an event that a fork can cause"
    if "pull_request" not in _events(text):
        return
    for job, what in _jobs(text).items():
        used = set(re.findall(r"secrets\.(\w+)", yaml.safe_dump(what)))
        own_branch = "head.repo.full_name == github.repository" in str(what.get("if", ""))
        if used and not (own_branch and "environment" in what):
            yield f"{job}: {sorted(used)} without an environment and a condition that leaves out forks"
        writes = "write" in dict(what.get("permissions", {})).values()
        checks_out = any("actions/checkout" in str(step.get("uses")) for step in what["steps"])
        if writes and checks_out:
            yield f"{job}: a token that may write beside the change's code"


def lasting_credentials(text: str, _: str) -> Iterator[str]:
    for job, what in _jobs(text).items():
        for step in what["steps"]:
            kept = step.get("with", {}).get("persist-credentials", True)
            if "actions/checkout" in str(step.get("uses")) and kept is not False:
                yield f"{job}: the checkout keeps the token"


def injected_words(text: str, _: str) -> Iterator[str]:
    """An expression inside a shell line becomes shell: a branch called `$(…)` would run."""
    for job, what in _jobs(text).items():
        for step in what["steps"]:
            if "${{" in str(step.get("run", "")):
                yield f"{job}: an expression in a shell line"


def unlimited_jobs(text: str, _: str) -> Iterator[str]:
    yield from (f"{job}: no time limit" for job, what in _jobs(text).items() if "timeout-minutes" not in what)


def missing_things(text: str, _: str) -> Iterator[str]:
    """Make targets and files that the steps name."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for what in _jobs(text).values():
        for step in what["steps"]:
            run = str(step.get("run", ""))
            yield from (
                f"make {name}: no such target"
                for name in re.findall(r"\bmake ([\w-]+)", run)
                if name not in targets
            )
            yield from (
                f"{name}: no such file"
                for name in re.findall(r"(?<![\w./])(?:\.?[\w-]+/)*[\w-]+\.(?:sh|txt|py)\b", run)
                if not (ROOT / name).exists()
            )


_JOB = "on: push\njobs:\n  a:\n    steps:\n"
LOOKS: dict[str, tuple[Look, str]] = {
    "a tag as a pin": (loose_pins, f"{_JOB}      - uses: actions/checkout@v6\n"),
    "a commented tag": (loose_pins, f"{_JOB}      # - uses: actions/checkout@v6\n"),
    "a pin without its version": (loose_pins, f"{_JOB}      - uses: a/b@{'0' * 40}\n"),
    "no permissions": (wide_permissions, f"{_JOB}      - run: ls\n"),
    "all permissions": (wide_permissions, f"permissions: write-all\n{_JOB}      - run: ls\n"),
    "a job that may write": (wide_permissions, "on: push\npermissions: {}\njobs: {a: {permissions: {contents: write}, steps: []}}"),
    "a stranger's code": (strangers_code_with_secrets, "on: pull_request_target\njobs: {}\n"),
    "secrets for forks": (strangers_code_with_secrets, "on: pull_request\njobs: {a: {steps: [{run: x, env: {X: '${{ secrets.X }}'}}]}}"),
    "a token beside the change": (
        strangers_code_with_secrets,
        "on: pull_request\njobs: {a: {permissions: {contents: write}, steps: [{uses: actions/checkout@v1}]}}",
    ),
    "a token that is kept": (lasting_credentials, f"{_JOB}      - uses: actions/checkout@v6\n"),
    "an injection": (injected_words, f"{_JOB}      - run: echo ${{{{ github.head_ref }}}}\n"),
    "no time limit": (unlimited_jobs, f"{_JOB}      - run: ls\n"),
    "a target": (missing_things, f"{_JOB}      - run: sudo make cofee\n"),
    "a file": (missing_things, f"{_JOB}      - run: sh .github/no-such.sh\n"),
}  # fmt: skip


@pytest.mark.parametrize("file", WORKFLOWS, ids=ids)
def test_a_workflow_is_pinned_and_has_few_rights(file: Path) -> None:
    text = file.read_text()
    checks = dict.fromkeys(check for check, _ in LOOKS.values())
    assert [mistake for check in checks for mistake in check(text, file.name)] == []


@pytest.mark.parametrize("look", LOOKS)
def test_a_planted_mistake_is_noticed(look: str) -> None:
    check, planted = LOOKS[look]
    assert list(check(planted, "check.yml"))


def test_one_version_of_each_action() -> None:
    pins = {pin for file in WORKFLOWS for pin in re.findall(r"uses: *(\S+@\S+ # \S+)", file.read_text())}
    assert len({pin.split("@")[0] for pin in pins}) == len(pins), sorted(pins)


@pytest.mark.parametrize("file", OTHER_YAML, ids=ids)
def test_other_settings_parse(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text()), dict)


def test_hooks_call_existing_tools() -> None:
    """By the project's own environment, so that nothing is fetched and versions agree with `make check`."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        assert hook["language"] == "system"
        program, *words = hook["entry"].split()
        assert program == ".venv/bin/python"
        assert words[0] == "-m"
        assert importlib.util.find_spec(words[1]), f"no module {words[1]}"


def test_dependabot_looks_where_dependencies_are() -> None:
    settings = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())
    files = {"pip": "requirements.txt", "gomod": "go.mod", "github-actions": ".github/workflows"}
    for update in settings["updates"]:
        folder = ROOT / update["directory"].lstrip("/")
        assert (folder / files[update["package-ecosystem"]]).exists()


def test_the_license_is_complete() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2


def _version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def test_the_changelogs_newest_version_is_the_projects() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    versions = [
        re.fullmatch(r"(\d+\.\d+\.\d+) \((?:\d{4}-\d\d-\d\d|not tagged yet)\)", one) for one in headings[1:]
    ]
    assert all(versions), headings
    numbers = [tuple(map(int, one[1].split("."))) for one in versions if one]
    assert numbers == sorted(numbers, reverse=True)
    assert ".".join(map(str, numbers[0])) == _version()


def _notes(version: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", ROOT / ".github/release-notes.sh", version], capture_output=True, text=True, check=False
    )


def test_a_release_is_published_with_only_its_section_of_the_changelog() -> None:
    done = _notes(_version())
    assert done.returncode == 0, done.stderr
    assert "- Sources, relay and storage" in done.stdout
    assert "## " not in done.stdout


def test_a_tag_that_is_not_the_projects_version_is_refused() -> None:
    done = _notes("9.9.9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pyproject.toml has another version than 9.9.9; fix: " in done.stderr


@pytest.fixture
def preview(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """docs/ci/preview.sh with a `pulumi` that runs these lines; the comment is in tmp_path/preview.md."""

    def run(lines: str) -> subprocess.CompletedProcess[str]:
        engine = tmp_path / "pulumi"
        engine.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/words\n{lines}\n')
        engine.chmod(0o755)
        return subprocess.run(
            ["sh", ROOT / "docs/ci/preview.sh", "prod", tmp_path / "preview.md"],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_the_preview_becomes_a_comment(
    preview: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = preview("echo '  ~ relay-sshd: updated'")
    assert done.returncode == 0, done.stderr
    comment = (tmp_path / "preview.md").read_text()
    assert comment.startswith("**`pulumi preview` of `prod`**\n")
    assert "\n  ~ relay-sshd: updated\n" in comment
    assert "~ relay-sshd: updated" in done.stdout
    assert "--stack prod --diff --policy-pack policy --non-interactive" in (tmp_path / "words").read_text()


def test_a_failed_preview_says_so_and_fails(
    preview: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = preview("echo '2 problems in stacks/Pulumi.prod.yaml' >&2; exit 255")
    assert done.returncode == 255
    comment = (tmp_path / "preview.md").read_text()
    assert comment.startswith("**`pulumi preview` of `prod` failed (exit status 255)**\n")
    assert "2 problems in" in comment


def test_a_long_preview_is_cut_to_the_size_of_a_comment(
    preview: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = preview("yes '``` and a line' | head -c 200000")
    assert done.returncode == 0, done.stderr
    comment = (tmp_path / "preview.md").read_text()
    assert len(comment) < 65536
    assert "Cut off after 60000 bytes" in comment
    assert comment.endswith("</details>\n")
