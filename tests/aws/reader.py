"""A person who follows docs/aws.md in one shell, from the empty account on: a clean home, a checkout, alice's profiles.

It uses AWS's own command and the real engine against moto; the provider is the double. The command is version 1, which package registries have; the
only subcommand that needs version 2, `configure export-credentials`, is emulated.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import toolchain
from tests.aws.document import (
    AWS,
    COST,
    IN_SHORT,
    PREVIEW,
    ROLES,
    SESSION,
    STATE,
    STATE_ONCE,
    Block,
    Command,
    not_run,
)
from tests.aws.world import Moto, aws_environment, install_double
from tests.doc_shell import DocShell, Ended, doc_shell
from tests.integration.checkout import copy_checkout
from tests.unit.recording import SAMPLE_KEY
from toolchain.checkout import ROOT

STATE_BUCKET, REGION = "example-lastcopy-state", "eu-central-1"
MFA_CODE = "123456\n"
# The administrator of a moto account, and the person whom the roles trust.
ALICE = "[alice]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = alices\n"
# As version 2 prints it; botocore assumes the role and asks for the code, as it does there.
EXPORT = """\
#!{python}
import os, sys
if sys.argv[1:3] != ["configure", "export-credentials"]:
    os.execv({python!r}, [{python!r}, "-m", "awscli", *sys.argv[1:]])
assert sys.argv[3::2] == ["--profile", "--format"] and sys.argv[6] == "env", sys.argv
import boto3
found = boto3.Session(profile_name=sys.argv[4]).get_credentials().get_frozen_credentials()
for name, value in zip(("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"), found):
    print(f"export AWS_{{name}}={{value}}")
"""
# The two keys that the template leaves open for a person to fill in.
EDITOR = """\
import sys, yaml
content = yaml.safe_load(open(sys.argv[1]))
content["config"]["lastcopy:intermediate"]["ec2"]["adminPublicKey"] = {admin!r}
content["config"]["lastcopy:sources"][0]["host"]["hostKey"] = {host!r}
yaml.safe_dump(content, open(sys.argv[1], "w"), sort_keys=False)
"""


@dataclass
class Reader:
    """``ran``: each command of a document that succeeded, and how it ended."""

    shell: DocShell
    ran: dict[Command, Ended] = field(default_factory=dict)

    def run(self, command: Command) -> Ended:
        """Run the command as written; the MFA code is answered on stdin."""
        self.ran[command] = ended = self.shell.run(command.text, stdin=MFA_CODE).ok()
        return ended

    def follow(self, block: Block) -> None:
        for command in block.commands():
            if not not_run(command.text):
                self.run(command)

    def said(self, block: Block, beginning: str) -> str:
        """The output of the block's command with this beginning."""
        return self.ended(block, beginning).out

    def ended(self, block: Block, beginning: str) -> Ended:
        """How the block's command with this beginning ended."""
        (found,) = [
            ended for command, ended in self.ran.items() if command.block == block and command.text.startswith(beginning)
        ]  # fmt: skip
        return found


@contextmanager
def following(account: Moto, home: Path, folder: Path) -> Iterator[Reader]:
    """Follow chapters 2 to 4, then "In short" up to its preview; the shell then uses the latter's stack `prod`."""
    checkout = home / "lastcopy"
    checkout.mkdir()
    copy_checkout(checkout)
    install_double(checkout / ".local" / "pulumi")
    _person(home)
    with doc_shell(_shell(account, home, folder)) as shell:
        reader = Reader(shell)
        # A function, because after `toolchain env` the tests' own environment is first in PATH and has version 1 of the command.
        shell.run(f'aws() {{ {home}/bin/aws "$@"; }}').ok()
        # First the administrator's two blocks, then the deploying role's.
        reader.follow(ROLES)
        reader.follow(STATE_ONCE)
        _policy_set_aside(account)
        reader.follow(SESSION)
        reader.follow(STATE)
        shell.run("$EDITOR stacks/Pulumi.prod.yaml").ok()
        reader.follow(COST)
        reader.follow(PREVIEW)
        # The short form does the same from the beginning, so the existing stack is removed first.
        shell.run("pulumi stack rm prod --yes && unset PULUMI_BACKEND_URL").ok()
        *until_preview, _ = IN_SHORT.commands()
        for command in until_preview:
            reader.run(command)
        yield reader


def _shell(account: Moto, home: Path, folder: Path) -> DocShell:
    public = (home / ".ssh" / "backup-admin.pub").read_text().split()
    editor = folder / "editor.py"
    editor.write_text(EDITOR.format(admin=" ".join(public[:2]), host=SAMPLE_KEY))
    settings = aws_environment(account, home)
    for of_the_home in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        del settings[of_the_home]
    return DocShell(
        folder=folder,
        checkout=home / "lastcopy",
        home=home,
        hosts={},
        environment={
            "PATH": f"{home / 'bin'}:{Path(sys.prefix) / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LASTCOPY_CACHE": str(toolchain.ensure("restic")["restic"].path.parents[3]),
            "EDITOR": f"{sys.executable} {editor}",
            # Where a person would answer yes.
            "PULUMI_SKIP_CONFIRMATIONS": "true",
            "PYTHONPATH": str(ROOT),
            **settings,
        },
    )


def _person(home: Path) -> None:
    """alice's profiles as in the document, her key for the hosts, and her `aws`."""
    profile = re.search(r"^```ini\n(.*?)^```$", (ROOT / AWS).read_text(), re.DOTALL | re.MULTILINE)
    assert profile is not None
    (home / ".aws").mkdir()
    # IAM needs a region for signing only if the endpoint is not AWS's own.
    default = f"[default]\nregion = {REGION}\n"
    (home / ".aws" / "config").write_text(default + profile[1] + profile[1].replace("deploy", "break-glass"))
    (home / ".aws" / "credentials").write_text(ALICE)
    (home / ".ssh").mkdir(mode=0o700)
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(home / ".ssh" / "backup-admin")]
    subprocess.run(key, check=True)
    (home / "bin").mkdir()
    double = home / "bin" / "aws"
    double.write_text(EXPORT.format(python=sys.executable))
    double.chmod(0o755)


def _policy_set_aside(account: Moto) -> None:
    """moto applies a denial to everybody whatever its condition, and is used without TLS: check that the policy exists, then remove it."""
    s3 = account.client("s3")
    (denied,) = json.loads(s3.get_bucket_policy(Bucket=STATE_BUCKET)["Policy"])["Statement"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    s3.delete_bucket_policy(Bucket=STATE_BUCKET)
