"""A relay, a source and a storage with only IPv6 addresses of the documentation range: every step, and a real backup through the chain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import toolchain
from sandbox import netns, network
from sandbox.certificates import make_certificates
from sandbox.storage_server import PORT
from tests.scripts.relay.chain import Chain
from tests.scripts.relay.conftest import IDENTITIES
from toolchain.checkout import ROOT

RELAY, ELSEWHERE = "2001:db8:77::10", "2001:db8:77::9"
LINK = "ipv6"
WEB1 = IDENTITIES["web1"]


class OverIPv6(Chain):
    """Connected to from the storage's network, which also contains the workstation and the source."""

    vantage = Path()

    def ssh_argv(self, user: str, key: Path, *options: str) -> list[str]:
        return ["nsenter", f"--net={self.vantage}", *super().ssh_argv(user, key, *options)]


@pytest.fixture
def wired(changing: Chain) -> Iterator[Chain]:
    """An IPv6 link between the relay and the storage's network; the relay loses its IPv4 address."""
    plan = changing.box.plan
    relay, storage = plan.machine_ns("relay"), plan.storage_ns
    network._ip(relay, "link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns", storage)
    try:
        for namespace, address in ((relay, RELAY), (storage, ELSEWHERE)):
            network._ip(namespace, "address", "add", f"{address}/64", "dev", LINK, "nodad")
            network._ip(namespace, "link", "set", LINK, "up")
        network._ip(relay, "-4", "address", "flush", "dev", "eth0")
        yield changing
    finally:
        network._ip(relay, "link", "delete", LINK)
        changing.box.driver.machine_wire(changing.box.machine("relay"))


@pytest.fixture
def over_ipv6(wired: Chain, tmp_path: Path) -> Iterator[Chain]:
    make_certificates(tmp_path, ELSEWHERE)
    vantage = netns.path(wired.box.plan.storage_ns)
    behind = (str(wired.box.plan.storage), str(PORT))
    front = [
        sys.executable,
        "-m",
        "tests.scripts.relay.tls_front",
        ELSEWHERE,
        str(PORT),
        *behind,
        str(tmp_path),
    ]
    with subprocess.Popen(
        ["nsenter", f"--net={vantage}", "--", *front], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline() == "listens\n"
            ca = (tmp_path / "ca.crt").read_text()
            storage = {**wired.storage, "endpoint": f"https://[{ELSEWHERE}]:{PORT}", "ca_certificate": ca}
            facts = {"relay": {**wired.relay_facts, "address": RELAY}, "storage": storage}
            made = OverIPv6(wired.box, facts, wired.keys)
            made.vantage = vantage
            yield made
        finally:
            process.stdin.close()


def test_a_chain_with_only_ipv6_addresses_passes_every_step_and_backs_up(
    over_ipv6: Chain, tmp_path: Path
) -> None:
    chain = over_ipv6
    assert chain.root("ip", "-4", "-o", "addr", "show", "scope", "global").stdout == ""
    for step in (
        chain.sshd(),
        chain.sshd("confirm"),
        chain.firewall(),
        chain.firewall("confirm"),
        chain.shared(),
        chain.storage_check("web1", WEB1),
        chain.entry("web1", identity=WEB1, generation=6, allowed_from=["2001:db8:77::/64"]),
    ):
        chain.apply(step)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(os.urandom(1 << 20))
    (tmp_path / "password").write_text("a-password-of-this-test")
    base = [
        str(toolchain.ensure("restic")["restic"].path),
        *("-o", f"rclone.program={chain.forced_line('web1')}", "-o", "rclone.args=serve", "-r", "rclone:"),
        *("--no-cache", "--password-file", str(tmp_path / "password")),
    ]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    for words in (
        ["init"],
        ["backup", str(tmp_path / "data")],
        ["restore", "latest", "--target", str(tmp_path / "back")],
    ):
        done = subprocess.run(
            [*base, *words], env=environ, capture_output=True, text=True, check=False, timeout=90
        )
        assert done.returncode == 0, done.stderr
    restored = tmp_path / "back" / (tmp_path / "data" / "file").relative_to("/")
    assert restored.read_bytes() == (tmp_path / "data" / "file").read_bytes()
    # S7: the storage's other ports stay closed to a source over IPv6 as well. Sabotage: if opened, the same connection reaches the host.
    as_source = ("setpriv", "--reuid=bk-web1", "--regid=lastcopy-sources", "--init-groups")
    dial = (*as_source, "bash", "-c", f"exec 3<>/dev/tcp/{ELSEWHERE}/{PORT + 1}")
    assert "Permission denied" in chain.root(*dial).stderr
    chain.sh(f"nft add element inet lastcopy looked_up6 {{ {ELSEWHERE} . {PORT + 1} }}")
    assert "Connection refused" in chain.root(*dial).stderr
