"""Two S3 servers that enforce IAM documents, on loopback with their own TLS: started on free ports, ended by their process id."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from sandbox.bucket import _pool
from sandbox.certificates import make_certificates
from sandbox.storage_server import root_credentials
from sandbox.tools import tool
from tests.networks import free_port
from tests.servers import run_minio, run_server, wait_for_server

REGION = "us-east-1"
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Identity:
    """A storage key, as a relay holds it and as whoever steals it would use it."""

    name: str
    access_key: str
    secret_key: str


def s3_client(endpoint: str, ca: Path, access_key: str, secret_key: str, *, trailers: bool = True) -> Any:
    """A client with short timeouts. Refusals are reported at once; only a broken connection is tried again (versitygw refuses a body before reading it).

    ``trailers``: whether bodies end with a checksum, as the SDK would do it; not every server accepts that.
    """
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        verify=str(ca),
        config=Config(
            # On a busy machine a third of its refusals break the connection. Other modes give up once a client was refused too often.
            retries={"total_max_attempts": 12, "mode": "legacy"},
            connect_timeout=5,
            read_timeout=15,
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_supported" if trailers else "when_required",
        ),
    )


@dataclass
class Server:
    """What both have in common: an endpoint, a CA, the storage's own root, and buckets with Object Lock."""

    name: str
    folder: Path
    endpoint: str
    ca: Path
    root_key: str = field(default_factory=lambda: f"root{secrets.token_hex(6)}")
    root_secret: str = field(default_factory=lambda: secrets.token_hex(16))
    trailers: bool = True

    def client(self, identity: Identity) -> Any:
        return s3_client(
            self.endpoint, self.ca, identity.access_key, identity.secret_key, trailers=self.trailers
        )

    @cached_property
    def root(self) -> Any:
        """A client with all rights, for the tests' own checks."""
        return s3_client(self.endpoint, self.ca, self.root_key, self.root_secret, trailers=self.trailers)

    def make_bucket(self, name: str, mode: str, days: int) -> None:
        root = self.root
        root.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        root.put_object_lock_configuration(
            Bucket=name,
            ObjectLockConfiguration={
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": mode, "Days": days}},
            },
        )


@dataclass
class Versity(Server):
    """versitygw: the AWS IAM API for users and inline policies, real bucket policies, versioned objects with locks in a plain folder."""

    plain_endpoint: str = ""  # the same storage without TLS
    iam_endpoint: str = ""
    socket: Path = Path()
    account: str = "000000000000"

    @cached_property
    def iam(self) -> Any:
        return boto3.client(
            "iam",
            endpoint_url=self.iam_endpoint,
            aws_access_key_id=self.root_key,
            aws_secret_access_key=self.root_secret,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def arn(self, user: str) -> str:
        return f"arn:aws:iam::{self.account}:user/{user}"

    def add_identity(self, name: str, *policies: Document) -> Identity:
        iam = self.iam
        iam.create_user(UserName=name)
        for number, policy in enumerate(policies):
            iam.put_user_policy(
                UserName=name, PolicyName=f"policy{number}", PolicyDocument=json.dumps(policy)
            )
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Identity(name, key["AccessKeyId"], key["SecretAccessKey"])

    def decide(self, identity: Identity, action: str, resource: str, context: Mapping[str, str]) -> str:
        """The IAM server's answer to its gateway: allow, deny or no_match. It also works with context keys that the gateway never sends."""
        body = json.dumps(
            {
                "accessKeyId": identity.access_key,
                "actions": [action],
                "resources": [resource],
                "condition": {name: [value] for name, value in context.items()},
            }
        ).encode()
        request = AWSRequest("POST", "http://iam/private/evaluate-policy", data=body)
        request.headers["Host"] = "iam"
        request.headers["X-Amz-Content-Sha256"] = hashlib.sha256(body).hexdigest()
        request.headers["X-Vgw-Private-Protocol"] = "1"
        SigV4Auth(Credentials(self.root_key, self.root_secret), "iam", REGION).add_auth(request)
        connection = HTTPConnection("iam", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self.socket))
            connection.request("POST", "/private/evaluate-policy", body, dict(request.headers.items()))
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
        finally:
            connection.close()
        return str(json.loads(text)["decisions"][0][0])


@dataclass
class Minio(Server):
    """minio: the server of the local stack. Its bucket policies apply only to anonymous callers, so identities carry all denials."""

    @cached_property
    def admin(self) -> Any:
        from minio.credentials.providers import StaticProvider
        from minio.minioadmin import MinioAdmin

        return MinioAdmin(
            endpoint=self.endpoint.removeprefix("https://"),
            credentials=StaticProvider(self.root_key, self.root_secret),
            region=REGION,
            http_client=_pool(self.folder, 20),
        )

    def add_identity(self, name: str, *policies: Document) -> Identity:
        secret = secrets.token_hex(16)
        admin = self.admin
        admin.user_add(name, secret)
        for number, policy in enumerate(policies):
            admin.policy_add(f"{name}-{number}", policy=dict(policy))
        admin.attach_policy([f"{name}-{number}" for number in range(len(policies))], user=name)
        return Identity(name, name, secret)


def _certificates(folder: Path) -> Path:
    certs = folder / "certs"
    certs.mkdir(mode=0o700)
    make_certificates(certs, "127.0.0.1")
    return certs


@contextmanager
def versity(folder: Path) -> Iterator[Versity]:
    """The IAM server, and two gateways to the same objects, with TLS and without."""
    program = os.fspath(tool("versitygw"))
    certs = _certificates(folder)
    for name in ("iam", "objects", "versions"):
        (folder / name).mkdir()
    iam_port, port, plain = free_port(), free_port(), free_port()
    server = Versity(
        name="versitygw",
        folder=folder,
        endpoint=f"https://127.0.0.1:{port}",
        ca=certs / "ca.crt",
        plain_endpoint=f"http://127.0.0.1:{plain}",
        iam_endpoint=f"http://127.0.0.1:{iam_port}",
        socket=folder / "iam" / "s",
    )
    root = {"ROOT_ACCESS_KEY": server.root_key, "ROOT_SECRET_KEY": server.root_secret}
    gateway = ["--iam-standalone-endpoint", str(server.socket), "--iam-cache-disable", "posix"]
    gateway += ["--versioning-dir", str(folder / "versions"), str(folder / "objects")]
    tls = ["--cert", str(certs / "public.crt"), "--key", str(certs / "private.key")]
    starts = {
        "iam": [
            "--port",
            f"127.0.0.1:{iam_port}",
            "iam",
            "--dir",
            str(folder / "iam"),
            "--private-ports",
            str(server.socket),
        ],
        "tls": ["--port", f"127.0.0.1:{port}", *tls, *gateway],
        "plain": ["--port", f"127.0.0.1:{plain}", *gateway],
    }
    looks: dict[str, Callable[[], object]] = {
        "iam": lambda: server.iam.list_users(),
        "tls": lambda: server.root.list_buckets(),
        "plain": lambda: s3_client(
            server.plain_endpoint, server.ca, server.root_key, server.root_secret
        ).list_buckets(),
    }
    with ExitStack() as stack:
        for name, argv in starts.items():
            log = folder / f"{name}.log"
            process = stack.enter_context(run_server([program, *argv], root, log))
            wait_for_server(looks[name], process, log, (OSError, ClientError, BotoCoreError))
        yield server


@contextmanager
def minio(folder: Path) -> Iterator[Minio]:
    """The local stack's server, with the local stack's settings."""
    with run_minio(folder) as made:
        user, secret = root_credentials(folder)
        yield Minio(
            name="minio", folder=folder, endpoint=made.origin, ca=made.ca, root_key=user, root_secret=secret
        )
