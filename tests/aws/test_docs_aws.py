"""docs/aws.md, chapters 2 to 4, executed as they are written: two roles, state in S3 under a KMS key, cost, preview with the policy pack.

By AWS's own command and the real engine, against moto; the provider is the double. Then a verb of the operator's on that very state. What is left
out needs a machine (chapter 5: tests/aws/test_stack.py) or a session with AWS's SSM. The command is of version 1, which registries have; what only
version 2 has, `configure export-credentials`, is a double's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import toolchain
from ops.kit.age import new_identity
from tests.aws.world import HERE, Moto, aws_environment, install_double
from tests.doc_shell import DocShell, Ended, blocks, commands, doc_shell
from tests.integration.checkout import copy_checkout
from tests.unit.recording import SAMPLE_KEY

DOC = HERE / "docs" / "aws.md"
STATE, REGION = "example-lastcopy-state", "eu-central-1"
# A moto account's administrator, and the person whom the roles trust.
ALICE = "[alice]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = alices\n"
NOT_RUN = ("python3 -m venv .venv",)  # the packages are those of the environment that runs the tests
# As version 2 prints it; botocore assumes the role and asks for the code, as it does there.
EXPORT = """\
#!{python}
import os, sys
if sys.argv[1:3] != ["configure", "export-credentials"]:
    os.execv({aws!r}, [{aws!r}, *sys.argv[1:]])
assert sys.argv[3::2] == ["--profile", "--format"] and sys.argv[6] == "env", sys.argv
import boto3
found = boto3.Session(profile_name=sys.argv[4]).get_credentials().get_frozen_credentials()
for name, value in zip(("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"), found):
    print(f"export AWS_{{name}}={{value}}")
"""


@dataclass
class Reader:
    """Who follows the document. ``ran``: command -> how it ended."""

    shell: DocShell
    ran: dict[str, Ended]

    def follow(self, text: str) -> None:
        """The commands of one block, as they stand."""
        for command in commands(text):
            if not command.startswith(NOT_RUN):
                # The code of the MFA device is asked for.
                self.ran[command] = self.shell.run(command, stdin="123456\n").ok()

    def said(self, begin: str) -> str:
        (found,) = [one for command, one in self.ran.items() if command.startswith(begin)]
        return found.out + found.err


@pytest.fixture(scope="module")
def reader(account: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    toolchain.ensure()
    account.wait()
    home = tmp_path_factory.mktemp("home")
    checkout = home / "lastcopy"
    checkout.mkdir()
    copy_checkout(checkout)
    install_double(checkout / ".local" / "pulumi")
    _person(home)
    (home / "bin").mkdir()
    double = home / "bin" / "aws"
    double.write_text(EXPORT.format(python=sys.executable, aws=str(Path(sys.prefix) / "bin" / "aws")))
    double.chmod(0o755)
    shell = DocShell(
        folder=tmp_path_factory.mktemp("shell"),
        checkout=checkout,
        home=home,
        hosts={},
        environment={
            "PATH": f"{double.parent}:{Path(sys.prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LASTCOPY_CACHE": str(toolchain.ensure("restic")["restic"].path.parents[3]),
            "PULUMI_SKIP_CONFIRMATIONS": "true",
            "PYTHONPATH": str(HERE),
            **{
                name: value
                for name, value in aws_environment(account, home).items()
                if name not in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
            },
        },
    )
    roles, session = blocks(DOC, "## 2. Two roles")
    once, state = blocks(DOC, "## 3. State")
    cost, preview = blocks(DOC, "## 4. The stack file, the cost, the preview")
    with doc_shell(shell):
        made = Reader(shell, {})
        # The administrator's two blocks, then the deploying role's.
        for text in (roles, once):
            made.follow(text)
        _policy_set_aside(account)
        for text in (session, state):
            made.follow(text)
        _stack_file(home, checkout / "stacks" / "Pulumi.prod.yaml")
        for text in (cost, preview):
            made.follow(text)
        yield made


def _person(home: Path) -> None:
    """alice's profiles, the document's own, and her key for the hosts."""
    profile = re.search(r"^```ini\n(.*?)^```$", DOC.read_text(), re.DOTALL | re.MULTILINE)
    assert profile is not None
    (home / ".aws").mkdir()
    # IAM needs a region to sign for only where another endpoint than AWS's own is asked.
    default = f"[default]\nregion = {REGION}\n"
    (home / ".aws" / "config").write_text(default + profile[1] + profile[1].replace("deploy", "break-glass"))
    (home / ".aws" / "credentials").write_text(ALICE)
    (home / ".ssh").mkdir(mode=0o700)
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(home / ".ssh" / "backup-admin")]
    subprocess.run(key, check=True)


def _policy_set_aside(account: Moto) -> None:
    """moto takes a denial for everybody whatever its condition says, and is spoken to without TLS: seen to be there, then taken off."""
    s3 = account.client("s3")
    (denied,) = json.loads(s3.get_bucket_policy(Bucket=STATE)["Policy"])["Statement"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    s3.delete_bucket_policy(Bucket=STATE)


def _stack_file(home: Path, file: Path) -> None:
    """What the document tells to edit: the two keys that the template leaves open."""
    content = yaml.safe_load(file.read_text())
    config = content["config"]
    public = (home / ".ssh" / "backup-admin.pub").read_text().split()
    config["lastcopy:intermediate"]["ec2"]["adminPublicKey"] = " ".join(public[:2])
    config["lastcopy:sources"][0]["host"]["hostKey"] = SAMPLE_KEY
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def test_the_roles_are_as_written_and_the_session_is_the_deploying_roles(
    reader: Reader, account: Moto
) -> None:
    iam = account.client("iam")
    deploy = iam.get_role(RoleName="deploy")["Role"]["AssumeRolePolicyDocument"]
    assert deploy["Statement"][0]["Condition"] == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    assert iam.list_role_policies(RoleName="break-glass")["PolicyNames"] == ["deploy", "objects"]
    asked = reader.shell.run("aws sts get-caller-identity --query Arn --output text").ok().out
    assert ":assumed-role/deploy/" in asked, "`toolchain env`, which comes after it, must not take it away"


def test_the_state_is_in_the_bucket_and_its_secrets_under_the_key(reader: Reader, account: Moto) -> None:
    keys = [one["Key"] for one in account.client("s3").list_objects_v2(Bucket=STATE)["Contents"]]
    assert ".pulumi/stacks/lastcopy/prod.json" in keys
    file = (reader.shell.checkout / "stacks" / "Pulumi.prod.yaml").read_text()
    assert f"secretsprovider: awskms://alias/lastcopy-state?region={REGION}" in file
    assert not (reader.shell.checkout / ".local" / "state").exists()
    assert not (reader.shell.checkout / ".local" / "passphrase").exists()


def test_the_estimate_and_the_preview_say_what_the_document_shows(reader: Reader) -> None:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", DOC.read_text(), re.DOTALL | re.MULTILINE)
    estimate, preview = (text for language, text in fenced if not language)
    cost = reader.said(".venv/bin/python -m ops cost")
    for line in estimate.splitlines():
        if "…" not in line:
            assert line.strip() in cost, line
    said = reader.said("pulumi preview --policy-pack policy")
    for line in preview.splitlines():
        if line.startswith(" +"):
            assert " ".join(line.split()[1:3]) in said, line
    (count,) = re.findall(r"\+ (\d+) to create", preview)
    assert f"+ {count} to create" in said


def test_a_verb_reads_outputs_whose_secrets_are_under_the_key(reader: Reader, tmp_path: Path) -> None:
    """The state of another backend brought here: what is secret in it is encrypted by KMS, and the verb opens it in this shell alone."""
    password = "a-password-of-the-stack-0123"
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": json.dumps(password)}  # fmt: skip
    outputs = {
        "vault": {"endpoint": "https://s3.example.com", "region": REGION, "bucket": "example-backups", "prefix": "", "provider": "AWS"},
        "relay": {"address": "127.0.0.1", "port": 2222, "user": "admin", "hostKey": SAMPLE_KEY, "jumpHost": None},
        "sources": {"web1": {"managed": True, "generation": 1, "hostKey": SAMPLE_KEY}},
        "passwords": {"web1": secret},
    }  # fmt: skip
    urn = "urn:pulumi:prod::lastcopy::pulumi:pulumi:Stack::lastcopy-prod"
    resource = {"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack", "outputs": outputs}
    shell = reader.shell
    state = json.loads(shell.run("pulumi stack export").ok().out)
    state["deployment"]["resources"] = [resource]
    shell.run("pulumi stack import", stdin=json.dumps(state)).ok()
    stored = shell.run(f"aws s3 cp s3://{STATE}/.pulumi/stacks/lastcopy/prod.json -").ok().out
    assert password not in stored
    identity, recipient = new_identity()
    key = tmp_path / "identity"
    key.touch(0o600)
    key.write_text(f"{identity}\n")
    verb = f".venv/bin/python -m ops kit write --stack prod --recipient {recipient} --out {tmp_path}"
    shell.run(f"{verb}/kit").ok()
    shown = shell.run(f".venv/bin/python -m ops kit show --secrets --kit {tmp_path}/kit --identity {key}")
    assert json.loads(shown.ok().out)["sources"][0]["password"] == password
    # Without the session nobody reads it, and it is said.
    bare = "env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_SESSION_TOKEN HOME=/nonexistent"
    refused = shell.run(f"{bare} {verb}/other")
    assert (refused.code, "error:" in refused.out) == (1, True)
    assert not (tmp_path / "other").exists()
