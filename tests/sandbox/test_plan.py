"""The pure parts: addresses, names, rules, policies."""

from __future__ import annotations

import fnmatch
import re
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.vault.identities.identity_policy import identity_policy
from sandbox.errors import SandboxError
from sandbox.plan import AddressPlan, SandboxMachine, machine_name, parse_network, ruleset, sandbox_id
from sandbox.policy import check_identity

PLAN = AddressPlan("0123abcd", IPv4Network("203.0.113.0/24"))
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
KEY, SECRET = "AKEY", "0123456789"


@given(st.integers(16, 27), st.integers(0, 2**32 - 1))
def test_every_host_has_its_own_address_within_the_network(length: int, base: int) -> None:
    plan = AddressPlan("0123abcd", IPv4Network((base >> (32 - length) << (32 - length), length)))
    hosts = [plan.gateway, plan.workstation, plan.storage, *(plan.address(slot) for slot in plan.slots[:300])]
    assert len(set(hosts)) == len(hosts) >= 10
    usable = (plan.network.network_address, plan.network.broadcast_address)
    assert all(host in plan.network and host not in usable for host in hosts)
    assert plan.address(plan.slots[-1]) < plan.network.broadcast_address


def test_a_full_network_refuses_another_machine() -> None:
    plan = AddressPlan("0123abcd", IPv4Network("203.0.113.0/27"))
    assert plan.first_free([0, 1, 3]) == 2
    with pytest.raises(SandboxError, match="no address left"):
        plan.address(plan.first_free(plan.slots))


@given(st.text(max_size=60) | st.text("ab-0\n", max_size=5) | NAMES)
def test_only_names_suitable_for_a_host_are_accepted(text: str) -> None:
    fits = set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and 1 <= len(text) <= 40
    if fits and text[0].isalpha() and text[-1] != "-":
        assert machine_name(text) == text
    else:
        with pytest.raises(SandboxError, match="fix:"):
            machine_name(text)


@given(NAMES, NAMES)
def test_no_machine_can_take_the_namespace_of_another_part(one: str, other: str) -> None:
    fixed = {PLAN.router_ns, PLAN.storage_ns}
    assert PLAN.machine_ns(machine_name(one)) not in fixed
    assert (PLAN.machine_ns(one) == PLAN.machine_ns(other)) == (one == other)
    assert len(PLAN.link) <= 15
    assert all(len(PLAN.leg(slot)) <= 15 for slot in (0, PLAN.slots[-1]))


@pytest.mark.parametrize("text", ["", "x", "203.0.113.1/24", "203.0.113.0/28", "10.0.0.0/8", "2001:db8::/32"])
def test_an_unsuitable_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SandboxError, match=r"198\.51\.100\.0/24"):
        parse_network(text)


def test_two_folders_have_different_ids() -> None:
    assert sandbox_id(Path("/a")) != sandbox_id(Path("/b"))
    assert re.fullmatch(r"[0-9a-f]{8}", sandbox_id(Path("/a")))


def test_the_rules_admit_three_directions_and_refuse_the_rest() -> None:
    machines = [
        SandboxMachine("db1", "source", 2),
        SandboxMachine("relay", "relay", 0),
        SandboxMachine("web1", "source", 1),
    ]
    accepted = [
        line.strip() for line in ruleset(PLAN, machines).splitlines() if line.strip().endswith("accept")
    ]
    assert accepted == [
        "ct state established,related accept",
        'iifname "host" ip saddr 203.0.113.2 icmp type echo-request accept',
        "ct state established,related accept",
        'iifname "host" ip saddr 203.0.113.2 ip daddr { 203.0.113.10, 203.0.113.11, 203.0.113.12 } accept',
        'iifname "m0" ip saddr 203.0.113.10 ip daddr 203.0.113.3 accept',
        'iifname "m1" ip saddr 203.0.113.11 ip daddr { 203.0.113.10 } accept',
        'iifname "m2" ip saddr 203.0.113.12 ip daddr { 203.0.113.10 } accept',
    ]


@given(st.lists(NAMES, unique=True, max_size=12), st.randoms())
def test_the_rules_depend_only_on_the_machines(names: list[str], random: object) -> None:
    machines = [
        SandboxMachine(name, "relay" if slot == 0 else "source", slot) for slot, name in enumerate(names)
    ]
    shuffled = list(machines)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ruleset(PLAN, machines) == ruleset(PLAN, shuffled)


def allowed(action: str, key: str) -> bool:
    """Whether the policy of prefix web1/ lets `action` act on an object."""
    return {"Allow"} == {
        statement["Effect"]
        for statement in identity_policy("backups", "web1/")["Statement"]
        if action in statement["Action"]
        and any(fnmatch.fnmatchcase(f"arn:aws:s3:::backups/{key}", p) for p in statement["Resource"])
    }


@given(
    st.sampled_from(["data/ab/cdef", "index/01", "snapshots/02", "keys/03", "config"]),
    st.sampled_from(["g1/", "a/g2/"]),
)
def test_the_policy_never_lets_a_source_delete_a_repository_file(file: str, repository: str) -> None:
    assert allowed("s3:GetObject", f"web1/{repository}{file}")
    assert allowed("s3:PutObject", f"web1/{repository}{file}")
    assert not allowed("s3:DeleteObject", f"web1/{repository}{file}")
    assert allowed("s3:DeleteObject", f"web1/{repository}locks/04")


@given(NAMES.filter(lambda name: name != "web1"))
def test_the_policy_never_reaches_another_prefix(other: str) -> None:
    assert not any(allowed(f"s3:{verb}Object", f"{other}/locks/1") for verb in ("Get", "Put", "Delete"))


def test_the_policy_contains_no_action_that_changes_versions_retention_or_the_bucket() -> None:
    actions = {
        action
        for statement in identity_policy("backups", "web1/")["Statement"]
        for action in statement["Action"]
    }
    assert actions == {
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetBucketLocation",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketVersioning",
        "s3:GetLifecycleConfiguration",
        "s3:GetObject",
        "s3:GetObjectRetention",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:PutObject",
    }


def test_all_errors_of_an_invalid_identity_are_reported_at_once_without_the_secret() -> None:
    with pytest.raises(SandboxError) as caught:
        check_identity("web*/", "a b", "short", {"db1": "db1/"})
    text = str(caught.value)
    assert all(option in text for option in ("--prefix", "--access-key", "secret key on stdin"))
    assert "short" not in text


@pytest.mark.parametrize(
    "prefix", ["", "/", "web1", "*/", "../", "a//", "we?b/", "ok/../", "${aws:username}/"]
)
def test_a_prefix_that_could_match_others_is_refused(prefix: str) -> None:
    with pytest.raises(SandboxError, match="--prefix"):
        check_identity(prefix, KEY, SECRET, {})


@pytest.mark.parametrize("prefix", ["web1/", "web1/a/"])
def test_a_prefix_that_overlaps_another_source_is_refused(prefix: str) -> None:
    with pytest.raises(SandboxError, match="overlaps"):
        check_identity(prefix, KEY, SECRET, {"other": "web1/"})
    check_identity("web10/", KEY, SECRET, {"other": "web1/"})
