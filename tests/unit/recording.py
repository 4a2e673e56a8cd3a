"""Mocks that record what plain Pulumi mocks hide: every resource with its inputs and its options, secrets unwrapped but marked."""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec
from unittest import mock

import pulumi
from google.protobuf import json_format, struct_pb2
from pulumi.runtime import mocks
from pulumi.runtime import resource as runtime_resource
from pulumi.runtime import settings as runtime_settings
from pulumi.runtime.proto.source_pb2 import StackTrace
from pulumi.runtime.stack import Stack

P = ParamSpec("P")
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"


@dataclass(frozen=True)
class Secret:
    """A value that the engine knows to be secret."""

    value: Any


def unwrap(value: Any) -> Any:
    """A recorded input, with Secret() around values that the program marked."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET:
            return Secret(unwrap(value["value"]))
        return {key: unwrap(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unwrap(item) for item in value]
    return value


@dataclass(frozen=True)
class Recorded:
    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    protect: bool
    depends_on: tuple[str, ...]
    deleted_with: str
    delete_before_replace: bool
    secret_outputs: tuple[str, ...]
    retain_on_delete: bool
    ignore_changes: tuple[str, ...]
    provider: str = ""  # the explicit one's name
    refers: dict[str, tuple[str, ...]] = field(default_factory=dict)  # input -> resources that it is made of


@dataclass
class Graph:
    """Every resource that a program registered, in order, and the outputs of components and stack, by name."""

    resources: list[Recorded] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    exports: dict[str, Any] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)  # name -> what is adopted instead of made
    invokes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __iter__(self) -> Iterator[Recorded]:
        return iter(self.resources)

    def named(self, name: str) -> Recorded:
        found = [r for r in self.resources if r.name == name]
        assert len(found) == 1, f"{name}: {len(found)} of {[r.name for r in self.resources]}"
        return found[0]

    def of_type(self, type_: str) -> list[Recorded]:
        return [r for r in self.resources if r.type == type_]

    def shape(self) -> list[tuple[str, str, str]]:
        return sorted((r.type, r.name, r.parent) for r in self.resources)


SAMPLE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"


def sandbox_stdout(command: str, admin_key_path: str) -> str:
    """What `python -m sandbox …` would print, so that the program can go on."""
    words = command.split()
    verb = next((word for word in words if word.endswith("-up")), "")
    named = dict(itertools.pairwise(words))
    facts: dict[str, Any] = {
        "network-up": {"driver": "nspawn", "admin_key_path": admin_key_path, "host_address": "198.51.100.1"},
        "storage-up": {
            "endpoint": "https://198.51.100.250:9000",
            "ca_certificate": "-----BEGIN CERTIFICATE-----\nx\n",
        },
        "machine-up": {"address": "198.51.100.10", "port": 22, "user": "admin", "host_key": SAMPLE_KEY},
        "identity-up": {"access_key": named.get("--access-key", "")},
    }.get(verb, {})
    return json.dumps(facts)


INVOKED: dict[str, dict[str, Any]] = {
    "pulumi:pulumi:readStackOutputs": {"outputs": {}},
    "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": "123456789012"},
    "aws:ec2/getAmi:getAmi": {"id": "ami-newest"},
    "aws:s3/getBucketObjectLockConfiguration:getBucketObjectLockConfiguration": {
        "objectLockEnabled": "Enabled"
    },
    "aws:ec2/getSubnet:getSubnet": {"id": "subnet-given", "vpcId": "vpc-given"},
}


NAMED_BY_THE_PROVIDER = (
    "aws:iam/role:Role",
    "aws:iam/instanceProfile:InstanceProfile",
    "aws:cloudwatch/eventRule:EventRule",
)


class _Answers(mocks.Mocks):
    def __init__(
        self, graph: Graph, admin_key_path: str, facts: dict[str, str], last_outputs: Mapping[str, Any]
    ) -> None:
        self._last_outputs = last_outputs
        self._graph = graph
        self._admin_key_path = admin_key_path
        self._facts = facts

    def call(self, args: mocks.MockCallArgs) -> Any:
        if args.token not in INVOKED:
            raise AssertionError(f"unexpected invoke {args.token}")
        self._graph.invokes.append((args.token, dict(args.args)))
        if args.token == "pulumi:pulumi:readStackOutputs":
            return {"outputs": dict(self._last_outputs)}
        return INVOKED[args.token]

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.typ == "command:local:Command":
            outputs["stdout"] = sandbox_stdout(outputs["create"], self._admin_key_path)
        elif args.typ == "command:remote:Command":
            outputs["stdout"] = json.dumps({"facts": self._facts})
            outputs["stderr"] = ""
        elif args.typ == "random:index/randomPassword:RandomPassword":
            outputs["result"] = f"generated-for-{args.name}".ljust(int(outputs["length"]), "x")
        elif args.typ == "aws:ec2/eip:Eip":
            outputs |= {"publicIp": "203.0.113.50", "allocationId": f"{args.name}-allocation"}
        elif args.typ == "aws:sns/topic:Topic":
            outputs["arn"] = f"arn:aws:sns:eu-central-1:123456789012:{args.name}"
        elif args.typ in NAMED_BY_THE_PROVIDER:
            outputs.setdefault("name", f"{args.name}-name")
        if args.typ.startswith("aws:"):
            service = args.typ.split(":")[1].split("/")[0]
            outputs.setdefault("arn", f"arn:aws:{service}:eu-central-1:123456789012:{args.name}")
            if args.typ == "aws:iam/accessKey:AccessKey":
                outputs["secret"] = f"secret-of-{args.name}"
        return f"{args.name}-id", outputs


class RecordingMonitor(mocks.MockMonitor):
    def __init__(self, answers: mocks.Mocks, graph: Graph, stack: str) -> None:
        super().__init__(answers)
        self._graph = graph
        self._stack = stack

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """As the SDK's, which asks for the stack's name in another thread, where the first run does not know it."""
        above = parent.split("::")[2] + "$" if parent else ""
        above = "" if above.startswith("pulumi:pulumi:Stack") else above
        return f"urn:pulumi:{self._stack}::lastcopy::{above}{type_}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        if request.importId:
            self._graph.imports[request.name] = request.importId
        self._graph.resources.append(
            Recorded(
                type=request.type,
                name=request.name,
                parent=request.parent.rsplit("::", 1)[-1],
                inputs=unwrap(json_format.MessageToDict(request.object)),
                protect=request.protect,
                depends_on=tuple(urn.rsplit("::", 1)[-1] for urn in request.dependencies),
                deleted_with=request.deletedWith.rsplit("::", 1)[-1],
                delete_before_replace=request.deleteBeforeReplace,
                secret_outputs=tuple(request.additionalSecretOutputs),
                retain_on_delete=request.retainOnDelete,
                ignore_changes=tuple(request.ignoreChanges),
                provider=request.provider.rsplit("::", 2)[-2] if request.provider else "",
                refers={
                    key: tuple(urn.rsplit("::", 1)[-1] for urn in found.urns)
                    for key, found in request.propertyDependencies.items()
                },
            )
        )
        response = super().RegisterResource(request)
        # As the engine does it: what the SDK or the program names so comes back as a secret.
        for key in set(request.additionalSecretOutputs) & set(response.object.keys()):
            plain = response.object.fields[key]
            secret = struct_pb2.Struct(fields={"value": plain})
            secret[_SIGNATURE] = _SECRET
            response.object.fields[key].CopyFrom(struct_pb2.Value(struct_value=secret))
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:
        kind, name = request.urn.split("::")[-2:]
        given = unwrap(json_format.MessageToDict(request.outputs))
        (
            self._graph.exports if kind == "pulumi:pulumi:Stack" else self._graph.outputs.setdefault(name, {})
        ).update(given)
        return super().RegisterResourceOutputs(request)


def record(
    program: Callable[[], None],
    *,
    stack: str = "local",
    config: dict[str, str] | None = None,
    secret_keys: tuple[str, ...] = (),
    admin_key_path: str = "/nonexistent",
    facts: dict[str, str] | None = None,
    preview: bool = False,
    last_outputs: Mapping[str, Any] | None = None,
) -> Graph:
    """Run ``program`` on its own event loop under fresh mocks and return what it registered; its errors are raised.

    ``last_outputs``: what the stack's state has from the run before.
    """
    graph = Graph()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    known = {
        "public_key": SAMPLE_KEY,
        "repository_id": "ab" * 32,
        "key_id": "cd" * 32,
        "version": "9.9.9",
        "path": "/x",
        "account": "bk-any",
        "openssh": "10.0",
        "debian": "13",
    }
    answers = _Answers(graph, admin_key_path, known | (facts or {}), last_outputs or {})
    monitor = RecordingMonitor(answers, graph, stack)
    mocks.set_mocks(answers, project="lastcopy", stack=stack, preview=preview, monitor=monitor)
    pulumi.runtime.set_all_config(config or {}, list(secret_keys))

    def whole() -> None:
        program()
        stack = runtime_settings.get_root_resource()
        assert isinstance(stack, Stack)
        stack.register_outputs(stack.outputs)

    try:
        # The SDK sends with each resource where in the source it was made: a quarter of the time, and nobody reads it here.
        with mock.patch.object(runtime_resource, "_get_stack_trace", StackTrace):
            pulumi.runtime.test(whole)()
    except BaseException:
        _end_what_waits(loop)
        raise
    finally:
        runtime_settings.reset_options()
    left = asyncio.all_tasks(loop)
    assert not left, f"the program ended while this was still at work: {left}"
    loop.close()
    return graph


_SHARED: list[tuple[Graph, Graph]] = []  # as it was recorded, and a copy


def shared(recorder: Callable[P, Graph]) -> Callable[P, Graph]:
    """Record once for the same arguments. A test that patches a component, or needs more than the registered resources, calls ``__wrapped__``."""
    found: dict[bytes, Graph] = {}

    @functools.wraps(recorder)
    def once(*args: P.args, **kwargs: P.kwargs) -> Graph:
        key = pickle.dumps((args, sorted(kwargs.items())))
        if key not in found:
            found[key] = recorder(*args, **kwargs)
            _SHARED.append((found[key], copy.deepcopy(found[key])))
        return found[key]

    return once


def changed_since_recorded() -> list[Graph]:
    """Shared graphs that a test has changed: later tests no longer see what the program registers."""
    return [graph for graph, as_recorded in _SHARED if graph != as_recorded]


def _end_what_waits(loop: asyncio.AbstractEventLoop) -> None:
    """After a program's error, end the resources that wait for the failed one. Their errors only repeat the one that is raised."""
    loop.set_exception_handler(lambda _, __: None)
    waiting = asyncio.all_tasks(loop)
    for task in waiting:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
    loop.close()
