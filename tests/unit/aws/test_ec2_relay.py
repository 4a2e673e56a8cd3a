"""The relay's machine on AWS as the engine sees it: who may reach it, its user data, what a new generation changes (A1, A5, A7)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import pulumi
import pytest
import yaml

from components.aws.ec2_relay import Ec2Relay, Ec2RelayArgs
from components.aws.first_host_key import first_key
from components.relay.firewall.relay_firewall import RelayFirewall, RelayFirewallArgs
from components.relay.sshd.hardened_sshd import HardenedSshd, HardenedSshdArgs
from tests.unit.recording import SAMPLE_KEY, Graph, Recorded, Secret, record
from tests.unit.relay.test_components import S3, sent
from tests.unit.stacks import before

ARGS = Ec2RelayArgs(
    region="eu-central-1",
    generation=1,
    instance_type="t4g.small",
    architecture="arm64",
    disk_gib=16,
    admin_public_key=SAMPLE_KEY,
    admins_from=("203.0.113.0/24",),
    sources_from=("198.51.100.0/24", "192.0.2.0/24"),
    network="10.77.0.0/24",
    purpose="production",
    private_key="PRIVATE",
)
SEED = "generated-for-relay-vm-seed-g1".ljust(64, "x")
VM, KEY, GONE = "relay-vm-vm-g1", "relay-vm-host-key-command", "relay-vm-first-key-gone-command"


@cache
def made(**changes: Any) -> Graph:
    """The machine, and the two steps that every relay has, so that dependencies on it are seen as well."""

    def program() -> None:
        relay = Ec2Relay("relay-vm", replace(ARGS, **changes))
        sshd = HardenedSshd("sshd", HardenedSshdArgs(host=relay.host, admin_user=relay.host.user))
        RelayFirewall(
            "firewall",
            RelayFirewallArgs(host=relay.host, vault=S3),
            pulumi.ResourceOptions(depends_on=[sshd]),
        )
        pulumi.export("seen", list(relay.seen_by_sources))
        pulumi.export("host", {"address": relay.host.address, "port": relay.host.port})
        pulumi.export("instance", relay.instance_id)

    return record(program)


def base() -> Graph:
    """As the example asks for it."""
    return made()


def told(graph: Graph, name: str = VM) -> dict[str, Any]:
    """The user data, read as cloud-init reads it."""
    text = graph.named(name).inputs["userData"]
    assert isinstance(text, Secret), "the first host key is a secret until the handover"
    config: dict[str, Any] = yaml.safe_load(text.value)
    return config


def connection(step: Recorded) -> dict[str, Any]:
    given = step.inputs["connection"]
    given = given.value if isinstance(given, Secret) else given
    return {key: value.value if isinstance(value, Secret) else value for key, value in given.items()}


# the machine


def test_the_machine_is_as_configured_and_safe() -> None:
    inputs = dict(base().named(VM).inputs)
    inputs.pop("userData")
    assert inputs == {
        "ami": "ami-newest",
        "instanceType": "t4g.small",
        "subnetId": "relay-vm-network-subnet-id",
        "vpcSecurityGroupIds": ["relay-vm-doors-id"],
        "associatePublicIpAddress": True,
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
            "httpProtocolIpv6": "disabled",
            "instanceMetadataTags": "disabled",
        },
        "rootBlockDevice": {
            "volumeType": "gp3",
            "volumeSize": 16,
            "encrypted": True,
            "deleteOnTermination": True,
            "tags": {"Name": "lastcopy-local-relay-vm"},
        },
        "maintenanceOptions": {"autoRecovery": "default"},
        "instanceInitiatedShutdownBehavior": "stop",
        "disableApiTermination": True,
        "forceDestroy": True,
        "userDataReplaceOnChange": False,
        "tags": {"Name": "lastcopy-local-relay-vm"},
    }


def test_the_newest_debian_image_is_chosen_once_and_a_named_image_always() -> None:
    assert base().invokes == [
        (
            "aws:ec2/getAmi:getAmi",
            {
                "owners": ["136693071363"],
                "mostRecent": True,
                "filters": [
                    {"name": "name", "values": ["debian-13-arm64-*"]},
                    {"name": "architecture", "values": ["arm64"]},
                    {"name": "virtualization-type", "values": ["hvm"]},
                    {"name": "root-device-type", "values": ["ebs"]},
                ],
            },
        )
    ]
    assert set(base().named(VM).ignore_changes) == {"userData", "associatePublicIpAddress", "ami"}
    named = made(ami="ami-0123456789abcdef0", architecture="amd64", instance_type="t3.small")
    assert named.invokes == []
    assert named.named(VM).inputs["ami"] == "ami-0123456789abcdef0"
    assert set(named.named(VM).ignore_changes) == {"userData", "associatePublicIpAddress"}
    other = made(architecture="amd64", instance_type="t3.small").invokes[0][1]["filters"]
    assert [one["values"] for one in other][:2] == [["debian-13-amd64-*"], ["x86_64"]]


def test_nothing_is_created_before_the_network_that_it_needs() -> None:
    earlier = before(base(), VM)
    assert {"relay-vm-network-association", "relay-vm-network-gateway", "relay-vm-network-s3"} <= earlier


def test_production_is_protected_and_a_test_stack_is_not() -> None:
    """`destroy` stops at the address; the machine itself must be replaceable in one run."""
    assert [r.name for r in base() if r.protect] == ["relay-vm-address"]
    test = made(purpose="test")
    assert [r.name for r in test if r.protect] == []
    assert test.named(VM).inputs["disableApiTermination"] is False
    assert test.named(VM).inputs["forceDestroy"] is False


# its network


def test_its_own_network_has_one_public_subnet_and_keeps_s3_traffic_inside() -> None:
    by = {
        r.name.removeprefix("relay-vm-network-"): r.inputs
        for r in base()
        if r.name.startswith("relay-vm-network")
    }
    assert by["vpc"]["cidrBlock"] == by["subnet"]["cidrBlock"] == "10.77.0.0/24"
    assert by["vpc"]["enableDnsSupport"] is True
    assert by["subnet"]["mapPublicIpOnLaunch"] is False
    assert by["routes"]["routes"] == [{"cidrBlock": "0.0.0.0/0", "gatewayId": "relay-vm-network-gateway-id"}]
    assert by["association"] == {
        "subnetId": "relay-vm-network-subnet-id",
        "routeTableId": "relay-vm-network-routes-id",
    }
    assert by["s3"]["serviceName"] == "com.amazonaws.eu-central-1.s3"
    assert by["s3"]["vpcEndpointType"] == "Gateway"
    assert by["s3"]["routeTableIds"] == ["relay-vm-network-routes-id"]
    assert (by["default"]["ingress"], by["default"]["egress"]) == ([], [])
    assert {by[name]["vpcId"] for name in ("subnet", "gateway", "routes", "s3", "default")} == {
        "relay-vm-network-vpc-id"
    }


def test_a_given_subnet_is_used_and_no_network_is_made() -> None:
    graph = made(network=None, subnet="subnet-0123456789abcdef0")
    assert not [r.name for r in graph if "network" in r.name]
    assert graph.named(VM).inputs["subnetId"] == "subnet-0123456789abcdef0"
    assert graph.named("relay-vm-doors").inputs["vpcId"] == "vpc-given"
    assert ("aws:ec2/getSubnet:getSubnet", {"id": "subnet-0123456789abcdef0"}) in graph.invokes


@pytest.mark.parametrize(
    ("changes", "networks"),
    [
        ({}, ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]),
        ({"admins_from": ("198.51.100.0/24",)}, ["192.0.2.0/24", "198.51.100.0/24"]),
        ({"operators_by": "ssm"}, ["192.0.2.0/24", "198.51.100.0/24"]),
        ({"operators_by": "ssm", "admins_from": ()}, ["192.0.2.0/24", "198.51.100.0/24"]),
    ],
)
def test_only_the_given_networks_reach_port_22_and_nothing_else_is_open(
    changes: dict[str, Any], networks: list[str]
) -> None:
    group = made(**changes).named("relay-vm-doors").inputs
    assert group["ingress"] == [
        {"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": networks, "description": "SSH"}
    ]


def test_only_updates_and_storage_can_be_reached_from_it() -> None:
    out = made(storage_ports=(443, 9000)).named("relay-vm-doors").inputs["egress"]
    assert [(one["protocol"], one["fromPort"], one["toPort"]) for one in out] == [
        ("tcp", 80, 80),
        ("tcp", 443, 443),
        ("tcp", 9000, 9000),
    ]


# its user data


def test_the_user_data_has_its_first_host_key_and_the_admins_key_and_no_lasting_secret() -> None:
    config = told(base())
    assert config["ssh_keys"] == {
        "ecdsa_private": first_key(SEED).private,
        "ecdsa_public": first_key(SEED).public + "\n",
    }
    assert config["users"][0]["name"] == "admin"
    assert config["users"][0]["ssh_authorized_keys"] == [SAMPLE_KEY]
    assert config["ssh_deletekeys"] is True
    assert "runcmd" not in config
    text = base().named(VM).inputs["userData"].value
    assert SEED not in text
    assert "PRIVATE\n" not in text.replace("EC PRIVATE", "")


def test_a_seed_is_never_a_plain_input_or_output() -> None:
    everything = repr(
        [{k: v for k, v in r.inputs.items() if not isinstance(v, Secret)} for r in base()]
    ) + repr((base().outputs, base().exports))
    for secret in (SEED, *first_key(SEED).private.splitlines()[1:4], "PRIVATE"):
        assert secret not in everything


def test_with_ssm_the_agent_comes_from_the_regions_own_bucket_and_may_only_hold_sessions() -> None:
    graph = made(operators_by="ssm")
    assert any("amazon-ssm-eu-central-1/latest/debian_arm64/" in word for word in told(graph)["runcmd"][0])
    assert graph.named(VM).inputs["iamInstanceProfile"] == "relay-vm-profile-name"
    attached = graph.of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    assert [one.inputs["policyArn"] for one in attached] == [
        "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
    ]
    trust = json.loads(graph.named("relay-vm-role").inputs["assumeRolePolicy"])
    assert [s["Principal"] for s in trust["Statement"]] == [{"Service": "ec2.amazonaws.com"}]
    assert not [r.name for r in base() if r.type.startswith("aws:iam/")], "without SSM it has no role at all"


# first contact


def test_the_first_connection_is_pinned_to_the_first_key_and_all_later_ones_to_the_machines_own() -> None:
    assert connection(base().named(KEY))["hostKey"] == first_key(SEED).public
    later = [r for r in base().of_type("command:remote:Command") if r.name != KEY]
    assert len(later) == 5
    assert {connection(r)["hostKey"] for r in later} == {SAMPLE_KEY}, "the fact that the first step returned"
    assert {connection(r)["host"] for r in later} == {"203.0.113.50"}


def test_a_machine_that_returns_no_host_key_stops_the_run() -> None:
    def program() -> None:
        Ec2Relay("relay-vm", ARGS)

    with pytest.raises(Exception, match="not a public key"):
        record(program, facts={"public_key": first_key(SEED).public})


def test_the_first_key_is_removed_before_any_other_step_on_the_machine() -> None:
    assert {KEY, "relay-vm-reachable", VM, "relay-vm-address"} <= before(base(), GONE)
    assert GONE in before(base(), "sshd-config-command")
    assert "V_PHASE=make" in sent(base(), "relay-vm-host-key")
    assert "V_PHASE=retire" in sent(base(), "relay-vm-first-key-gone")
    assert f"V_BORN_WITH={first_key(SEED).public}" in sent(base(), "relay-vm-first-key-gone")


def test_the_first_connection_is_never_repeated_on_the_same_machine() -> None:
    """Its key is dead: a change of script, connection or key must not use it again. Only another machine does."""
    everything = set(base().named(KEY).inputs)
    assert everything - set(base().named(KEY).ignore_changes) == {"triggers"}
    others = [r for r in base().of_type("command:remote:Command") if r.name != KEY]
    assert all(r.ignore_changes == () for r in others)


def test_every_step_is_created_again_on_another_machine_and_never_undone_on_a_dead_one() -> None:
    steps = base().of_type("command:remote:Command")
    assert {json.dumps(r.inputs["triggers"]) for r in steps} == {json.dumps([f"{VM}-id"])}
    assert {r.deleted_with for r in steps} == {VM}


def test_the_first_connection_waits_for_the_boot() -> None:
    assert connection(base().named(KEY))["dialErrorLimit"] == 40
    assert connection(base().named(GONE))["dialErrorLimit"] == 4


# another generation


def test_a_new_generation_is_another_machine_with_another_first_key_at_the_same_address() -> None:
    second = made(generation=2)
    one, two = {r.name: r.inputs for r in base()}, {r.name: r.inputs for r in second}
    assert one.keys() - two.keys() == {VM, "relay-vm-seed-g1"}
    assert two.keys() - one.keys() == {"relay-vm-vm-g2", "relay-vm-seed-g2"}
    for kept in ("relay-vm-address", "relay-vm-doors", "relay-vm-network-subnet", "relay-vm-network-vpc"):
        assert one[kept] == two[kept]
    assert two["relay-vm-reachable"]["instanceId"] == "relay-vm-vm-g2-id"
    assert told(base())["ssh_keys"] != told(second, "relay-vm-vm-g2")["ssh_keys"]
    assert {json.dumps(r.inputs["triggers"]) for r in second.of_type("command:remote:Command")} == {
        '["relay-vm-vm-g2-id"]'
    }
    assert base().named("relay-vm-reachable").delete_before_replace


def test_the_addresses_for_sources_and_for_the_operator() -> None:
    assert base().exports["seen"] == ["203.0.113.50", 22]
    assert base().exports["host"] == {"address": "203.0.113.50", "port": 22}
    assert base().exports["instance"] == f"{VM}-id"
    ssm = made(operators_by="ssm")
    assert ssm.exports["seen"] == ["203.0.113.50", 22]
    assert ssm.exports["host"] == {"address": "127.0.0.1", "port": 2222}


def test_root_may_reach_instance_metadata_only_if_the_ssm_agent_needs_it() -> None:
    closed = re.compile(r"^    ip daddr 169\.254\.169\.254 counter reject", re.M)
    assert closed.search(sent(base(), "firewall-rules"))
    open_ = sent(made(operators_by="ssm"), "firewall-rules")
    assert not closed.search(open_)
    for rules in (sent(base(), "firewall-rules"), open_):
        assert "ip daddr 169.254.0.0/16 counter reject" in rules.split("chain of_sources")[1].split("}")[0]


# alarms


class TestAlarms:
    WATCHED: ClassVar = {
        "relay-vm-recovery": ("StatusCheckFailed_System", "recover"),
        "relay-vm-restart": ("StatusCheckFailed_Instance", "reboot"),
    }

    @pytest.mark.parametrize("name", WATCHED)
    def test_the_machine_recovers_automatically(self, name: str) -> None:
        inputs = base().named(name).inputs
        metric, action = self.WATCHED[name]
        assert (inputs["namespace"], inputs["metricName"]) == ("AWS/EC2", metric)
        assert inputs["dimensions"] == {"InstanceId": f"{VM}-id"}
        assert inputs["alarmActions"] == [f"arn:aws:automate:eu-central-1:ec2:{action}"]
        assert inputs["okActions"] == []
        assert (inputs["threshold"], inputs["comparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
        assert not base().of_type("aws:sns/topic:Topic")

    def test_a_person_is_notified_if_an_address_is_given(self) -> None:
        graph = made(alarm_email="ops@example.com")
        topic = "arn:aws:sns:eu-central-1:123456789012:relay-vm-alarms"
        mail = graph.named("relay-vm-alarms-mail").inputs
        assert mail == {"topic": topic, "protocol": "email", "endpoint": "ops@example.com"}
        for name in self.WATCHED:
            assert graph.named(name).inputs["alarmActions"][1:] == [topic]
            assert graph.named(name).inputs["okActions"] == [topic]
