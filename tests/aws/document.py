"""Which commands of docs/aws.md are executed, and by which test; which cannot be, and why.

A test takes the commands from here, so that it runs what the document says. `tests/unit/test_aws_docs.py` fails on a block, a row or a command
that is not listed; `test_zz_destroy.py` fails on one that did not run successfully.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.doc_shell import blocks, commands
from toolchain.checkout import ROOT

AWS = "docs/aws.md"
DAY_2, ERRORS = "## Day 2", "## Errors in AWS's own words"


@dataclass(frozen=True)
class Block:
    """A shell block: the ``number``-th of its chapter."""

    heading: str
    number: int = 0

    def commands(self) -> list[Command]:
        text = blocks(ROOT / AWS, self.heading)[self.number]
        return [Command(one, self) for one in commands(text)]


@dataclass(frozen=True)
class Command:
    """One command, as written there."""

    text: str
    block: Block


ROLES, SESSION = Block("## 2. Two roles"), Block("## 2. Two roles", 1)
STATE_ONCE, STATE = Block("## 3. State"), Block("## 3. State", 1)
_PREVIEWED = "## 4. The stack file, the cost, the preview"
COST, PREVIEW = Block(_PREVIEWED), Block(_PREVIEWED, 1)
_BUILT = "## 5. Set it up, back up, restore"
BUILD, TUNNEL = Block(_BUILT), Block(_BUILT, 1)
TRIAL = Block("## A trial first")
IN_SHORT = Block("## In short")

_DOCS, _STACK = "tests/aws/test_docs_aws.py", "tests/aws/test_stack.py"
RUN_BY = {
    ROLES: f"{_DOCS}::test_the_documented_roles_work_and_the_session_belongs_to_the_deploying_role",
    SESSION: f"{_DOCS}::test_the_documented_roles_work_and_the_session_belongs_to_the_deploying_role",
    STATE_ONCE: f"{_DOCS}::test_the_state_is_in_the_bucket_and_its_secrets_are_encrypted_by_the_key",
    STATE: f"{_DOCS}::test_the_state_is_in_the_bucket_and_its_secrets_are_encrypted_by_the_key",
    COST: f"{_DOCS}::test_the_estimate_and_the_preview_match_the_document",
    PREVIEW: f"{_DOCS}::test_the_estimate_and_the_preview_match_the_document",
    BUILD: f"{_STACK}::test_the_document_ends_with_a_backup_that_restores_byte_for_byte",
    TRIAL: "tests/aws/test_zz_destroy.py::test_destroy_leaves_nothing",
    # Its last command, `pulumi up`: run on the trial's stack, which has machines.
    IN_SHORT: f"{_STACK}::test_one_number_replaces_the_machine_and_sources_go_on",
}
# Rows of "Day 2" by their first cells.
ROW_RUN_BY = {
    "add a source, change paths, schedule, networks": f"{_STACK}::test_the_deploying_role_can_add_a_source",
    "rotate a source's storage key": f"{_STACK}::test_a_key_is_rotated_without_a_gap",
    "replace the relay's machine": f"{_STACK}::test_one_number_replaces_the_machine_and_sources_go_on",
    "change lock, storage classes or break-glass, or bring in a new version's bucket policy": f"{_STACK}::test_only_break_glass_changes_the_lock",
    "take a bucket that exists": "tests/aws/test_vault.py::test_an_existing_bucket_is_adopted_and_kept_when_the_stack_is_destroyed",
}
ROWS_NOT_RUN = {
    "see why a call was refused": "moto keeps no trail of calls",
    "the relay's machine was terminated by hand": "not tried",
    "the state is lost": "not tried: IAM users of before have the names of the new ones",
}
# The commands of the table of errors, by their beginnings.
ADVICE_RUN_BY = f"{_DOCS}::test_the_commands_in_the_table_of_errors_work"
NOT_RUN = {
    "python3 -m venv .venv": "the packages are those of the environment that runs the tests",
    "aws ssm start-session": "it needs AWS's Systems Manager and its agent on a machine; the tunnel's end is tried in tests/own_hosts",
    "aws sso login": "it opens a browser at IAM Identity Center",
    "aws service-quotas request": "moto has no requests for quotas",
}


def not_run(command: str) -> bool:
    return command.startswith(tuple(NOT_RUN))


def shell_blocks(text: str) -> Iterator[Block]:
    """Every shell block of the document."""
    counted: dict[str, int] = {}
    heading = ""
    for found in re.finditer(r"^(## .*)$|^```sh$", text, re.MULTILINE):
        heading = found[1] or heading
        if found[1] is None:
            yield Block(heading, counted.get(heading, 0))
            counted[heading] = counted.get(heading, 0) + 1


def rows(text: str, heading: str) -> dict[str, str]:
    """A chapter's table: first cell -> last cell."""
    chapter = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in chapter.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[-1].strip() for row in cells if not row[0].startswith(" ---")}


def code(cell: str) -> list[str]:
    """The words of the cell that are formatted as code."""
    return re.findall(r"`([^`]+)`", cell)


def unnamed(text: str) -> list[str]:
    """What of the document is neither executed nor excused."""
    found = [f"{one.heading}: block {one.number}" for one in shell_blocks(text) if not _named(one)]
    known = {"to", *ROW_RUN_BY, *ROWS_NOT_RUN}
    found += [f"{DAY_2}: {row}" for row in rows(text, DAY_2) if row not in known]
    found += [f"{ERRORS}: {one}" for one in advice(text) if not (not_run(one) or one.startswith(ADVISED))]
    return found


def _named(block: Block) -> bool:
    return block in RUN_BY or block == TUNNEL


ADVISED = (
    "aws sts get-caller-identity",
    "aws ec2 describe-",
    'eval "$(aws configure export-credentials',
    "pulumi up",
)


def advice(text: str) -> list[str]:
    """The commands of the table of errors."""
    spans = [span for cell in rows(text, ERRORS).values() for span in code(cell)]
    return [span for span in dict.fromkeys(spans) if span.startswith(("aws ", "pulumi ", "eval "))]


_used: set[str] = set()


def day_2(to: str) -> list[str]:
    """The keys and commands in that row of the table."""
    cell = rows((ROOT / AWS).read_text(), DAY_2)[to]
    _used.add(to)
    return code(cell)


def rows_used() -> set[str]:
    """The rows that this session's tests have used."""
    return set(_used)
