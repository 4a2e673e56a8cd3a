"""A stack on AWS: typed settings with safe defaults, its warnings, and that mistakes do not hide one another."""

from __future__ import annotations

import pytest

from components.settings import AwsBucket, Ec2Vm, list_warnings
from components.settings.ssh_keys import read_public_half
from tests.unit.settings.bad_aws import AWS, TEST
from tests.unit.settings.support import KEYS, good, locked_private_key, private_key, refused, stack


def machine(fragment: str = "{}") -> Ec2Vm:
    relay = good(f"{{intermediate: {{ec2: {fragment}}}}}", AWS).intermediate
    assert isinstance(relay, Ec2Vm)
    return relay


def bucket(fragment: str = "{}", base: str = AWS) -> AwsBucket:
    storage = good(f"{{storage: {{aws: {fragment}}}}}", base).storage
    assert isinstance(storage, AwsBucket)
    return storage


def test_a_minimal_stack_on_aws_is_safe() -> None:
    settings = good(base=AWS)
    vault, relay = settings.storage, settings.intermediate
    assert isinstance(vault, AwsBucket)
    assert isinstance(relay, Ec2Vm)
    assert (vault.purpose, vault.origin, vault.alarms) == ("production", "new", None)
    assert (vault.lock.mode, vault.lock.days, vault.lock.cap()) == ("COMPLIANCE", 30, 60)
    assert (relay.door, relay.network, relay.subnet, relay.ami) == ("ssh", "10.77.0.0/24", None, None)
    assert relay.admin_public_key == KEYS["ADMIN-KEY"]
    assert [source.identity_generation for source in settings.sources] == [1, 1]
    assert list_warnings(settings) == ()
    assert list_warnings(good(base=TEST)) == ()


def test_the_cap_on_locks_is_never_above_what_s3_accepts() -> None:
    assert bucket("{lock: {days: 36500}}").lock.cap() == 36500
    assert bucket("{lock: {days: 30, maximumDays: 30}}").lock.cap() == 30


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("t4g.small", "arm64"), ("a1.medium", "arm64"), ("m7gd.large", "arm64"), ("im4gn.large", "arm64"), ("c7gn.large", "arm64"),
        ("r8g.medium", "arm64"), ("g5g.xlarge", "arm64"), ("x2gd.medium", "arm64"),
        ("t3.small", "amd64"), ("t3a.small", "amd64"), ("m7i-flex.large", "amd64"), ("g4dn.xlarge", "amd64"), ("g6.xlarge", "amd64"),
    ],
)  # fmt: skip
def test_the_instance_family_determines_the_architecture(kind: str, architecture: str) -> None:
    assert machine(f"{{instanceType: {kind}}}").architecture() == architecture


def test_addresses_become_networks_in_one_form() -> None:
    relay = machine(
        "{adminsFrom: [203.0.113.7, 10.0.0.0/8], sourcesFrom: [0.0.0.0/0], openToAllBecause: sources roam the world}"
    )
    assert relay.admins_from == ("203.0.113.7/32", "10.0.0.0/8")
    assert relay.sources_from == ("0.0.0.0/0",)


def test_ssm_in_place_of_port_22_works_with_a_second_factor() -> None:
    people = "{secondFactor: fido2, people: [{name: alice, publicKeys: [SECURITY-KEY]}]}"
    settings = good(f"{{admin: {people}, intermediate: {{ec2: {{door: ssm, adminsFrom: REMOVED}}}}}}", AWS)
    assert isinstance(settings.intermediate, Ec2Vm)
    assert settings.intermediate.admins_from == ()


def test_an_existing_subnet_replaces_the_network() -> None:
    relay = machine("{subnet: subnet-0123456789abcdef0}")
    assert (relay.network, relay.subnet) == (None, "subnet-0123456789abcdef0")


def test_an_account_number_may_be_a_number_as_pulumi_config_writes_it() -> None:
    settings = good("{aws: {account: 123456789012}}", AWS)
    assert settings.aws is not None
    assert settings.aws.account == "123456789012"


@pytest.mark.parametrize(
    "storage",
    [
        "{aws: REMOVED, s3: {endpoint: 'https://s3.example.com', region: us-east-1, bucket: b-1,"
        " identity: {accessKeyId: SHARED, secretAccessKey: shared-secret}}}",
        "{aws: REMOVED, rclone: {section: 'type = b2', path: b, egress: ['api.example.com:443'], withoutObjectLock: accepted}}",
    ],
    ids=["s3", "rclone"],
)
def test_the_machine_works_with_storage_elsewhere(storage: str) -> None:
    assert isinstance(good(f"{{storage: {storage}}}", AWS).intermediate, Ec2Vm)


def test_an_identity_made_elsewhere_can_be_used_beside_new_ones() -> None:
    own = "{identity: {accessKeyId: EXAMPLE-WEB1, secretAccessKey: kW8-web1-secret-access-key}}"
    settings = good(f"{{sources: [{own}]}}", AWS)
    assert [source.identity is None for source in settings.sources] == [False, True]


@pytest.mark.parametrize(
    ("fragment", "base", "words"),
    [
        ("{storage: {aws: {lock: {mode: GOVERNANCE}}}}", AWS, "GOVERNANCE lock"),
        ("{storage: {aws: {lock: {days: 6}}}}", AWS, "Lock of 6 day"),
        ("{storage: {aws: {storageClasses: [{afterDays: 0, class: GLACIER_IR}]}}}", AWS, "bills 90 days at least"),
        ("{aws: {assumeRole: 'arn:aws:iam::123456789012:role/break-glass'}}", AWS, "The break-glass role deploys"),
        ("{aws: {assumeRole: 'arn:aws:iam::123456789012:role/deploy'}}", TEST, "`pulumi destroy` will be refused"),
        ("{environment: staging}", TEST, "deletes the bucket with every backup"),
        ("{storage: {aws: {alarms: {email: a@example.com, silentHours: 100}}}, sources: [{schedule: weekly}]}", AWS, "100, less than the schedule of web1"),
        ("{storage: {aws: {alarms: {email: a@example.com}}}, sources: [{schedule: monthly}]}", AWS, "silence of web1 is reported later"),
    ],
)  # fmt: skip
def test_what_weakens_a_vault_on_aws_causes_a_warning(fragment: str, base: str, words: str) -> None:
    assert [words in warning for warning in list_warnings(good(fragment, base))].count(True) == 1


@pytest.mark.parametrize("schedule", ["'*-*-* 04:00:00'", "weekly", "'*-*-1,15 04:00'"])
def test_silence_that_is_reported_in_time_causes_no_warning(schedule: str) -> None:
    alarms = "{storage: {aws: {alarms: {email: a@example.com}}}"
    assert list_warnings(good(f"{alarms}, sources: [{{schedule: {schedule}}}]}}", AWS)) == ()


def test_a_storage_class_move_that_pays_causes_no_warning() -> None:
    moves = "{storageClasses: [{afterDays: 30, class: STANDARD_IA}]}"
    assert list_warnings(good(f"{{storage: {{aws: {moves}}}}}", AWS)) == ()


def test_all_mistakes_of_a_stack_on_aws_are_reported_at_once() -> None:
    fragment = """
    admin: {user: debian}
    aws: {region: Frankfurt}
    intermediate: {ec2: {adminsFrom: [203.0.113.7/24], sourcesFrom: [0.0.0.0/0], network: 10.77.0.1/24}}
    storage: {aws: {breakGlass: "arn:aws:iam::210987654321:role/break-glass", lock: {maximumDays: 1}, purpose: test}}
    """
    told = [problem.where.split("lastcopy:")[1] for problem in refused(stack(fragment, AWS)).problems]
    assert sorted(told) == sorted([
        "protect", "admin.user", "aws.region", "intermediate.ec2.adminsFrom[0]", "intermediate.ec2.openToAllBecause",
        "intermediate.ec2.network", "storage.aws.breakGlass", "storage.aws.lock.maximumDays", "storage.aws.lock.mode",
        "storage.aws.lock.days",
    ])  # fmt: skip


def test_the_public_half_is_read_from_openssh_keys_only() -> None:
    assert read_public_half(private_key()) is not None
    for other in ("", "ssh-ed25519 AAAA", locked_private_key(), private_key().replace("OPENSSH ", "")):
        assert read_public_half(other) is None
