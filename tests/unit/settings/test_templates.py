"""The templates match the code: the example has every key with a comment, and Pulumi.yaml declares the same keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from components.settings import (
    Alarms,
    AwsAccount,
    AwsBucket,
    Ec2Vm,
    Person,
    Settings,
    SettingsError,
    UnmanagedSource,
    list_warnings,
    parse_settings,
)
from components.settings.admin import Admin
from components.settings.explain import KEYS
from components.settings.hosts import SandboxSettings, SandboxSource, SandboxVm
from components.settings.reference import Key
from components.settings.storage import RcloneRemoteSection, SandboxVault
from tests.unit.settings.support import KEYS as WORDS
from tests.unit.settings.support import certificate, private_key, public_key, refused
from toolchain.checkout import ROOT

TEMPLATES = ROOT / "stacks" / "templates"
SECRETS = {
    "password": "a-Good-Repository-Password",
    "secretAccessKey": "a-good-secret-access-key-{}",
    "section": "type = b2\naccount = 12",
    "privateKey": private_key(),
    "totpSecret": WORDS["TOTP-SECRET"],
}


def config(text: str) -> dict[str, Any]:
    """The file's settings as the engine would hand them over, its placeholders filled."""
    count = iter(range(100))
    text = re.sub(
        r"(sk-ssh-ed25519@openssh\.com|ssh-ed25519) AAAA…", lambda m: public_key(str(next(count)), m[1]), text
    )

    def filled(value: Any, key: str = "") -> Any:
        if isinstance(value, Mapping):
            if set(value) == {"secure"}:
                return SECRETS[key].format(next(count))
            return {name: filled(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return certificate() if isinstance(value, str) and value.startswith("-----BEGIN CERT") else value

    found: dict[str, Any] = filled(yaml.safe_load(text)["config"])
    return {key.removeprefix("lastcopy:"): value for key, value in found.items()}


def template(name: str) -> str:
    return (TEMPLATES / f"{name}.yaml").read_text()


def with_alternatives(text: str) -> str:
    return text.replace("#or: ", "")


def paths(keys: Mapping[str, Key], above: str = "") -> Iterator[str]:
    for name, key in keys.items():
        yield f"{above}{name}"
        yield from paths(key.children, f"{above}{name}.")


def written(value: Any, above: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield f"{above}{name}"
            yield from written(item, f"{above}{name}.")
    elif isinstance(value, list):
        for item in value:
            yield from written(item, above)


def test_example_is_a_valid_stack_file() -> None:
    assert parse_settings(config(template("example")), stack_file="example").environment == "prod"


def test_example_has_every_key_and_no_other() -> None:
    assert set(written(config(with_alternatives(template("example"))))) == set(paths(KEYS))


def test_a_key_that_is_missing_from_the_example_is_noticed() -> None:
    shortened = "\n".join(line for line in template("example").splitlines() if "readConcurrency" not in line)
    assert set(paths(KEYS)) - set(written(config(with_alternatives(shortened)))) == {
        "sources.restic.readConcurrency"
    }


def test_every_key_of_the_example_has_a_comment() -> None:
    lines = with_alternatives(template("example")).splitlines()
    keys = [line for line in lines if re.match(r"\s*(- )?[A-Za-z:]+:( |$)", line)]
    assert len(keys) > 50
    assert not [
        line for line in keys if " # " not in line and line.split(":")[0].strip() not in ("config", "secure")
    ]


def test_the_examples_alternatives_are_valid_too() -> None:
    full = config(with_alternatives(template("example")))
    for way in ("privateKey", "agent"):
        Admin.model_validate({way: full["admin"][way]})
    Person.model_validate(full["admin"]["people"][0])
    RcloneRemoteSection.model_validate(full["storage"]["rclone"])
    SandboxVault.model_validate(full["storage"]["sandbox"])
    vault, machine = full["storage"]["aws"], full["intermediate"]["ec2"]
    AwsAccount.model_validate(full["aws"])
    AwsBucket.model_validate({**vault, "alarms": {"email": vault["alarms"].pop("email")}})
    AwsBucket.model_validate(vault)
    narrow = {key: value for key, value in machine.items() if key != "openToAllBecause"}
    Ec2Vm.model_validate({key: value for key, value in narrow.items() if key != "network"})
    Ec2Vm.model_validate({key: value for key, value in narrow.items() if key != "subnet"})
    SandboxVm.model_validate(full["intermediate"]["sandbox"])
    SandboxSettings.model_validate(full["sandbox"])
    SandboxSource.model_validate(full["sources"][0]["sandbox"])
    UnmanagedSource.model_validate({"publicKey": full["sources"][0]["publicKey"]})


def test_the_examples_stated_defaults_are_the_defaults() -> None:
    settings = parse_settings(config(template("example")), stack_file="example")
    source = settings.sources[0]
    assert source.limits.model_copy(update={"upload_gib_per_day": None}) == type(source.limits)()
    assert source.restic == type(source.restic)()
    defaults = {name: field.default for name, field in type(source).model_fields.items()}
    for name in ("schedule", "randomized_delay", "generation", "cut_off"):
        assert getattr(source, name) == defaults[name]


def test_the_stated_defaults_of_parts_on_aws_are_the_defaults() -> None:
    full = config(with_alternatives(template("example")))
    vault, machine, alarms = (
        full["storage"]["aws"],
        full["intermediate"]["ec2"],
        full["storage"]["aws"]["alarms"],
    )
    least = AwsBucket.model_validate({key: vault[key] for key in ("bucket", "breakGlass")})
    lock = vault["lock"]
    assert (lock["mode"], lock["days"], lock["maximumDays"]) == (
        least.lock.mode,
        least.lock.days,
        least.lock.cap(),
    )
    assert (vault["origin"], vault["purpose"]) == (least.origin, least.purpose)
    told = Alarms.model_validate({"email": alarms["email"]})
    assert alarms["growthGiBPerDay"] == told.growth_gib_per_day
    source = parse_settings(config(template("example")), stack_file="example").sources[0]
    assert alarms["silentHours"] == source.model_copy(update={"silent_after_hours": None}).silent_hours == 28
    needed = ("adminPublicKey", "adminsFrom", "sourcesFrom")
    made = Ec2Vm.model_validate({key: machine[key] for key in needed})
    stated = (machine["instanceType"], machine["diskGiB"], machine["network"], machine["door"])
    assert stated == (made.instance_type, made.disk_gib, made.network, made.door)


def test_the_local_template_is_ready_to_run() -> None:
    settings = parse_settings(config(template("local")), stack_file="local")
    assert isinstance(settings.intermediate, SandboxVm)
    assert isinstance(settings.storage, SandboxVault)
    assert [source.name for source in settings.sources] == ["web1", "db1"]
    assert settings.protect is False
    assert list_warnings(settings) == ()


@pytest.mark.parametrize("name", ["prod", "test"])
def test_templates_for_own_hosts_lack_only_what_the_operator_must_fill_in(name: str) -> None:
    raw = yaml.safe_load(template(name))["config"]
    error = refused({key.removeprefix("lastcopy:"): value for key, value in raw.items()})
    assert [problem.where.split("lastcopy:")[1] for problem in error.problems] == [
        "intermediate.existing.hostKey",
        "sources[0].host.hostKey",
        "sources[0].identity.secretAccessKey",
    ]
    filled = config(template(name))
    filled["sources"][0]["identity"]["secretAccessKey"] = "a-good-secret-access-key"
    settings = parse_settings(filled, stack_file=name)
    assert settings.environment == name
    assert settings.protect is (name == "prod")
    assert (list_warnings(settings) == ()) is (name == "prod")


@pytest.mark.parametrize(("name", "environment"), [("aws-prod", "prod"), ("aws-test", "test")])
def test_templates_for_aws_lack_only_what_the_operator_must_fill_in(name: str, environment: str) -> None:
    raw = yaml.safe_load(template(name))["config"]
    error = refused({key.removeprefix("lastcopy:"): value for key, value in raw.items()})
    assert [problem.where.split("lastcopy:")[1] for problem in error.problems] == [
        "intermediate.ec2.adminPublicKey",
        "sources[0].host.hostKey",
    ]
    settings = parse_settings(config(template(name)), stack_file=name)
    assert settings.environment == environment
    assert settings.protect is (environment == "prod")
    assert list_warnings(settings) == ()
    assert isinstance(settings.storage, AwsBucket)
    assert settings.storage.purpose == {"prod": "production", "test": "test"}[environment]


def test_pulumi_yaml_declares_every_key_with_type_default_and_description() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    declared = {key.removeprefix("lastcopy:"): value for key, value in project["config"].items()}
    assert list(declared) == list(KEYS)
    assert (project["name"], project["stackConfigDir"]) == ("lastcopy", "stacks")
    types = {"str": "string", "bool": "boolean", "tuple": "array"}
    for name, field in Settings.model_fields.items():
        annotation = getattr(field.annotation, "__name__", "object")
        assert declared[name]["type"] == types.get(annotation, "object"), name
        assert declared[name]["description"]
        assert declared[name]["default"] == (
            True if name == "protect" else {"string": "", "array": [], "object": {}}[declared[name]["type"]]
        )


def test_the_declared_defaults_of_required_keys_are_refused_with_a_fix() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(
            {"protect": True, "admin": {}, "intermediate": {}, "storage": {}, "sandbox": {}, "sources": []},
            stack_file="x",
        )
    told = [problem.where.split("lastcopy:")[1] for problem in caught.value.problems]
    assert told == ["environment", "intermediate", "storage", "sources"]


def test_no_field_lacks_a_description() -> None:
    def undescribed(keys: Mapping[str, Key], above: str = "") -> Iterator[str]:
        for name, key in keys.items():
            if not key.description:
                yield f"{above}{name}"
            yield from undescribed(key.children, f"{above}{name}.")

    assert not list(undescribed(KEYS))
