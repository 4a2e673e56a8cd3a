"""The whole stack's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StrictBool

from components.settings import across, across_aws, across_jump
from components.settings.aws import AwsAccount
from components.settings.aws_bucket import AwsBucket
from components.settings.ec2 import Ec2Vm
from components.settings.hosts import Admin, ExistingHost, ManagedHost, Sandbox, SandboxVm
from components.settings.jump import JumpHost, jump_host_for
from components.settings.model import Model, OneOf
from components.settings.problems import Finding
from components.settings.sources import Source
from components.settings.storage import RcloneRemoteSection, S3Bucket, SandboxVault
from components.settings.values import EnvironmentName, is_account
from components.settings.warn import warnings_of

INTERMEDIATE = OneOf(existing=ExistingHost, ec2=Ec2Vm, sandbox=SandboxVm)
STORAGE = OneOf(s3=S3Bucket, aws=AwsBucket, rclone=RcloneRemoteSection, sandbox=SandboxVault)


class Settings(Model):
    """One stack's settings: frozen, complete, free of contradictions that show without reaching a host."""

    EXAMPLE: ClassVar[object] = None

    environment: EnvironmentName = Field(
        description="Name of the environment: 1 to 31 of a-z 0-9 -, beginning with a letter.",
        examples=["prod"],
    )
    protect: StrictBool = Field(
        True, description="Protect passwords and repositories from `pulumi destroy`: true or false."
    )
    admin: Admin = Field(
        Admin(),
        description="How the operator reaches the hosts; not for the sandbox, which brings its own way.",
    )
    aws: AwsAccount | None = Field(
        None, description="The AWS account; only with storage.aws or intermediate.ec2, which need it."
    )
    intermediate: Annotated[ExistingHost | Ec2Vm | SandboxVm, INTERMEDIATE] = Field(
        description="The relay's machine: exactly one of existing, ec2, sandbox.",
        examples=[{"existing": ExistingHost.EXAMPLE}],
    )
    storage: Annotated[S3Bucket | AwsBucket | RcloneRemoteSection | SandboxVault, STORAGE] = Field(
        description="The vault: exactly one of s3, aws, rclone, sandbox.",
        examples=[{"s3": S3Bucket.EXAMPLE}],
    )
    sandbox: Sandbox = Field(
        Sandbox(), description="The sandbox's network and driver; only with sandbox members."
    )
    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = Field(
        description="The backed-up hosts, at least one.", examples=[[Source.EXAMPLE]]
    )

    @classmethod
    def prepare(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """A managed source without a user of its own is reached as the admin's user; an empty aws is none."""
        raw = {key: value for key, value in raw.items() if key != "aws" or value != {}}
        user = across.mapping(raw.get("admin")).get("user")
        sources = raw.get("sources")
        if not is_account(user) or not isinstance(sources, list | tuple):
            return raw
        return {**raw, "sources": [across.with_user(source, user) for source in sources]}

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        yield from across.rules(raw)
        yield from across_aws.rules(raw)
        yield from across_jump.rules(raw)

    def jump_host(self, host: ExistingHost | ManagedHost) -> JumpHost | None:
        """The jump host that leads to this host, None where it is dialled directly."""
        return jump_host_for(host.address, host.jump_host, self.admin.jump_host)

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but weakens the promise, each with its remedy; said on every run."""
        return tuple(warnings_of(self))
