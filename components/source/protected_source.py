"""ProtectedSource: everything that one source has, on its host and on the relay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.host.host_tool import HostTool, HostToolArgs
from components.relay.service.rclone_remote import RcloneRemote
from components.settings import Source
from components.source.enrolment.enrolment_script import enrolment_script
from components.source.enrolment.source_enrolment import RelayEndpoint, SourceEnrolment, SourceEnrolmentArgs
from components.source.repository.restic_repository import ResticRepository, ResticRepositoryArgs
from components.source.schedule.backup_schedule import BackupSchedule, BackupScheduleArgs

# Of a source without SSH access, in the form of Host.summary.
_UNREACHED = dict.fromkeys(("address", "port", "user", "hostKey", "jumpHost"))


@dataclass(frozen=True, kw_only=True)
class ProtectedSourceArgs:
    """``host``: None if the admin cannot reach it."""

    source: Source
    host: Host | None
    relay: RcloneRemote
    relay_endpoint: RelayEndpoint
    protect: bool = False


class ProtectedSource(pulumi.ComponentResource):
    """One source backs up into its own repository, which it can fill but not destroy (S1 to S7).

    Pulumi type ``lastcopy:source:ProtectedSource``. Children: ``<name>-restic`` (HostTool),
    ``<name>-enrolment`` (SourceEnrolment), ``<name>-repository`` (ResticRepository), ``<name>-schedule``
    (BackupSchedule), ``<name>-cutoff`` (HostStep, removed first). An unmanaged source has no tool and no schedule. All names are derived from the
    source's, so adding, removing or changing one source touches no other.
    Outputs: ``public_key``, ``repository_id``, ``key_id`` (None for an unmanaged source), ``password``
    (secret), ``enrolment_script`` (secret; None for a managed source), ``summary`` (what may be public).
    Does not protect what the source sends from now on: root there chooses what it backs up.
    """

    public_key: pulumi.Output[str]
    password: pulumi.Output[str]
    repository_id: pulumi.Output[str | None]
    key_id: pulumi.Output[str | None]
    enrolment_script: pulumi.Output[str] | None = None
    summary: pulumi.Output[dict[str, object]]

    def __init__(
        self, name: str, args: ProtectedSourceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("lastcopy:source:ProtectedSource", name, {"source": args.source.name}, opts)
        self._name, self._args = name, args
        child = pulumi.ResourceOptions(parent=self)
        tools = []
        if args.host is not None:
            tools.append(HostTool(f"{name}-restic", HostToolArgs(host=args.host, tool="restic"), child))
        enrolment = SourceEnrolment(
            f"{name}-enrolment",
            SourceEnrolmentArgs(
                source=args.source, host=args.host, relay=args.relay, relay_endpoint=args.relay_endpoint
            ),
            child,
        )
        repository = ResticRepository(
            f"{name}-repository",
            ResticRepositoryArgs(
                source=args.source, host=args.host, protect=args.protect, after=[*tools, enrolment]
            ),
            child,
        )
        if args.host is None:
            self._create_cutoff([enrolment, repository])
        else:
            schedule = BackupSchedule(
                f"{name}-schedule",
                BackupScheduleArgs(source=args.source, host=args.host),
                pulumi.ResourceOptions(parent=self, depends_on=[repository]),
            )
            self._create_cutoff([schedule])  # made after all the others
        self._set_outputs(enrolment, repository)

    def _create_cutoff(self, after: Sequence[pulumi.Resource]) -> None:
        """Created last, so removed first: the key is revoked before any step connects to the source, which may be dead or hostile (S11)."""
        values = {"SOURCE": self._args.source.name}
        HostStep(
            f"{self._name}-cutoff",
            HostStepArgs(host=self._args.relay.host, script="cutoff", values=values, undo=True),
            pulumi.ResourceOptions(parent=self, depends_on=after),
        )

    def _set_outputs(self, enrolment: SourceEnrolment, repository: ResticRepository) -> None:
        source, host = self._args.source, self._args.host
        self.public_key = enrolment.public_key
        self.password = repository.password
        self.repository_id = repository.repository_id
        self.key_id = repository.key_id
        if host is None:
            client = self._args.relay_endpoint.client(source)
            self.enrolment_script = pulumi.Output.secret(
                pulumi.Output.all(public_key=self.public_key, client=client, password=self.password).apply(
                    lambda known: enrolment_script(source, **known)
                )
            )
        self.summary = pulumi.Output.unsecret(
            pulumi.Output.all(
                managed=host is not None,
                publicKey=self.public_key,
                **(host.summary() if host is not None else _UNREACHED),
                repositoryId=self.repository_id,
                keyId=self.key_id,
                generation=source.generation,
                schedule=source.schedule,
                silentAfterHours=source.silent_hours,
                shrinkPercent=source.expect.shrink_percent,
            )
        )
        self.register_outputs(
            {
                "public_key": self.public_key,
                "repository_id": self.repository_id,
                "key_id": self.key_id,
                "password": self.password,
                "enrolment_script": self.enrolment_script,
            }
        )
