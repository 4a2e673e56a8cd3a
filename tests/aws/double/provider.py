"""The plugin protocol: answers the engine's requests to a provider from the tables of kinds.

It uses plain gRPC, because the SDK's experimental provider answers DiffConfig with members that its own types do not have.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from sandbox.errors import SandboxError
from tests.aws.double import faults
from tests.aws.double.cloud import Cloud
from tests.aws.double.functions import FUNCTIONS
from tests.aws.double.kinds import Kind
from tests.aws.double.refused import Refused
from tests.aws.double.tables import KINDS
from tests.aws.double.wire import UNKNOWN, Props, changed, plain, struct

VERSION = metadata.version("pulumi_aws")  # the version that it imitates; the engine warns about any other
REGION = "region"  # pulumi-aws 7: every resource accepts a region
THREADS = 32


class Double(provider_pb2_grpc.ResourceProviderServicer):
    """The plugin process of one provider resource."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._cloud: Cloud | None = None
        self._refused = ""

    @property
    def cloud(self) -> Cloud:
        if self._cloud is None:
            raise Refused(self._refused or "the provider was not configured")
        return self._cloud

    # configuration

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        return plugin_pb2.PluginInfo(version=VERSION)

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        return _difference(changed(plain(request.olds), plain(request.news)), frozenset(), False)

    def Configure(self, request: Any, context: Any) -> Any:
        given = plain(request.args)
        with _answering(context, "configuring the provider"):
            self._cloud = Cloud({k: v for k, v in given.items() if not _has_unknown(v)})
        # Secrets arrive unmarked and the engine marks outputs of the same name; additional secrets of the double are marked below.
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    # resources

    def Check(self, request: Any, context: Any) -> Any:
        news, inputs = plain(request.news), request.news
        with _answering(context, "checking"):
            kind = _kind(request.urn)
            unknown = sorted(news.keys() - kind.takes - {REGION})
            if unknown:
                raise Refused(f"the double of AWS does not know {', '.join(unknown)} of {_type(request.urn)}")
            if kind.named and "name" not in news:
                made = f"{request.urn.split('::')[-1]}-{request.randomSeed[:4].hex()[:7]}"
                inputs.update({"name": plain(request.olds).get("name") or made})
        return provider_pb2.CheckResponse(inputs=inputs)

    def Diff(self, request: Any, context: Any) -> Any:
        with _answering(context, "comparing"):
            kind = _kind(request.urn)
            old, new = plain(request.old_inputs), plain(request.news)
            ignored = set(request.ignoreChanges)
            differ = [name for name in changed(old, new) if name not in ignored]
            return _difference(differ, kind.new | kind.new_if(old, new) | {REGION}, kind.delete_first)

    def Create(self, request: Any, context: Any) -> Any:
        inputs = plain(request.properties)
        with _answering(context, f"creating {_type(request.urn)}"):
            kind = _kind(request.urn)
            if request.preview:
                return provider_pb2.CreateResponse(properties=request.properties)
            faults.strike(_type(request.urn))
            made, outputs = kind.create(self.cloud, inputs)
            return provider_pb2.CreateResponse(id=made, properties=self._state(kind, {**inputs, **outputs}))

    def Read(self, request: Any, context: Any) -> Any:
        state, inputs = plain(request.properties), plain(request.inputs)
        with _answering(context, f"reading {_type(request.urn)}"):
            kind = _kind(request.urn)
            found = kind.read(self.cloud, request.id, state)
            if found is None:
                return provider_pb2.ReadResponse()
            seen = {name: value for name, value in found.items() if name in kind.takes}
            return provider_pb2.ReadResponse(
                id=request.id,
                properties=self._state(kind, {**state, **found}),
                # An import has no inputs yet, so they are derived from everything that can be read.
                inputs=struct({**inputs, **{k: v for k, v in seen.items() if k in inputs or not inputs}}),
            )

    def Update(self, request: Any, context: Any) -> Any:
        old, new = plain(request.olds), plain(request.news)
        with _answering(context, f"updating {_type(request.urn)}"):
            kind = _kind(request.urn)
            kept = {name: value for name, value in old.items() if name not in kind.takes}
            if request.preview:
                return provider_pb2.UpdateResponse(properties=self._state(kind, {**kept, **new}))
            faults.strike(_type(request.urn))
            if kind.update is None:
                raise Refused(f"the double of AWS cannot update {_type(request.urn)} in place")
            outputs = kind.update(self.cloud, request.id, old, new)
            return provider_pb2.UpdateResponse(properties=self._state(kind, {**kept, **new, **outputs}))

    def Delete(self, request: Any, context: Any) -> Any:
        with _answering(context, f"deleting {_type(request.urn)}"):
            faults.strike(f"delete {_type(request.urn)}")
            _kind(request.urn).delete(self.cloud, request.id, plain(request.properties))
        return Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        with _answering(context, f"invoking {request.tok}"):
            function = FUNCTIONS.get(request.tok)
            if function is None:
                raise Refused(f"the double of AWS does not know the function {request.tok}")
            arguments = plain(request.args)
            arguments.pop(REGION, None)
            return provider_pb2.InvokeResponse(**{"return": struct(function(self.cloud, arguments))})

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        self._stop.set()
        return Empty()

    def _state(self, kind: Kind, outputs: Props) -> Any:
        tags = {"tagsAll": self.cloud.tags(outputs)} if "tags" in kind.takes else {}
        return struct({REGION: self.cloud.region, **outputs, **tags}, kind.secrets)


def _type(urn: str) -> str:
    """`aws:s3/bucket:Bucket` of `urn:…::project::parent$aws:s3/bucket:Bucket::name`."""
    return urn.split("::")[2].rsplit("$", 1)[-1]


def _kind(urn: str) -> Kind:
    kind = KINDS.get(_type(urn))
    if kind is None:
        raise Refused(f"the double of AWS does not know the type {_type(urn)}; add it to tests/aws/double")
    return kind


def _has_unknown(value: Any) -> bool:
    return UNKNOWN in str(value)


def _difference(differ: list[str], new: frozenset[str], delete_first: bool) -> Any:
    replaces = [name for name in differ if name in new]
    kinds = provider_pb2.PropertyDiff
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if differ else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=differ,
        replaces=replaces,
        deleteBeforeReplace=delete_first and bool(replaces),
        detailedDiff={
            name: kinds(kind=kinds.UPDATE_REPLACE if name in new else kinds.UPDATE, inputDiff=True)
            for name in differ
        },
        hasDetailedDiff=True,
    )


@contextmanager
def _answering(context: Any, doing: str) -> Iterator[None]:
    """Errors as the engine shows them: one line, with AWS's own code and message if they come from AWS."""
    try:
        yield
    except ClientError as error:
        said = error.response["Error"]
        text = f"operation error {error.operation_name}, api error {said['Code']}: {said['Message']}"
        context.abort(grpc.StatusCode.UNKNOWN, f"{doing}: {text}")
    except (Refused, BotoCoreError, SandboxError) as error:
        context.abort(grpc.StatusCode.UNKNOWN, f"{doing}: {error}")


def _watch(parent: int, stop: threading.Event) -> None:
    """End together with the engine, even if it is killed."""
    while not stop.wait(0.5):
        if os.getppid() != parent:
            stop.set()


def serve(announce: Callable[[str], None] = print) -> int:
    stop, parent = threading.Event(), os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.max_receive_message_length", 1 << 27)])
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Double(stop), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    announce(str(port))
    sys.stdout.flush()
    threading.Thread(target=_watch, args=(parent, stop), daemon=True).start()
    while not stop.wait(3600):
        time.sleep(0)
    server.stop(grace=1).wait()
    return 0
