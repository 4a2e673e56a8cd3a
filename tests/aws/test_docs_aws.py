"""Runs docs/aws.md, "In short" and chapters 2 to 4, exactly as written: two roles, state in S3 under a KMS key, cost, preview with the
policy pack; then an operator's verb on that state. Machines come with chapter 5 and the trial: test_stack.py.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from pyrage import x25519

from tests.aws.document import ADVISED, AWS, COST, IN_SHORT, PREVIEW, advice, not_run
from tests.aws.reader import REGION, STATE_BUCKET, Reader
from tests.aws.world import DOCS_REGION, Moto
from tests.unit.recording import SAMPLE_KEY
from toolchain.checkout import ROOT

DOC = ROOT / AWS


def test_the_documented_roles_work_and_the_session_belongs_to_the_deploying_role(
    reader: Reader, account: Moto
) -> None:
    iam = account.client("iam")
    deploy = iam.get_role(RoleName="deploy")["Role"]["AssumeRolePolicyDocument"]
    assert deploy["Statement"][0]["Condition"] == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    assert iam.list_role_policies(RoleName="break-glass")["PolicyNames"] == ["deploy", "objects"]
    asked = reader.shell.run("aws sts get-caller-identity --query Arn --output text").ok().out
    assert ":assumed-role/deploy/" in asked, "`toolchain env`, which comes after it, must not remove it"


def test_the_state_is_in_the_bucket_and_its_secrets_are_encrypted_by_the_key(
    reader: Reader, account: Moto
) -> None:
    keys = [one["Key"] for one in account.client("s3").list_objects_v2(Bucket=STATE_BUCKET)["Contents"]]
    assert ".pulumi/stacks/lastcopy/prod.json" in keys
    file = (reader.shell.checkout / "stacks" / "Pulumi.prod.yaml").read_text()
    assert f"secretsprovider: awskms://alias/lastcopy-state?region={REGION}" in file
    assert not (reader.shell.checkout / ".local" / "state").exists()
    assert not (reader.shell.checkout / ".local" / "passphrase").exists()


def test_the_estimate_and_the_preview_match_the_document(reader: Reader) -> None:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", DOC.read_text(), re.DOTALL | re.MULTILINE)
    estimate, preview = (text for language, text in fenced if not language)
    cost = reader.said(COST, "lastcopy cost")
    for line in estimate.splitlines():
        if "…" not in line:
            assert line.strip() in cost, line
    said = reader.said(PREVIEW, "pulumi preview --policy-pack policy")
    for line in preview.splitlines():
        if line.startswith(" +"):
            assert " ".join(line.split()[1:3]) in said, line
    (count,) = re.findall(r"\+ (\d+) to create", preview)
    assert f"+ {count} to create" in said
    # The short form gives the same result.
    assert reader.said(IN_SHORT, "lastcopy cost") == cost
    assert f"+ {count} to create" in reader.said(IN_SHORT, "pulumi preview --policy-pack policy")


def test_a_verb_reads_outputs_whose_secrets_are_encrypted_by_the_key(reader: Reader, tmp_path: Path) -> None:
    """The state is moved here from another backend: KMS encrypts its secrets, and only this shell's session lets the verb read them."""
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
    state = json.loads(shell.run("pulumi stack export --stack prod").ok().out)
    state["deployment"]["resources"] = [resource]
    shell.run("pulumi stack import --stack prod", stdin=json.dumps(state)).ok()
    stored = shell.run(f"aws s3 cp s3://{STATE_BUCKET}/.pulumi/stacks/lastcopy/prod.json -").ok().out
    assert password not in stored
    identity = x25519.Identity.generate()
    key = tmp_path / "identity"
    key.touch(0o600)
    key.write_text(f"{identity}\n")
    verb = f"lastcopy kit write --stack prod --recipient {identity.to_public()} --out {tmp_path}"
    shell.run(f"{verb}/kit").ok()
    shown = shell.run(f"lastcopy kit show --secrets --kit {tmp_path}/kit --identity {key}")
    assert json.loads(shown.ok().out)["sources"][0]["password"] == password
    # Without the session nobody can read it, and the error says so.
    bare = "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN; export HOME=/nonexistent"
    refused = shell.run(f"( {bare}; {verb}/other )")
    assert (refused.code, "error:" in refused.err) == (1, True)
    assert not (tmp_path / "other").exists()


def test_the_commands_in_the_table_of_errors_work(reader: Reader) -> None:
    """The commands of the table of errors, except those of the chapters, run by AWS's own command, which checks their syntax."""
    asked = [one for one in advice(DOC.read_text()) if one.startswith("aws ") and not not_run(one)]
    assert len(asked) >= 3
    for command in asked:
        assert command.startswith(ADVISED), command
        said = reader.shell.run(
            f"AWS_DEFAULT_REGION={DOCS_REGION} {command.replace('TYPE', 't4g.small')}"
        ).ok()
        json.loads(said.out)
