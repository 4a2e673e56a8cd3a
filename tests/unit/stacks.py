"""Whole stacks under mocks: their configuration, and what the program registers for them."""

from __future__ import annotations

import dataclasses
import json
import runpy
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.aws.first_host_key import first_key
from components.settings.ssh_keys import read_public_half
from tests.unit.recording import SAMPLE_KEY, Graph, Recorded, Secret, record, shared
from tests.unit.settings.support import KEYS, laid_over, private_key, values
from toolchain.checkout import ROOT

S3 = """
environment: prod
admin: {privateKeyFile: KEY-FILE}
intermediate: {existing: {address: relay.example.com, hostKey: RELAY-KEY, sourcesReachItAt: 10.0.0.5}}
storage: {s3: {endpoint: https://s3.example.com, region: us-east-1, bucket: example-backups, prefix: hosts}}
sources:
  - name: web1
    host: {address: web1.example.com, hostKey: WEB-KEY}
    paths: [/srv]
    identity: {accessKeyId: EXAMPLE-WEB1, secretAccessKey: kW8-web1-secret-access-key}
  - name: db1
    host: {address: db1.example.com, hostKey: DB-KEY, user: root}
    paths: [/var/lib/postgresql]
    password: a-Password-of-db1-alone
    identity: {accessKeyId: EXAMPLE-DB1, secretAccessKey: kW8-db1-secret-access-key}
  - name: cut1
    publicKey: SOURCE-KEY
    paths: [/srv]
    identity: {accessKeyId: EXAMPLE-CUT1, secretAccessKey: kW8-cut1-secret-access-key}
"""
RCLONE = """
environment: prod
admin: {agent: true, jumpHost: {address: jump.example.com, hostKey: ADMIN-KEY, user: jumper}}
intermediate: {existing: {address: relay.example.com, port: 2022, sshPort: 2022, hostKey: RELAY-KEY}}
storage:
  rclone:
    section: "type = b2\\naccount = 0012ab34cd56ef78\\nkey = K001ab34cd56ef78ghij"
    path: backups
    egress: ["api.example.com:443"]
    withoutObjectLock: accepted
sources:
  - {name: web1, host: {address: web1.example.com, hostKey: WEB-KEY}, paths: [/srv]}
  - {name: cut1, publicKey: SOURCE-KEY, paths: [/srv]}
"""
TOTP = """
environment: test
protect: false
admin:
  privateKey: PRIVATE-KEY
  secondFactor: totp
  people:
    - {name: bob, publicKeys: [SECURITY-KEY], totpSecret: MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U}
    - {name: alice, publicKeys: [ADMIN-KEY], totpSecret: totp-secret}
intermediate:
  existing: {address: 127.0.0.1, port: 2222, sshPort: 22, hostKey: RELAY-KEY, sourcesReachItAt: relay.example.com, toolsFrom: workstation}
storage:
  s3:
    endpoint: https://s3.example.com
    region: us-east-1
    bucket: example-backups
    identity: {accessKeyId: EXAMPLE-SHARED, secretAccessKey: kW8-shared-secret-access-key}
sources:
  - {name: web1, host: {address: web1.example.com, hostKey: WEB-KEY, toolsFrom: workstation}, paths: [/srv]}
"""
# A role and a profile make the provider; a relay made elsewhere, an identity made elsewhere.
TRIAL = """
environment: test
protect: false
admin: {privateKeyFile: KEY-FILE}
aws: {region: eu-central-1, account: "123456789012", profile: backup, assumeRole: "arn:aws:iam::123456789012:role/break-glass"}
intermediate: {existing: {address: relay.example.com, hostKey: RELAY-KEY}}
storage:
  aws:
    bucket: example-backups-test
    breakGlass: arn:aws:iam::123456789012:role/break-glass
    purpose: test
    lock: {mode: GOVERNANCE, days: 1}
sources:
  - {name: web1, host: {address: web1.example.com, hostKey: WEB-KEY}, paths: [/srv]}
  - name: cut1
    publicKey: SOURCE-KEY
    paths: [/srv]
    identity: {accessKeyId: EXAMPLE-CUT1, secretAccessKey: kW8-cut1-secret-access-key}
"""
AWS = """
environment: prod
admin: {privateKeyFile: KEY-FILE}
aws: {region: eu-central-1, account: "123456789012"}
intermediate:
  ec2:
    adminPublicKey: OWN-PUBLIC-HALF
    adminsFrom: [203.0.113.0/24]
    sourcesFrom: [198.51.100.0/24]
    alarmEmail: ops@example.com
storage:
  aws:
    bucket: example-backups-prod
    prefix: hosts
    breakGlass: arn:aws:iam::123456789012:role/break-glass
    storageClasses: [{afterDays: 30, class: STANDARD_IA}]
    alarms: {email: ops@example.com}
sources:
  - {name: web1, host: {address: web1.example.com, hostKey: WEB-KEY}, paths: [/srv]}
  - {name: db1, host: {address: db1.example.com, hostKey: DB-KEY}, paths: [/srv], generation: 3, identityGeneration: 2}
  - {name: cut1, publicKey: SOURCE-KEY, paths: [/srv]}
"""


@dataclass(frozen=True)
class Shape:
    """A kind of stack. ``managed`` and ``unmanaged`` name its sources."""

    name: str
    text: str
    protect: bool
    managed: tuple[str, ...]
    unmanaged: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        return (*self.managed, *self.unmanaged)

    @property
    def machine(self) -> str:
        """What the relay runs on, where the program makes that."""
        return {"local": "sandbox-machine-relay", "aws": "relay-machine-vm-g1"}.get(self.name, "")

    @property
    def sandbox(self) -> bool:
        return self.name == "local"

    def config(self, changes: str = "{}", without: str = "") -> dict[str, Any]:
        """The stack's values with changes laid over them, less one source."""
        merged: dict[str, Any] = laid_over(values(self.text), values(changes))
        return {**merged, "sources": [one for one in merged["sources"] if one["name"] != without]}


def alone(shape: Shape, source: str) -> Shape:
    """The stack with this source only, for what does not depend on how many there are."""
    stack = yaml.safe_load(shape.text)
    return dataclasses.replace(
        shape,
        text=yaml.safe_dump({**stack, "sources": [one for one in stack["sources"] if one["name"] == source]}),
        managed=tuple(name for name in shape.managed if name == source),
        unmanaged=tuple(name for name in shape.unmanaged if name == source),
    )


def _template(name: str) -> str:
    config = yaml.safe_load((ROOT / "stacks" / "templates" / f"{name}.yaml").read_text())["config"]
    return yaml.safe_dump({key.removeprefix("lastcopy:"): value for key, value in config.items()})


SHAPES = (
    Shape("local", _template("local"), protect=False, managed=("web1", "db1")),
    Shape("s3", S3, protect=True, managed=("web1", "db1"), unmanaged=("cut1",)),
    Shape("rclone", RCLONE, protect=True, managed=("web1",), unmanaged=("cut1",)),
    Shape("totp", TOTP, protect=False, managed=("web1",)),
    Shape("aws", AWS, protect=True, managed=("web1", "db1"), unmanaged=("cut1",)),
    Shape("trial", TRIAL, protect=False, managed=("web1",), unmanaged=("cut1",)),
)
LOCAL, OWN, REMOTE, TUNNEL, CLOUD, TRY = SHAPES
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
LOCAL_WEB1, OWN_WEB1, CLOUD_WEB1 = (alone(shape, "web1") for shape in (LOCAL, OWN, CLOUD))
BORN_WITH = first_key("generated-for-relay-machine-seed-g1".ljust(64, "x")).public  # until the first contact
PINNED = {
    "203.0.113.50": SAMPLE_KEY,
    "relay.example.com": KEYS["RELAY-KEY"],
    "127.0.0.1": KEYS["RELAY-KEY"],
    "web1.example.com": KEYS["WEB-KEY"],
    "db1.example.com": KEYS["DB-KEY"],
    "198.51.100.10": SAMPLE_KEY,
    "jump.example.com": KEYS["ADMIN-KEY"],
}


def run(config: dict[str, Any], last_outputs: Mapping[str, Any] | None = None) -> Graph:
    """What ``__main__.py`` registers for this stack, after a run that ended with these outputs."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        key = Path(folder, "key")
        key.write_text(private_key())
        key.chmod(0o600)
        patch.setattr("components.settings.agent.list_agent_keys", lambda: [])
        text = json.dumps(config).replace("KEY-FILE", str(key))
        text = text.replace('"PRIVATE-KEY"', json.dumps(private_key()))
        text = text.replace("OWN-PUBLIC-HALF", f"ssh-ed25519 {read_public_half(private_key())}")
        given = {f"lastcopy:{name}": value for name, value in json.loads(text).items()}
        return record(
            lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__") and None,
            stack="unit",
            config={name: v if isinstance(v, str) else json.dumps(v) for name, v in given.items()},
            secret_keys=("lastcopy:admin", "lastcopy:storage", "lastcopy:sources"),
            admin_key_path=str(key),
            last_outputs=last_outputs,
        )


@shared
def graph_of(shape: Shape, changes: str = "{}") -> Graph:
    """What the program registers for a stack with these changes; recorded once, for all tests."""
    return run(shape.config(changes))


def commands(graph: Graph) -> list[Recorded]:
    """What runs on hosts."""
    found = graph.of_type("command:remote:Command")
    assert len(found) > 5
    return found


def opened(value: Any) -> Any:
    """The value of a secret, or what is none."""
    return value.value if isinstance(value, Secret) else value


def bare(value: Any) -> Any:
    """As `pulumi stack output --show-secrets` gives it."""
    value = opened(value)
    if isinstance(value, dict):
        return {key: bare(one) for key, one in value.items()}
    return value


def tree(graph: Graph) -> str:
    """Every resource with its type below its parent, independent of the order of registration."""
    (root,) = graph.of_type("pulumi:pulumi:Stack")

    def lines(parent: str, depth: int) -> Iterator[str]:
        for type_, name, above in graph.shape():
            if above == parent:
                yield f"{'  ' * depth}{type_} {name}\n"
                yield from lines(name, depth + 1)

    return "".join(lines(root.name, 0))


def below(graph: Graph, name: str) -> list[Recorded]:
    """A resource's children, and theirs."""
    children = [one for one in graph if one.parent == name]
    return children + [deeper for child in children for deeper in below(graph, child.name)]


def before(graph: Graph, name: str) -> set[str]:
    """Every resource that exists before this one is made: what it depends on, and its parent with what that depends on.

    The engine deletes in the opposite order, also over parents (tests/conformance/test_order.py).
    """
    found: set[str] = set()
    todo = [name]
    while todo:
        one = graph.named(todo.pop())
        new = {*one.depends_on, *([one.parent] if one.parent else [])} - found
        found |= new
        todo += new
    return found


def told(graph: Graph) -> dict[tuple[str, str], tuple[Any, ...]]:
    """All that the engine would be told of each resource; where it differs, the resource is touched."""
    return {
        (one.type, one.name): (
            one.parent,
            one.inputs,
            one.protect,
            frozenset(one.depends_on),
            one.deleted_with,
            one.ignore_changes,
            one.provider,
            one.retain_on_delete,
        )
        for one in graph
    }


def touched(old: Graph, new: Graph) -> set[str]:
    """Resources that an update from one program to the other makes, changes or removes."""
    one, other = told(old), told(new)
    return {key[1] for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
