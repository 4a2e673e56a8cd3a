"""The environment of the AWS tests: moto for the control plane, a sandbox for machines and object storage, the double as the engine's plugin.

Everything belongs to this run: a copy of the checkout with its engine home, a free network, a moto server on a free port. Nothing of the caller's AWS
settings is used, and nothing can reach AWS: every endpoint is AWS_ENDPOINT_URL, on loopback.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from sandbox import Sandbox, netns, storage_server
from sandbox.bucket import wait_ready
from sandbox.store import hold
from tests.aws.double.faults import FAULTS
from tests.aws.names import NameServer
from tests.networks import free_port
from tests.waiting import wait_until
from toolchain.checkout import ROOT

REGION, ACCOUNT = "us-east-1", "123456789012"  # of the programs of the tests' own
DOCS_REGION = "eu-central-1"  # of docs/aws.md and the templates: the whole stack's
S3 = f"s3.{DOCS_REGION}.amazonaws.com"
DEBIAN = "136693071363"
IMAGES = [
    ("ami-0d13a0000000000a1", "debian-13-arm64-20260101-1000", "arm64", "2026-01-01T00:00:00.000Z"),
    ("ami-0d13a0000000000a2", "debian-13-arm64-20260601-2000", "arm64", "2026-06-01T00:00:00.000Z"),
    ("ami-0d13a0000000000b1", "debian-13-amd64-20260601-2000", "x86_64", "2026-06-01T00:00:00.000Z"),
]


class Moto:
    """A moto server in a separate process."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        images = folder / "amis.json"
        images.write_text(json.dumps([_image(*one) for one in IMAGES]))
        self.url = f"http://127.0.0.1:{self.port}"
        with (folder / "moto.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "MOTO_AMIS_PATH": str(images)},
            )

    def wait(self, seconds: float = 60) -> None:
        def answers() -> bool:
            assert self.process.poll() is None, "moto ended"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(answers, seconds, "moto does not answer", 0.1)

    def warm(self) -> None:
        """Load all parts in use: the first request to each takes seconds."""
        questions = [
            ("ec2", "describe_vpcs"),
            ("iam", "list_users"),
            ("s3", "list_buckets"),
            ("sts", "get_caller_identity"),
            ("cloudwatch", "describe_alarms"),
            ("events", "list_rules"),
            ("sns", "list_topics"),
            ("lambda", "list_functions"),
        ]

        def ask() -> None:
            self.wait()
            for service, question in questions:
                getattr(self.client(service), question)()

        threading.Thread(target=ask, daemon=True).start()

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def client(
        self, service: str, keys: tuple[str, str, str | None] = ("test", "test", None), region: str = REGION
    ) -> Any:
        """A client for a test's own look into the account or, with `keys`, into another account."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            aws_session_token=keys[2],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
        )


def _image(name: str, title: str, architecture: str, made: str) -> dict[str, Any]:
    return {
        "ami_id": name,
        "name": title,
        "description": title,
        "owner_id": DEBIAN,
        "public": True,
        "virtualization_type": "hvm",
        "architecture": architecture,
        "state": "available",
        "creation_date": made,
        "image_type": "machine",
        "hypervisor": "xen",
        "root_device_type": "ebs",
        "root_device_name": "/dev/xvda",
    }


def aws_environment(moto: Moto, folder: Path) -> dict[str, str]:
    """The environment for AWS tools: made-up keys, no files of the caller, and one endpoint for everything."""
    return {
        "AWS_ENDPOINT_URL": moto.url,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(folder / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
        FAULTS: str(folder / "faults.json"),
    }


def install_double(pulumi_home: Path) -> None:
    """Install the double as a plugin in an engine home of the tests, with the version that the program's SDK asks for."""
    version = metadata.version("pulumi_aws")
    folder = pulumi_home / "plugins" / f"resource-aws-v{version}"
    folder.mkdir(parents=True)
    program = folder / "pulumi-resource-aws"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.aws.double.provider import serve\nsys.exit(serve())\n"
    )
    program.chmod(0o755)


class Cloud:
    """The sandbox that contains EC2's machines, S3's objects and the sources."""

    def __init__(self, directory: Path, network: str) -> None:
        self.box = Sandbox(directory)
        self._stack = ExitStack()
        self.network = network

    def open(self) -> None:
        self._stack.callback(self.box.destroy)
        self.box.network_up(self.network, "nspawn")
        folder, driver = self.box.storage_folder, self.box.driver
        address = driver.storage_address
        with hold(folder, make=True):
            storage_server.prepare_files(folder, address, [S3, f"*.{S3}"])
            settings = folder / "root.env"
            text = settings.read_text()
            own = f"MINIO_REGION={storage_server.REGION}\n"
            assert own in text
            # rclone calls AWS by the bucket's own name.
            settings.write_text(text.replace(own, f"MINIO_REGION={DOCS_REGION}\nMINIO_DOMAIN={S3}\n"))
            driver.network_up(self.box.machines())
            driver.storage_start(folder)
            with driver.storage_dial() as origin:
                wait_ready(folder, origin, lambda: driver.storage_check(folder))
        namespace = self.box.plan.storage_ns
        rules = "table ip s3 {\nchain arriving { type nat hook prerouting priority dstnat;\ntcp dport 443 redirect to :9000\n}\n}\n"
        _inside(namespace, "nft", "-f", "-", stdin=rules)
        with netns.inside(namespace):
            names = NameServer(address, S3, address)
        self._stack.callback(names.close)

    def close(self) -> None:
        self._stack.close()

    def source(self, name: str) -> dict[str, Any]:
        """A source host, as its operator would provide it."""
        return self.box.machine_up(name, "source")


def _inside(namespace: str, *argv: str, stdin: str) -> None:
    subprocess.run(
        ["nsenter", f"--net={netns.path(namespace)}", *argv],
        input=stdin,
        text=True,
        check=True,
        capture_output=True,
    )
