"""The whole stack's settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, StrictBool

from components.settings.admin import Admin
from components.settings.aws import AwsAccount
from components.settings.aws_bucket import AwsBucket
from components.settings.ec2 import Ec2Vm
from components.settings.hosts import ExistingHost, ManagedHost, SandboxSettings, SandboxVm
from components.settings.jump import JumpHost, choose_jump_host
from components.settings.model import Model, OneOf, run_until_unknown
from components.settings.problems import Loc
from components.settings.sources import Source
from components.settings.storage import RcloneRemoteSection, S3Bucket, SandboxVault
from components.settings.values import EnvironmentName

INTERMEDIATE = OneOf(existing=ExistingHost, ec2=Ec2Vm, sandbox=SandboxVm)
STORAGE = OneOf(s3=S3Bucket, aws=AwsBucket, rclone=RcloneRemoteSection, sandbox=SandboxVault)


def _none_if_empty(value: object) -> object:
    """Pulumi.yaml declares ``{}`` as the default of an omitted map."""
    return None if value == {} else value


class Settings(Model):
    """One stack's settings: frozen, complete, and free of contradictions that can be found without reaching a host."""

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
        description="How the operator reaches the hosts; not for the sandbox, which makes its own account and key.",
    )
    aws: Annotated[AwsAccount | None, BeforeValidator(_none_if_empty)] = Field(
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
    sandbox: SandboxSettings = Field(
        SandboxSettings(), description="The sandbox's network and driver; only with sandbox members."
    )
    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = Field(
        description="The backed-up hosts, at least one.", examples=[[Source.EXAMPLE]]
    )

    def completed(self) -> Self:
        """A managed source without its own user is reached as the admin's user."""
        user = self.admin.user
        return self.model_copy(update={"sources": tuple(_with_user(one, user) for one in self.sources)})

    def jump_host(self, host: ExistingHost | ManagedHost) -> JumpHost | None:
        """The jump host for this host, or None if it is reached directly."""
        return choose_jump_host(host.address, host.jump_host, self.admin.jump_host)

    def managed_hosts(self) -> Iterator[tuple[Loc, ManagedHost]]:
        """The valid hosts of sources that are reached by SSH, with their places."""
        for index, source in enumerate(self.sources):
            yield from run_until_unknown(_managed_host(index, source))


def _managed_host(index: int, source: Source) -> Iterator[tuple[Loc, ManagedHost]]:
    if isinstance(source.host, ManagedHost):
        yield ("sources", index, "host"), source.host


def _with_user(source: Source, user: str) -> Source:
    for _, host in run_until_unknown(_managed_host(0, source)):
        if "user" not in host.model_fields_set:
            return source.model_copy(update={"host": host.model_copy(update={"user": user})})
    return source
