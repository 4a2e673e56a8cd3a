"""HardenedSshd: who may log in to the relay, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.host.configured_host import secret
from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.relay.sshd.sshd_config import (
    SecondFactor,
    SshdPlan,
    drop_in,
    expected_of_everyone,
    expected_of_sources,
    people_keys,
)
from components.settings import Person


@dataclass(frozen=True, kw_only=True)
class HardenedSshdArgs:
    """``listen_port`` is the port on which sshd listens, which may differ from the engine's behind a tunnel or a port mapping.

    ``trusted_networks`` (CIDR) are never banned for failed logins: for monitoring, or for an address that many sources share.
    ``guard_seconds``: how long a new configuration stays in force before a fresh login must have confirmed it.
    """

    host: Host
    admin_user: pulumi.Input[str]
    second_factor: SecondFactor = "none"
    listen_port: int = 22
    people: Sequence[Person] = ()
    trusted_networks: Sequence[str] = ()
    guard_seconds: int = 120


class HardenedSshd(pulumi.ComponentResource):
    """Only keys open the relay; a source's key starts one program; a configuration that locks the admin out is rolled back (S1, S2, A3, A6).

    Pulumi type ``lastcopy:relay:HardenedSshd``. Children: ``<name>-people`` (HostStep second_factor; only with people),
    ``<name>-config`` and ``<name>-confirm`` (HostStep sshd). Before the configuration is live, ``sshd -t`` checks it, and ``sshd -T`` must show the
    intended settings for the admin and for a source. The confirm step is a fresh login; without it the host rolls back by
    itself, even across a reboot.
    Output: ``facts`` (openssh, debian). Use the relay only after this component.
    Refuses: anything except Debian 12+ with OpenSSH 9.2+, other settings that would take precedence, an admin without a usable key.
    Does not protect against an operator's stolen key unless a second factor is enabled, nor against root on the relay (see R rows).
    """

    facts: pulumi.Output[dict[str, str]]

    def __init__(self, name: str, args: HardenedSshdArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "lastcopy:relay:HardenedSshd",
            name,
            {
                "secondFactor": args.second_factor,
                "listenPort": args.listen_port,
                "people": [p.name for p in args.people],
            },
            opts,
        )

        values = _step_values(args)
        config = HostStep(
            f"{name}-config",
            HostStepArgs(host=args.host, script="sshd", values={**values, "PHASE": "apply"}, undo=True),
            pulumi.ResourceOptions(parent=self, depends_on=self._create_people(name, args)),
        )
        confirm = HostStep(
            f"{name}-confirm",
            HostStepArgs(host=args.host, script="sshd", values={**values, "PHASE": "confirm"}),
            pulumi.ResourceOptions(parent=self, depends_on=[config]),
        )
        self.facts = confirm.facts
        self.register_outputs({"facts": self.facts})

    def _create_people(self, name: str, args: HardenedSshdArgs) -> list[HostStep]:
        if not args.people:
            return []
        people = sorted(args.people, key=lambda person: person.name)
        keys = people_keys({person.name: person.public_keys for person in people}, args.second_factor)
        values = {
            "PEOPLE": "".join(f"{person.name}\n" for person in people),
            "KEYS": "".join(keys[person.name] for person in people),
            "FACTOR": args.second_factor,
        }
        secrets = {
            f"TOTP_{number}": "" if person.totp_secret is None else secret(person.totp_secret)
            for number, person in enumerate(people)
        }
        return [
            HostStep(
                f"{name}-people",
                HostStepArgs(
                    host=args.host, script="second_factor", values=values, secrets=secrets, undo=True
                ),
                pulumi.ResourceOptions(parent=self),
            )
        ]


def _step_values(args: HardenedSshdArgs) -> dict[str, pulumi.Input[str]]:
    """The public values of the step sshd, without its phase."""

    def texts(admin_user: str) -> Mapping[str, str]:
        plan = SshdPlan(
            admin_user=admin_user,
            second_factor=args.second_factor,
            listen_port=args.listen_port,
            trusted_networks=args.trusted_networks,
        )
        return {
            "DROPIN_92": drop_in(plan, "9.2"),
            "DROPIN_100": drop_in(plan, "10.0"),
            "EXPECT_92": expected_of_everyone(plan, "9.2"),
            "EXPECT_100": expected_of_everyone(plan, "10.0"),
            "EXPECT_SOURCES": expected_of_sources(),
        }

    known = pulumi.Output.from_input(args.admin_user).apply(texts)
    return {
        "ADMIN": args.admin_user,
        "FACTOR": args.second_factor,
        "HOST_KEY": args.host.host_key,
        "GUARD_SECONDS": str(args.guard_seconds),
        **{name: known[name] for name in texts("root")},
    }
