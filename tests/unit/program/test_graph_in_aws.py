"""The whole program under mocks with resources on AWS: which account, in what order, what a change touches, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.aws import aws_infrastructure
from components.settings import SettingsError
from components.vault.vault_access import S3Vault
from tests.unit import stacks
from tests.unit.recording import Graph, Secret
from tests.unit.settings.support import private_key, public_key
from tests.unit.stacks import CLOUD, CLOUD_WEB1, TRY, Shape, graph_of
from toolchain.checkout import ROOT

each_cloud = pytest.mark.parametrize("shape", [CLOUD, TRY], ids=["aws", "trial"])


def nothing_takes_whatever_credentials_are_there(_: Shape, graph: Graph) -> list[str]:
    """A5: other credentials in the environment have no effect."""
    made = [one for one in graph if one.type.startswith("aws:")]
    assert len(made) > 10
    assert graph.named("aws").inputs["allowedAccountIds"] == '["123456789012"]'
    return [one.name for one in made if one.provider != "aws"]


def nobody_writes_before_the_lock_and_the_policy_exist(shape: Shape, graph: Graph) -> list[str]:
    """R1 to R5: the vault is complete before any key reaches the relay, even a key that was made elsewhere."""
    late = []
    for source in shape.sources:
        wanted = {"vault-versioning", "vault-lock", "vault-private", "vault-encryption", "vault-policy"}
        if any(one.name == f"vault-identity-{source}" for one in graph):
            wanted.add(f"vault-identity-{source}-policy")
        for step in ("storage", "account"):
            name = f"{source}-enrolment-entry-{step}-command"
            late += [] if wanted <= stacks.before(graph, name) else [name]
    return late


Check = Callable[[Shape, Graph], list[str]]
CHECKS: tuple[Check, ...] = (
    nothing_takes_whatever_credentials_are_there,
    nobody_writes_before_the_lock_and_the_policy_exist,
)


@each_cloud
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_check_holds_on_aws(shape: Shape, check: Check) -> None:
    assert check(shape, graph_of(shape)) == []


@each_cloud
def test_credentials_that_aws_rejects_are_one_error_before_anything_exists(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[str] = []

    def refuse(**_: object) -> None:
        raise Exception(
            "invoke of aws:index/getCallerIdentity failed: No valid credential sources found\n  more"
        )

    monkeypatch.setattr(aws_infrastructure, "get_caller_identity", refuse)
    monkeypatch.setattr(aws_infrastructure, "LockedBucket", lambda name, *_: registered.append(name))
    with pytest.raises(pulumi.RunError, match="No valid credential sources found") as caught:
        stacks.run(shape.config())
    assert "sts get-caller-identity" in str(caught.value)
    assert "account 123456789012" in str(caught.value)
    assert registered == []


REAL_BUCKET = aws_infrastructure.LockedBucket


def _without_its_provider(name: str, args: Any, _: object) -> aws_infrastructure.LockedBucket:
    return REAL_BUCKET(name, args)


def _open_at_once(**given: Any) -> S3Vault:
    return S3Vault(**{**given, "ready": ()})


@pytest.mark.parametrize(
    ("check", "name", "careless"),
    [
        (nothing_takes_whatever_credentials_are_there, "LockedBucket", _without_its_provider),
        (nobody_writes_before_the_lock_and_the_policy_exist, "S3Vault", _open_at_once),
    ],
    ids=["the bucket is made with any credentials", "an adopted key does not wait for the vault"],
)
def test_a_careless_stack_is_noticed(
    monkeypatch: pytest.MonkeyPatch, check: Check, name: str, careless: object
) -> None:
    monkeypatch.setattr(aws_infrastructure, name, careless)
    assert check(TRY, stacks.run(TRY.config())) != []


def test_the_provider_gets_account_region_role_and_tags() -> None:
    told = graph_of(TRY).named("aws").inputs
    assert (told["region"], told["profile"]) == ("eu-central-1", "backup")
    assert json.loads(told["assumeRoles"]) == [{"roleArn": "arn:aws:iam::123456789012:role/break-glass"}]
    tags = {"lastcopy:project": "lastcopy", "lastcopy:stack": "unit", "lastcopy:environment": "test"}
    assert json.loads(told["defaultTags"]) == {"tags": tags}
    assert not {"profile", "assumeRoles", "accessKey", "secretKey"} & set(graph_of(CLOUD).named("aws").inputs)


# A local stack avoids the slow import.

_RUN = """
import sys
from tests.unit import stacks
for shape in (stacks.LOCAL_WEB1, stacks.OWN_WEB1, stacks.alone(stacks.TRY, "web1")):
    stacks.run(shape.config())
    print(shape.name, any(name.split(".")[0] == "pulumi_aws" for name in sys.modules))
"""


def test_only_a_stack_in_aws_loads_pulumi_aws() -> None:
    done = subprocess.run([sys.executable, "-c", _RUN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["local False", "s3 False", "trial True"]


# Rotation.


def test_a_new_identity_generation_renews_that_sources_key_and_passes_it_on() -> None:
    new = graph_of(CLOUD_WEB1, "{sources: [{identityGeneration: 2}]}")
    old = graph_of(CLOUD_WEB1)
    keys = {f"vault-identity-web1-key-g{number}" for number in (1, 2)}
    steps = {f"web1-enrolment-entry-{step}-command" for step in ("storage", "account")}
    # The storage step comes after the key, by its component; the step itself does not change.
    waits = "web1-enrolment-entry-storage"
    assert stacks.touched(old, new) == {"vault-identity-web1", *keys, *steps, waits}
    assert old.named(waits).inputs == new.named(waits).inputs
    # The engine deletes removed resources after everything else has succeeded, so the old key is kept until the new one is in use.
    assert "vault-identity-web1-key-g2" in stacks.before(new, "web1-enrolment-entry-account-command")
    assert "vault-identity-web1-key-g1" not in {one.name for one in new}


def test_keys_reach_only_the_relay_and_as_secrets() -> None:
    graph = graph_of(CLOUD)
    for step in ("storage", "account"):
        assert isinstance(graph.named(f"web1-enrolment-entry-{step}-command").inputs["stdin"], Secret)
    assert "accessKeyId" not in graph.exports["vault"]


def test_an_identity_that_was_made_elsewhere_is_used_as_it_is() -> None:
    graph = graph_of(TRY)
    assert not [one.name for one in graph if one.name.startswith("vault-identity-cut1")]
    assert graph.named("vault-identity-web1-user")


def test_a_new_key_is_given_time_to_become_valid() -> None:
    graph = graph_of(TRY)
    patience = {
        source: graph.named(f"{source}-enrolment-entry-storage").inputs["values"].get("PATIENCE")
        for source in TRY.sources
    }
    assert patience == {"web1": str(aws_infrastructure.SETTLES_SECONDS), "cut1": None}


# The relay's machine, and a bucket that exists already.


def test_another_machine_touches_neither_vault_nor_password_nor_identity() -> None:
    new = graph_of(CLOUD_WEB1, "{intermediate: {ec2: {generation: 2}}}")
    touched = stacks.touched(graph_of(CLOUD_WEB1), new)
    assert {"relay-machine-vm-g1", "relay-machine-vm-g2", "web1-enrolment-entry-account-command"} <= touched
    assert not [name for name in touched if name.startswith("vault") or name.endswith("-password")]
    assert "relay-machine-address" not in touched, "the sources use the same address"
    assert "relay-machine-host-key-command" in stacks.before(new, "web1-enrolment-client-command")


def test_behind_a_session_the_engine_uses_the_tunnel_and_the_sources_the_machine() -> None:
    graph = graph_of(CLOUD_WEB1, "{intermediate: {ec2: {door: ssm, adminsFrom: REMOVED}}}")
    connection = graph.named("relay-sshd-config-command").inputs["connection"]
    connection = connection.value if isinstance(connection, Secret) else connection
    assert (connection["host"], connection["port"]) == ("127.0.0.1", 2222)
    relay = graph.exports["relay"]
    assert (relay["address"], relay["port"]) == ("127.0.0.1", 2222), "the attack drill uses it, too"
    told = graph.named("web1-enrolment-client").inputs["values"]["SSH_CONFIG"]
    assert "HostName 203.0.113.50\n" in told
    assert "Port 22\n" in told
    assert "tcp dport 22 accept" in graph.named("relay-firewall-rules").inputs["values"]["RULES"]


def test_an_existing_bucket_is_adopted_and_kept() -> None:
    graph = graph_of(CLOUD_WEB1, "{storage: {aws: {origin: adopted}}}")
    assert graph.imports == {"vault-bucket": "example-backups-prod"}
    assert graph.named("vault-bucket").retain_on_delete
    assert graph_of(CLOUD_WEB1).imports == {}


# Another vault in place of the last one.

OTHERS = {
    "bucket": ("{storage: {aws: {bucket: another-bucket}}}", "storage.aws.bucket", "example-backups-prod"),
    "region": ("{aws: {region: eu-west-1}}", "aws.region", "eu-central-1"),
    "purpose": (
        "{protect: false, storage: {aws: {purpose: test, lock: {mode: GOVERNANCE, days: 7}}}}",
        "storage.aws.purpose", "production",
    ),
}  # fmt: skip


def last(shape: Shape) -> dict[str, Any]:
    """What the state has after a run of this stack."""
    return {"vault": graph_of(shape).exports["vault"]}


@pytest.mark.parametrize("what", OTHERS)
def test_another_vault_than_that_of_the_last_run_is_refused_before_anything_is_made(what: str) -> None:
    change, where, before = OTHERS[what]
    with pytest.raises(SettingsError) as caught:
        stacks.run(CLOUD.config(change), last(CLOUD))
    (problem,) = caught.value.problems
    assert problem.where == f"stacks/Pulumi.unit.yaml: lastcopy:{where}"
    assert before in problem.what
    assert f"{before} --stack unit" in problem.fix
    assert "nothing was changed" in str(caught.value)


def test_another_account_is_refused_as_well() -> None:
    change = (
        '{aws: {account: "210987654321"},'
        " storage: {aws: {breakGlass: 'arn:aws:iam::210987654321:role/break-glass'}}}"
    )
    with pytest.raises(SettingsError, match=r'account "123456789012"'):
        stacks.run(CLOUD.config(change), last(CLOUD))


def test_the_same_vault_and_a_first_run_are_accepted() -> None:
    again = stacks.run(CLOUD_WEB1.config(), last(CLOUD_WEB1))
    assert stacks.touched(graph_of(CLOUD_WEB1), again) == set()
    assert graph_of(CLOUD_WEB1).exports["vault"]["purpose"] == "production"


def test_a_test_vault_may_be_replaced() -> None:
    moved = stacks.run(TRY.config("{storage: {aws: {bucket: another-bucket}}}"), last(TRY))
    assert moved.exports["vault"]["bucket"] == "another-bucket"


# The engine's key and the machine's are one pair.


def test_a_machine_that_nobody_could_log_in_to_is_refused() -> None:
    config = CLOUD.config()
    config["intermediate"]["ec2"]["adminPublicKey"] = public_key("another")
    with pytest.raises(SettingsError, match="nobody could log in to the machine") as caught:
        stacks.run(config)
    assert private_key() not in str(caught.value)
    assert "adminPublicKey' 'ssh-ed25519 AAAA" in caught.value.problems[0].fix
