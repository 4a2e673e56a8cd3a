"""S7, R7, A7: changes after the firewall was confirmed interrupt neither backups nor access: names, name servers, accounts, reboots, a VPN."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from components.host.program_texts import script_text
from sandbox import netns
from tests.sabotage import weaken
from tests.scripts.relay.chain import Chain
from tests.scripts.relay.test_firewall import NAMED, TIMER, fetch, resolve
from tests.scripts.relay.test_lockout import dials, nothing_guarded
from tests.scripts.relay.vpn import PORT, RELAY, vpn
from tests.waiting import wait_until

REFRESH = "/usr/local/lib/lastcopy/refresh-storage"


def reaches_storage(chain: Chain) -> bool:
    """Whether a source's process gets an answer at the storage's name; an untrusted certificate is an answer, too."""
    said = fetch(chain, f"{NAMED}/")
    return "certificate" in said.lower() or said.split()[0] != "000"


@pytest.fixture
def named(changing: Chain) -> Chain:
    """A relay that knows its storage by name, and has looked it up."""
    storage = changing.storage["endpoint"].removeprefix("https://").split(":")[0]
    resolve(changing, storage)
    try:
        changing.inside(changing.firewall(endpoint=NAMED))
        changing.inside(changing.firewall("confirm", endpoint=NAMED))
        changing.still(TIMER)
        assert reaches_storage(changing)
        yield changing  # type: ignore[misc]
    finally:
        changing.sh("rm -f /usr/sbin/getent")


def a_day_later(chain: Chain) -> None:
    """Remove what the timer did not renew from the set."""
    chain.sh("nft flush set inet lastcopy looked_up4; nft flush set inet lastcopy looked_up6")


def test_name_servers_that_are_down_for_days_do_not_stop_backups(named: Chain) -> None:
    resolve(named)
    named.sh(REFRESH)
    a_day_later(named)
    named.sh(REFRESH)
    assert reaches_storage(named)


def hanging(chain: Chain) -> None:
    """Name servers that do not answer, as before the network is up."""
    fake = '#!/bin/sh\n[ "$1 $2" = "-s dns" ] || exec /usr/bin/getent "$@"\nexec sleep 300\n'
    chain.root("sh", "-c", "cat >/usr/sbin/getent; chmod 755 /usr/sbin/getent", stdin=fake)


def test_after_a_reboot_the_storage_is_reached_before_any_name_server_answers(named: Chain) -> None:
    """And sshd does not wait for one. cloud-init has written /etc/hosts again."""
    hanging(named)
    named.sh(
        "sed -i '/^# lastcopy storage: begin/,/^# lastcopy storage: end/d' /etc/hosts; systemctl start lastcopy-storage.timer"
    )
    named.box.machine_restart("relay")
    assert dials(named)
    assert reaches_storage(named)


@contextmanager
def name_server(namespace: str, address: str, answer: str) -> Iterator[list[str]]:
    """A name server with one address for every name; yields the names that it was asked for."""
    asked: list[str] = []

    class Answers(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, back = self.request
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode())
                at += 1 + query[at]
            kind, question = query[at + 1 : at + 3], query[12 : at + 5]
            asked.append(".".join(labels))
            known = kind == b"\0\1"  # A
            record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(answer) if known else b""
            back.sendto(
                query[:2] + b"\x81\x80\0\1" + bytes([0, known]) + bytes(4) + question + record,
                self.client_address,
            )

    with netns.inside(namespace):
        server = socketserver.UDPServer((address, 53), Answers)
    with server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield asked
        finally:
            server.shutdown()
            serving.join()


def test_dhcp_leases_are_renewed_and_a_new_name_server_is_used(named: Chain) -> None:
    """Nothing in the rules depends on the relay's own address or on a certain name server."""
    relay, plan = named.relay_facts["address"], named.box.driver.plan
    storage, moved = str(plan.storage), "198.51.100.202"
    assert relay not in named.sh("nft list table inet lastcopy")
    with ExitStack() as opened:

        def udp(namespace: str, address: str, port: int) -> socket.socket:
            with netns.inside(namespace):
                made = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                made.bind((address, port))
            made.settimeout(5)
            return made

        client, other = (udp(plan.machine_ns("relay"), relay, port) for port in (68, 69))
        server = udp(plan.storage_ns, storage, 67)
        client.sendto(b"renew", (storage, 67))
        assert server.recv(64) == b"renew"
        # To the kernel a DHCP offer is not an answer, because it was requested by broadcast. Nothing else may come in like that.
        neighbour = udp(plan.router_ns, str(plan.gateway), 67)
        neighbour.sendto(b"refused", (relay, 69))
        neighbour.sendto(b"offer", (relay, 68))
        assert client.recv(64) == b"offer"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(64)
    with name_server(plan.storage_ns, storage, moved) as asked:
        named.sh(
            f"rm -f /usr/sbin/getent; mv /etc/resolv.conf /run/resolv.before; echo nameserver {storage} >/etc/resolv.conf"
        )
        try:
            named.sh(REFRESH)
        finally:
            named.sh("mv /run/resolv.before /etc/resolv.conf")
    assert "storage.example.net" in asked
    assert f"{moved} . 9000" in named.sh("nft list set inet lastcopy looked_up4")


def time_is_asked(chain: Chain, account: str) -> bool:
    argv = ["setpriv", f"--reuid={account}", "--clear-groups", f"--regid={account}"]
    return chain.root(*argv, "bash", "-c", "exec 3<>/dev/udp/198.51.100.123/123; echo x >&3").returncode == 0


def test_a_time_client_that_is_installed_later_may_ask_for_the_time(changing: Chain) -> None:
    changing.still(TIMER)
    changing.sh("useradd --system --user-group _chrony && useradd --system --user-group somebody")
    try:
        assert not time_is_asked(changing, "_chrony")
        changing.sh(f"{REFRESH} kept")
        assert time_is_asked(changing, "_chrony")
        assert not time_is_asked(changing, "somebody")
        assert changing.run(changing.firewall(), "check").words == ""
    finally:
        changing.sh("userdel _chrony; userdel somebody")


DIRECT = Chain.ssh_argv


def through_vpn(monkeypatch: pytest.MonkeyPatch, at_the_other_end: list[str]) -> None:
    """From now on the admin connects to the relay's address inside the tunnel."""

    def through(self: Chain, user: str, key: Path, *options: str) -> list[str]:
        return [*at_the_other_end, *DIRECT(self, user, key, "-o", f"HostName={RELAY}", *options)]

    monkeypatch.setattr(Chain, "ssh_argv", through)


def test_an_admin_who_comes_through_a_vpn_that_ends_on_the_relay_is_not_cut_off(
    changing: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sshd sees another address than from outside, and the packets of the tunnel are neither SSH nor the storage's."""
    changing.root(
        "sh", "-s", "--", "remove", stdin=changing.firewall().text()
    )  # a relay that was never set up
    opened = changing.firewall(vpn_ports=[PORT])
    with vpn(changing) as at_the_other_end:
        through_vpn(monkeypatch, at_the_other_end)
        wait_until(lambda: dials(changing, 3), 20)
        refused = changing.run(changing.firewall())
        assert refused.code == 1
        assert "comes through a VPN that ends on this host (vpn0)" in refused.words
        assert "lastcopy:intermediate.existing.vpnPorts" in refused.words
        assert dials(changing, 3)

        changing.apply(opened)
        changing.apply(opened.but(PHASE="confirm"))
        assert nothing_guarded(changing)
        changing.converges(opened)
    with vpn(changing) as at_the_other_end:  # a new tunnel, as after a reboot or from another place
        through_vpn(monkeypatch, at_the_other_end)
        wait_until(lambda: dials(changing, 3), 20)


def test_sabotage_an_open_tunnel_confirms_rules_that_allow_no_new_tunnel(
    changing: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the step itself must notice: to the kernel the open tunnel is a known connection, and the guard sees a fresh login."""
    changing.inside(changing.firewall(vpn_ports=[PORT]))
    changing.inside(changing.firewall("confirm", vpn_ports=[PORT]))
    blind = [
        weaken(script_text(step.script, step.values), "  look_for_vpn\n")
        for step in (changing.firewall(), changing.firewall("confirm"))
    ]
    with vpn(changing) as inside:
        through_vpn(monkeypatch, inside)
        wait_until(lambda: dials(changing, 3), 20)
        for text in blind:
            done = changing.admin('exec sudo -n sh -s -- apply "$SSH_CONNECTION"', text)
            assert done.returncode == 0, done.stderr
        assert nothing_guarded(changing)
    with vpn(changing) as inside:
        through_vpn(monkeypatch, inside)
        assert not dials(changing, 2)


def test_a_vpns_port_is_no_way_out_for_other_accounts(changing: Chain) -> None:
    changing.inside(changing.firewall(vpn_ports=[PORT]))

    def send(account: str, group: str, to: int) -> int:
        """How many packets were refused. ``to``: another port each time, or it would be an answer to what root sent."""
        words = ["setpriv", f"--reuid={account}", "--clear-groups", f"--regid={group}"]
        changing.root(*words, "nc", "-u", "-p", str(PORT), "-w", "1", "198.51.100.199", str(to), stdin="x")
        counted = changing.sh(
            "nft list table inet lastcopy | sed -n 's/.*counter packets \\([0-9]*\\).*/\\1/p'"
        )
        return sum(map(int, counted.split()))

    assert [
        send("root", "root", 9001),
        send("nobody", "nogroup", 9002),
        send("bk-web1", "lastcopy-sources", 9003),
    ] == [0, 1, 2]
