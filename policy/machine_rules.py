"""Rules about the relay's machine, its network, and the steps that reach hosts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policy.bucket_rules import BUCKET, is_test_vault
from policy.graph import UNKNOWN, Graph, GraphRule, Node, NodeRule, Rule, reveal

INSTANCE = "aws:ec2/instance:Instance"
ADDRESS = "aws:ec2/eip:Eip"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
OLD_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
REMOTE = "command:remote:Command"
SSH = 22
# The reason is in the rule's own description, which the cloud console shows as well.
REASON = re.compile(r"open to all because .{10,}", re.IGNORECASE | re.DOTALL)
# ed25519, or ECDSA for the first connection to a new machine.
HOST_KEY = re.compile(r"(?:ssh-ed25519|ecdsa-sha2-nistp256) [A-Za-z0-9+/]{60,}={0,2}(?: .*)?\Z")


def _list(value: Any) -> list[Any]:
    value = reveal(value)
    return [] if value is None else [reveal(one) for one in (value if isinstance(value, list) else [value])]


def _openings(node: Node) -> Iterator[tuple[list[Any], Any, Any, Any, str]]:
    """What a firewall rule lets in: networks, first and last port, protocol, description."""
    if node.type == INGRESS:
        networks = [*_list(node.get("cidrIpv4")), *_list(node.get("cidrIpv6"))]
        yield (
            networks,
            node.get("fromPort"),
            node.get("toPort"),
            node.get("ipProtocol"),
            _word(node.get("description")),
        )
    elif node.type == OLD_RULE and node.get("type") == "ingress":
        networks = [*_list(node.get("cidrBlocks")), *_list(node.get("ipv6CidrBlocks"))]
        yield (
            networks,
            node.get("fromPort"),
            node.get("toPort"),
            node.get("protocol"),
            _word(node.get("description")),
        )
    elif node.type == GROUP:
        for rule in _list(node.get("ingress")):
            if not isinstance(rule, Mapping):
                yield [UNKNOWN], None, None, None, ""
                continue
            networks = [*_list(rule.get("cidrBlocks")), *_list(rule.get("ipv6CidrBlocks"))]
            first, last = reveal(rule.get("fromPort")), reveal(rule.get("toPort"))
            yield networks, first, last, reveal(rule.get("protocol")), _word(rule.get("description"))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _speaks_of_ssh(first: Any, last: Any, protocol: Any) -> bool:
    if str(protocol) not in ("tcp", "6", "-1", "all", "None"):
        return False
    if (
        not isinstance(first, int | float)
        or not isinstance(last, int | float)
        or str(protocol) in ("-1", "all")
    ):
        return True  # no ports, or unknown ones: all of them
    return first <= SSH <= last or first == last == 0


def _world(network: Any) -> bool:
    """Whether a network is the whole Internet or a large part of it: from a /7 on, as in the settings."""
    if network is UNKNOWN:
        return True
    address, _, size = str(network).partition("/")
    return not size.isdecimal() or int(size) < (16 if ":" in address else 8)


def _world_open_ssh(node: Node) -> Iterator[str]:
    for networks, first, last, protocol, description in _openings(node):
        if (
            _speaks_of_ssh(first, last, protocol)
            and any(map(_world, networks))
            and not REASON.search(description)
        ):
            yield (
                "opens SSH to the whole Internet; narrow adminsFrom and sourcesFrom, or give openToAllBecause, which the "
                "rule's description must repeat: open to all because …"
            )


def _metadata(node: Node) -> Iterator[str]:
    if node.type != INSTANCE or node.get("metadataOptions", "httpEndpoint") == "disabled":
        return
    if node.get("metadataOptions", "httpTokens") != "required":
        yield "metadataOptions.httpTokens must be required: IMDSv1 answers anybody who can make the host fetch a page"
    if node.get("metadataOptions", "httpPutResponseHopLimit") != 1:
        yield "metadataOptions.httpPutResponseHopLimit is not 1"


def _disk(node: Node) -> Iterator[str]:
    if node.type == INSTANCE:
        if node.get("rootBlockDevice", "encrypted") is not True:
            yield "rootBlockDevice.encrypted is not true"
        for number, device in enumerate(_list(node.get("ebsBlockDevices"))):
            if not isinstance(device, Mapping) or reveal(device.get("encrypted")) is not True:
                yield f"ebsBlockDevices[{number}].encrypted is not true"


def _machine_stays(graph: Graph) -> Iterator[tuple[Node, str]]:
    """A stack is a test stack if all its vaults are. The machine itself may be replaced, so its address is what must be protected."""
    vaults = [one for one in graph if one.type == BUCKET]
    if vaults and all(is_test_vault(graph, one) for one in vaults):
        return
    for node in graph:
        if node.type == INSTANCE and node.get("disableApiTermination") is not True:
            yield node, "disableApiTermination is not true; production needs lastcopy:protect: true"
        if node.type == ADDRESS and not node.protect:
            yield node, "is not protected; production needs lastcopy:protect: true"


def _pinned(node: Node) -> Iterator[str]:
    if node.type != REMOTE:
        return
    # A jump host is connected to like any other host, so it must be pinned as well.
    proxied = node.get("connection", "proxy")
    for where in [("connection",), *([("connection", "proxy")] if proxied is not None else [])]:
        key = node.get(*where, "hostKey")
        if key is not UNKNOWN and not (isinstance(key, str) and HOST_KEY.match(key.strip())):
            yield f"{'.'.join(where)}.hostKey must be an ed25519 or ECDSA key: without one any host would be trusted"
    if node.get("addPreviousOutputInEnv") is not False:
        yield "addPreviousOutputInEnv must be false: otherwise output is sent in the environment"
    if node.get("environment"):
        yield "environment must not be set: it needs AcceptEnv on the host and can be read there"


RULES: tuple[Rule, ...] = (
    NodeRule(
        name="no-world-open-ssh",
        promise="SSH is open to the whole Internet only if the stack says why.",
        check=_world_open_ssh,
    ),
    NodeRule(
        name="metadata-v2",
        promise="Instance metadata needs a token and cannot leave the host.",
        check=_metadata,
    ),
    NodeRule(name="disks-encrypted", promise="Disks are encrypted.", check=_disk),
    GraphRule(
        name="machine-stays",
        promise="A production machine refuses termination, and its address is protected.",
        check=_machine_stays,
    ),
    NodeRule(
        name="steps-pinned",
        promise="Remote steps connect to a pinned host key and put nothing into the environment.",
        check=_pinned,
    ),
)
