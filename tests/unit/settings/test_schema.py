"""The JSON Schema of stack files: up to date, valid, named by every template, and in agreement with the program about single values."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest
import yaml

from components.settings.explain import KEYS
from components.settings.reference import Key
from docs import generate
from tests.unit.settings import bad, bad_aws, bad_sources
from tests.unit.settings.support import GOOD, SANDBOX, private_key, stack
from toolchain.checkout import ROOT

FILE = ROOT / "stacks" / "schema.json"
TEMPLATES = sorted((ROOT / "stacks" / "templates").glob("*.yaml"))
SCHEMA: dict[str, Any] = json.loads(FILE.read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
BASES = {"s3": GOOD, "sandbox": SANDBOX, "rclone": bad.RCLONE, "aws": bad_aws.AWS, "test": bad_aws.TEST}
CIPHER = {"secure": "v1:nonce:cipher"}


def as_file(raw: Mapping[str, Any], prefix: str = "lastcopy:") -> dict[str, Any]:
    """The stack file that the engine would read these values from, its secrets encrypted."""
    return {"config": {f"{prefix}{key}": value for key, value in encrypted(raw, KEYS).items()}}


def encrypted(raw: Any, keys: Mapping[str, Key]) -> Any:
    if isinstance(raw, list):
        return [encrypted(item, keys) for item in raw]
    if not isinstance(raw, dict):
        return raw
    return {
        name: CIPHER
        if name in keys and keys[name].secret
        else encrypted(value, keys[name].children if name in keys else {})
        for name, value in raw.items()
    }


def refusals(file: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(file)]


def test_it_is_as_the_models_have_it() -> None:
    assert FILE.read_text() == generate.schema(), "run: .venv/bin/python -m docs.generate"


def test_it_is_a_valid_schema() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.stem)
def test_a_copied_template_names_it_in_its_first_line(template: Any) -> None:
    first = template.read_text().splitlines()[0]
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert found is not None
    copied = ROOT / yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["stackConfigDir"] / "Pulumi.prod.yaml"
    assert (copied.parent / found[1]).resolve() == FILE


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.stem)
def test_every_template_is_valid(template: Any) -> None:
    assert refusals(yaml.safe_load(template.read_text())) == []


@pytest.mark.parametrize("base", BASES)
def test_every_good_stack_is_valid_under_both_names_of_a_key(base: str) -> None:
    raw = stack(base=BASES[base])
    assert refusals(as_file(raw)) == []
    assert refusals(as_file(raw, prefix="")) == []
    whole = {**as_file(raw)["config"], "lastcopy:sources": CIPHER, "aws:region": "eu-central-1"}
    assert refusals({"config": whole, "encryptionsalt": "v1:x"}) == []


# Fragments of good stacks that use what the bases do not.
MORE = {
    "tunnel": ("{intermediate: {existing: {address: 127.0.0.1, port: 2222, sshPort: 22, sourcesReachItAt: '[2001:db8::5]:22'}}}", GOOD),
    "jump hosts": (
        "{admin: {jumpHost: {address: jump.example.com, hostKey: ADMIN-KEY}}, sources: [{host: {jumpHost: none}},"
        " {host: {jumpHost: {address: a.example.com, hostKey: SOURCE-KEY, user: bob@example.com}}}]}", GOOD,
    ),
    "people": ("{admin: {people: [{name: al, publicKeys: [SECURITY-KEY al, OLD-SECURITY-KEY, ADMIN-KEY b]}], agentKeys: []}}", GOOD),
    "unmanaged": ("{sources: [{host: REMOVED, publicKey: '  SOURCE-KEY root@cut1'}]}", GOOD),
    "bucket": ("{storage: {s3: {prefix: a/b/, acceptedLosses: [R4, S5], lock: {minimumDays: 1}, provider: Ceph}}}", GOOD),
    "source": (
        "{sources: [{from: [10.0.0.1, '2001:db8::/64'], paths: ['/srv/my files', /], exclude: ['$RECYCLE.BIN', '*.tmp'],"
        " excludeLargerThan: 4G, preHook: /bin/x, rate: {hours: [{from: '08:00', to: '18:00', uploadKiBps: 99}]}}]}", GOOD,
    ),
    "machine": ("{intermediate: {ec2: {door: ssm, adminsFrom: REMOVED, subnet: subnet-0123456789abcdef0, ami: ami-01234567}}}", bad_aws.AWS),
    "account as a number": ("{aws: {account: 123456789012, profile: backup}}", bad_aws.AWS),
    "vault": (
        "{storage: {aws: {alarms: {topic: 'arn:aws:sns:eu-central-1:123456789012:ops'}, storageClasses: [{afterDays: 30, class: STANDARD_IA}],"
        " lock: {maximumDays: 60}}}}", bad_aws.AWS,
    ),
    "sandbox": ("{sandbox: {network: 10.1.0.0/24, driver: nspawn}, sources: [{sandbox: {debian: 12}}]}", SANDBOX),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_the_schema_accepts_what_the_program_accepts(name: str) -> None:
    from tests.unit.settings.support import parse

    raw = stack(*MORE[name])
    parse(raw)
    assert refusals(as_file(raw)) == []


# What one value, or the keys of one map, can say. Each is a case of bad*.py, so that the program refuses it, too.
REFUSED = {
    "type": ('{protect: "yes"}', "{sources: web1}", "{intermediate: {existing: {port: '22'}}}", "{sources: [{paths: /srv}]}"),
    "missing": ("{environment: REMOVED}", "{sources: [{paths: REMOVED}]}", "{intermediate: {existing: {hostKey: REMOVED}}}"),
    "enum": ("{admin: {secondFactor: sms}}", "{storage: {s3: {provider: minio}}}", "{storage: {s3: {lock: {mode: compliance}}}}"),
    "pattern": ("{environment: Prod}", "{sources: [{name: Web_1}]}", "{sources: [{paths: [srv]}]}", "{storage: {s3: {bucket: My_Bucket}}}"),
    "limit": ("{sources: [{limits: {sessions: 0}}]}", "{intermediate: {existing: {port: 70000}}}", "{sources: []}"),
    "unknown key": ("{proetct: false}", "{sources: [{path: [/x]}]}", "{sources: [{host: {hostkey: x}}]}", "{storage: {gcs: {}, s3: REMOVED}}"),
    "two of a union": ("{intermediate: {sandbox: {}}}", "{sources: [{publicKey: SOURCE-KEY}]}"),
    "none of a union": ("{storage: {s3: REMOVED}}", "{sources: [{host: REMOVED}]}"),
}  # fmt: skip
CASES = {
    one.yaml
    for one in (*bad.TOP, *bad.ADMIN, *bad.RELAY, *bad.STORAGE, *bad_sources.SOURCE, *bad_sources.TOGETHER)
}


@pytest.mark.parametrize(
    ("kind", "fragment"), [(kind, one) for kind, every in REFUSED.items() for one in every]
)
def test_the_schema_refuses_invalid_single_values(kind: str, fragment: str) -> None:
    assert fragment in CASES, f"{kind}: not a case that the program is known to refuse"
    assert refusals(as_file(stack(fragment))) != []


def test_a_plain_secret_is_refused() -> None:
    file = as_file(stack())
    assert refusals(file) == []
    file["config"]["lastcopy:sources"][0]["identity"]["secretAccessKey"] = "kW8-web1-secret-access-key"
    assert refusals(file) != []


def leaves(schema: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Every part of the schema that has examples, with one of them each."""
    if isinstance(schema, dict):
        for example in schema["examples"] if isinstance(schema.get("examples"), list) else ():
            yield schema, example
        for part in schema.values():
            yield from leaves(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from leaves(part)


def test_its_examples_are_valid_and_contain_no_secret() -> None:
    found = list(leaves(SCHEMA))
    assert len(found) > 40
    for schema, example in found:
        whole = {"$defs": SCHEMA["$defs"], **schema}
        jsonschema.Draft202012Validator(whole).validate(example)
    text = FILE.read_text()
    assert "PRIVATE KEY" not in text
    assert private_key() not in text


def undescribed(keys: Mapping[str, Key], schema: Any, above: str) -> Iterator[str]:
    """Keys that an editor would not know, or know without words."""
    for name, key in keys.items():
        part = resolved(schema)["properties"].get(name, {}) if "properties" in resolved(schema) else {}
        if not part.get("description"):
            yield f"{above}{name}"
        elif key.children:
            yield from undescribed(key.children, part, f"{above}{name}.")


def resolved(schema: Any) -> Any:
    for way in ("anyOf", "oneOf"):
        if way in schema and "properties" not in schema:
            schema = schema[way][0]
    schema = schema.get("items", schema)
    return SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def test_every_key_is_in_it_with_its_description(monkeypatch: pytest.MonkeyPatch) -> None:
    config = copy.deepcopy(SCHEMA["properties"]["config"])
    config["properties"] = {
        name.removeprefix("lastcopy:"): part for name, part in config["properties"].items() if ":" in name
    }
    assert set(config["properties"]) == set(KEYS)
    assert list(undescribed(KEYS, config, "")) == []
    monkeypatch.delitem(SCHEMA["$defs"]["Restic"]["properties"], "connections")
    assert list(undescribed(KEYS, config, "")) == ["sources.restic.connections"], "the check sees one"
