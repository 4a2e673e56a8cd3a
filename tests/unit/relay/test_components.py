"""The relay's components as the engine sees them: order, secrets, and what is undone."""

from __future__ import annotations

import base64
import dataclasses
import re

import pulumi
import pytest

from components.host.connection import Host
from components.relay.entry.relay_entry import RelayEntry, RelayEntryArgs
from components.relay.firewall.relay_firewall import RelayFirewall, RelayFirewallArgs
from components.relay.service.rclone_remote import RcloneRemote, RcloneRemoteArgs
from components.relay.sshd.hardened_sshd import HardenedSshd, HardenedSshdArgs
from components.settings import Limits, Person
from components.vault.vault_access import RcloneVault, S3Vault, StorageIdentity, Vault
from tests.unit.recording import SAMPLE_KEY, Graph, Secret, record
from tests.unit.stacks import before

S3 = S3Vault(
    endpoint="https://198.51.100.3:9000",
    region="us-east-1",
    bucket="backups",
    provider="Minio",
    lock_mode="COMPLIANCE",
    lock_minimum_days=30,
    ca_certificate="-----BEGIN CERTIFICATE-----\nx\n",
    identities={
        "web1": StorageIdentity(access_key_id="WEB1", secret_access_key="web1-very-secret"),
        "db1": StorageIdentity(access_key_id="DB1", secret_access_key="db1-very-secret"),
    },
)
REMOTE = RcloneVault(
    section="type = sftp\nhost = h\npass = obscured-secret\n",
    path="srv/backups",
    egress=("h.example.net:22",),
)


def host() -> Host:
    return Host(
        name="relay", address="198.51.100.10", host_key=SAMPLE_KEY, user="admin", private_key="PRIVATE"
    )


def after(earlier: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(depends_on=[earlier])


def relay(
    vault: Vault = S3,
    sources: tuple[str, ...] = ("web1",),
    facts: dict[str, str] | None = None,
    **changes: object,
) -> Graph:
    def program() -> None:
        on = host()
        person = Person.model_validate(
            {
                "name": "alice",
                "publicKeys": [SAMPLE_KEY],
                "totpSecret": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
            }
        )
        sshd = HardenedSshd("sshd", HardenedSshdArgs(host=on, admin_user="admin", people=(person,)))
        firewall = RelayFirewall("firewall", RelayFirewallArgs(host=on, vault=vault), after(sshd))
        shared = RcloneRemote("relay", RcloneRemoteArgs(host=on, vault=vault), after(firewall))
        for source in sources:
            args = {"generation": 1, "public_key": SAMPLE_KEY, "limits": Limits(), **changes}
            RelayEntry(f"{source}-entry", RelayEntryArgs(relay=shared, source=source, **args), after(shared))  # type: ignore[arg-type]

    return record(program, facts=facts)


def sent(graph: Graph, step: str) -> str:
    """Everything that a step sends, its values decoded."""
    stdin = graph.named(f"{step}-command").inputs["stdin"]
    assert isinstance(stdin, Secret)
    return re.sub(
        r"^V_([A-Z0-9_]+)=(.*)$",
        lambda found: f"V_{found[1]}={base64.b64decode(found[2]).decode()}",
        stdin.value,
        flags=re.M,
    )


def test_nothing_of_a_source_exists_before_sshd_firewall_and_wrapper_are_confirmed() -> None:
    earlier = before(relay(), "web1-entry-account-command")
    assert {
        "sshd-people-command",
        "sshd-config-command",
        "sshd-confirm-command",
        "firewall-rules-command",
        "firewall-confirm-command",
        "relay-rclone-install-command",
        "relay-shared-command",
        "web1-entry-storage-command",
    } <= earlier


def test_adding_a_source_changes_no_resource_of_another_or_of_the_relay() -> None:
    one = {r.name: r.inputs for r in relay(sources=("web1",))}
    two = {r.name: r.inputs for r in relay(sources=("web1", "db1"))}
    assert {name: two[name] for name in one} == one
    assert {name.split("-")[0] for name in two.keys() - one.keys()} == {"db1"}


@pytest.mark.parametrize(
    "change", [{"generation": 2}, {"limits": Limits(hours=2)}, {"allowed_from": ("203.0.113.0/24",)}]
)
def test_a_change_of_one_source_is_visible_in_the_preview_and_affects_only_that_source(
    change: dict[str, object],
) -> None:
    before = {r.name: r.inputs for r in relay(sources=("web1",))}
    after = {r.name: r.inputs for r in relay(sources=("web1",), **change)}
    differing = {name for name in before if before[name] != after[name]}
    own = {"web1-entry", "web1-entry-account", "web1-entry-account-command"}
    # Another repository is another place in the storage, which is proved as well; other limits are nothing to the storage.
    own |= {"web1-entry-storage", "web1-entry-storage-command"} if "generation" in change else set()
    assert differing <= own
    assert before["web1-entry-account"]["values"] != after["web1-entry-account"]["values"]


@pytest.mark.parametrize("vault", [S3, REMOTE], ids=["s3", "rclone"])
def test_no_secret_is_a_plain_input(vault: Vault) -> None:
    graph = relay(vault)
    everything = repr([{k: v for k, v in r.inputs.items() if not isinstance(v, Secret)} for r in graph])
    for secret in ("web1-very-secret", "obscured-secret", "PRIVATE", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"):
        assert secret not in everything
        assert base64.b64encode(secret.encode()).decode() not in everything


def test_a_sources_steps_contain_only_its_own_identity() -> None:
    graph = relay(sources=("web1", "db1"))
    assert "web1-very-secret" in sent(graph, "web1-entry-account")
    assert "db1-very-secret" not in sent(graph, "web1-entry-account") + sent(graph, "web1-entry-storage")
    assert "very-secret" not in sent(graph, "relay-shared") + sent(graph, "firewall-rules") + sent(
        graph, "sshd-config"
    )


def test_steps_are_undone_if_possible_and_a_confirmation_is_not() -> None:
    graph = relay()
    undone = {
        r.name.removesuffix("-command")
        for r in graph.of_type("command:remote:Command")
        if r.inputs.get("delete")
    }
    assert undone == {"sshd-people", "sshd-config", "firewall-rules", "relay-shared", "web1-entry-account"}


def test_a_remote_that_is_not_s3_has_no_storage_check_and_no_conditional_header() -> None:
    graph = relay(REMOTE)
    assert not [r.name for r in graph if r.name.endswith("-storage")]
    text = sent(graph, "web1-entry-account")
    assert "If-None-Match" not in text
    assert "[lastcopy]\ntype = sftp\n" in text
    assert "arg lastcopy:srv/backups/web1/g1/\n" in text


def test_a_new_key_is_given_time_and_an_existing_one_is_not() -> None:
    made = dataclasses.replace(S3.identities["web1"], settles_seconds=60)
    vault = dataclasses.replace(S3, identities={"web1": made})
    assert "\nV_PATIENCE=60\n" in sent(relay(vault), "web1-entry-storage")
    assert "\nV_PATIENCE=" not in sent(relay(), "web1-entry-storage")


def test_a_public_key_of_another_kind_stops_the_run() -> None:
    with pytest.raises(Exception, match="not a public key of the form"):
        relay(public_key="ssh-rsa AAAAB3NzaC1yc2E")


# ---- the storage step


def accepted(vault: S3Vault) -> str:
    values = relay(vault).named("web1-entry-storage").inputs["values"]
    return str(values["ACCEPTED"])


def test_the_storage_is_tried_with_the_arguments_of_a_session() -> None:
    graph = relay()
    values = graph.named("web1-entry-storage").inputs["values"]
    served = re.findall(r"^arg (.*)$", graph.named("web1-entry-account").inputs["values"]["SERVE"], re.M)
    assert values["ARGUMENTS"].splitlines() == served
    assert values["REPOSITORY"] == "web1/g1/"
    conf = re.search(r"^V_RCLONE_CONF=(.*?)^V_", sent(graph, "web1-entry-account"), re.M | re.S)
    assert conf is not None
    assert conf[1] in sent(graph, "web1-entry-storage")


def test_what_a_service_is_known_not_to_provide_stops_the_run_only_elsewhere() -> None:
    assert accepted(S3) == ""
    assert accepted(dataclasses.replace(S3, provider="AWS")) == ""
    assert accepted(dataclasses.replace(S3, provider="Other")) == "S5"  # not known to hold conditional writes
    assert accepted(dataclasses.replace(S3, provider="Ceph")) == "R5 R8 S5"
    assert accepted(dataclasses.replace(S3, provider="Versity")) == "R1 R2 R3"
    assert accepted(dataclasses.replace(S3, accepted_losses=("R4",))) == "R4"


def test_the_error_names_the_key_that_accepts_a_loss_and_a_shared_identity_is_not_tested_on_other_sources() -> (
    None
):
    plain = relay().named("web1-entry-storage").inputs["values"]
    assert not {"ACCEPT_BY", "SHARED", "PATIENCE"} & set(plain)
    shared = dataclasses.replace(S3, identities={}, shared_identity=S3.identities["web1"], accepted_losses=())
    values = relay(shared).named("web1-entry-storage").inputs["values"]
    assert (values["ACCEPT_BY"], values["SHARED"]) == ("lastcopy:storage.s3.acceptedLosses", "yes")


def test_losses_that_the_storage_step_accepts_are_a_warning_on_every_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, str]] = []
    for level in ("warn", "info"):
        monkeypatch.setattr(pulumi.log, level, lambda text, _, level=level: told.append((level, text)))
    relay(facts={"lock": "COMPLIANCE 30 days", "warning1": "takes a second write", "unseen1": "the lifecycle", "account": "bk-web1"})  # fmt: skip
    assert told == [("warn", "STORAGE: takes a second write"), ("info", "storage: not seen: the lifecycle")]
