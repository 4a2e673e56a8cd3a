"""S7, R7: the relay's network lets only SSH in, and lets the sources' processes reach only the storage."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from components.relay.firewall import endpoints, firewall_rules
from tests.scripts.relay.chain import Chain
from tests.waiting import wait_until

TIMER = "lastcopy-storage"
# curl as an account with one of the sources' groups: what a compromised rclone could do.
AS = "setpriv --reuid={user} --regid={group} --init-groups curl -s -o /dev/null --max-time 4 -w '%{{http_code}} %{{errormsg}}' {url}"


def fetch(chain: Chain, url: str, user: str = "bk-web1", group: str = "lastcopy-sources") -> str:
    return chain.root("sh", "-c", AS.format(user=user, group=group, url=f"'{url}'")).stdout


@contextmanager
def listener(chain: Chain, address: str, port: int) -> Iterator[None]:
    """A server on the relay that answers HTTP on one more address, like an instance metadata service."""
    chain.sh(f"ip addr add {address}/32 dev lo")
    inside = chain.box.command("relay", ["true"])[: chain.box.command("relay", ["true"]).index("--")]
    net = [word for word in inside if word.startswith("--target") or word in ("nsenter", "--net")]
    server = subprocess.Popen(
        [
            *net,
            "--",
            "python3",
            "-m",
            "http.server",
            "--bind",
            address,
            str(port),
            "--directory",
            "/usr/share/doc",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        chain.sh(
            f"for i in $(seq 50); do curl -s -o /dev/null http://{address}:{port}/ && exit 0; sleep 0.1; done; exit 1"
        )
        yield
    finally:
        server.terminate()
        server.communicate()
        chain.sh(f"ip addr del {address}/32 dev lo")


def test_a_source_reaches_the_storage(ready: Chain) -> None:
    assert not fetch(ready, ready.storage["endpoint"] + "/minio/health/live").startswith(
        "000 Failed to connect"
    )
    refused_by_tls_only = fetch(ready, ready.storage["endpoint"] + "/")
    assert "certificate" in refused_by_tls_only.lower() or refused_by_tls_only.startswith(("4", "2"))


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "127.0.0.53"])
def test_a_source_never_reaches_instance_metadata_or_the_relay_itself(ready: Chain, address: str) -> None:
    with listener(ready, address, 8080):
        assert fetch(ready, f"http://{address}:8080/", user="root", group="root").startswith("200")
        assert fetch(ready, f"http://{address}:8080/").startswith("000")


@pytest.mark.parametrize("port", [22, 80, 443, 9001])
def test_a_source_reaches_no_other_port_of_the_storage(ready: Chain, port: int) -> None:
    host = ready.storage["endpoint"].removeprefix("https://").split(":")[0]
    assert fetch(ready, f"http://{host}:{port}/").startswith("000")
    rejected = ready.sh("nft list chain inet lastcopy of_sources | grep -c 'packets [1-9]' || true")
    assert rejected.strip() != "0"


def test_a_source_cannot_use_dns(ready: Chain) -> None:
    """Names are a way to leak data; the storage's own name is in /etc/hosts."""
    asked = ready.root(
        "setpriv",
        "--reuid=bk-web1",
        "--regid=lastcopy-sources",
        "--init-groups",
        "bash",
        "-c",
        "exec 3<>/dev/udp/198.51.100.53/53; echo x >&3",
    )
    assert asked.returncode != 0


def test_other_accounts_cannot_connect_anywhere(ready: Chain) -> None:
    assert fetch(ready, ready.storage["endpoint"], user="nobody", group="nogroup").startswith("000")
    assert fetch(ready, "http://198.51.100.80/", user="admin", group="admin").startswith("000")


def test_only_ssh_comes_in(ready: Chain) -> None:
    """A server that somebody starts on the relay is not reachable."""
    address = ready.relay_facts["address"]
    inside = ready.box.command("relay", ["sh", "-c", "exec nc -l 0.0.0.0 8081"])
    service = subprocess.Popen(
        inside, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ready.sh("for i in $(seq 30); do ss -Hltn | grep -q :8081 && exit 0; sleep 0.1; done; exit 1")
        with socket.socket() as client:
            client.settimeout(2)
            with pytest.raises(OSError, match=r"timed out|unreachable|prohibited"):
                client.connect((address, 8081))
        with socket.create_connection((address, 22), 5) as client:
            assert client.recv(7) == b"SSH-2.0"
    finally:
        ready.sh("pkill -f '^nc -l 0.0.0.0 8081' || true")
        service.wait(10)


def test_sabotage_without_the_table_a_source_reaches_metadata(changing: Chain) -> None:
    changing.still(TIMER)  # it would restore the table
    changing.sh("nft delete table inet lastcopy")
    with listener(changing, "169.254.169.254", 8080):
        assert fetch(changing, "http://169.254.169.254:8080/").startswith("200")


def test_rules_that_something_flushes_are_restored(changing: Chain) -> None:
    changing.still(TIMER)  # a run that has already checked would be mistaken for the one started here
    changing.sh("nft flush ruleset && systemctl start lastcopy-storage.service")
    assert "policy drop" in changing.sh("nft list chain inet lastcopy output")
    assert "@storage4" in changing.sh("nft list chain inet lastcopy of_sources")


def test_the_rules_load_however_often_they_are_started(changing: Chain) -> None:
    """systemd refuses the sixth start within ten seconds, unless a unit says otherwise: a repeated step would fail."""
    changing.still(TIMER)
    for unit in ("lastcopy-firewall", "lastcopy-storage"):
        changing.sh(f"for n in $(seq 12); do systemctl restart {unit}.service || exit 1; done")


def test_a_hosts_own_ruleset_is_kept_and_its_reload_does_not_remove_ours(changing: Chain) -> None:
    own = "#!/usr/sbin/nft -f\nflush ruleset\ntable inet mine {\n chain c {\n }\n}\n"
    changing.root("sh", "-c", "cat >/etc/nftables.conf", stdin=own)
    changing.still(TIMER)  # as above
    changing.sh(
        "systemctl reload-or-restart nftables.service; sleep 1; systemctl start lastcopy-storage.service"
    )
    tables = changing.sh("nft list tables")
    assert "table inet mine" in tables
    assert "table inet lastcopy" in tables
    changing.apply(changing.firewall())
    assert "table inet mine" in changing.sh("nft list tables")
    assert changing.sh("cat /etc/nftables.conf") == own
    changing.sh("nft delete table inet mine; systemctl stop nftables.service || true")


NAMED = "https://storage.example.net:9000"


def resolve(chain: Chain, *addresses: str) -> None:
    """A minimal name server for the relay: glibc's own files database, read in place of DNS."""
    lines = "".join(f"{address} storage.example.net\\n" for address in addresses)
    fake = f"""#!/bin/sh
[ "$1 $2 $3" = "-s dns ahosts" ] || exec /usr/bin/getent "$@"
[ "$4" = storage.example.net ] && printf '{lines}' | grep . || exit 2
"""
    chain.root("sh", "-c", "cat >/usr/sbin/getent; chmod 755 /usr/sbin/getent", stdin=fake)


def test_a_storage_name_is_followed_to_new_addresses_but_never_to_metadata(changing: Chain) -> None:
    storage = changing.storage["endpoint"].removeprefix("https://").split(":")[0]
    try:
        resolve(changing, storage, "169.254.169.254", "fd00:ec2::254")
        changing.apply(changing.firewall(endpoint=NAMED))
        changing.apply(changing.firewall("confirm", endpoint=NAMED))
        changing.converges(changing.firewall(endpoint=NAMED))
        sets = changing.sh("nft list set inet lastcopy looked_up4; nft list set inet lastcopy looked_up6")
        assert f"{storage} . 9000" in sets
        assert "169.254" not in sets
        assert "ec2" not in sets
        assert changing.sh("grep storage.example.net /etc/hosts") == f"{storage} storage.example.net\n"
        assert (
            fetch(changing, f"{NAMED}/").split()[0] != "000"
            or "certificate" in fetch(changing, f"{NAMED}/").lower()
        )
        changing.still(TIMER)  # as above
        # The name gets a new address, which is added; the old one stays for a day for running sessions.
        resolve(changing, "198.51.100.201")
        changing.sh("systemctl start lastcopy-storage.service")
        sets = changing.sh("nft list set inet lastcopy looked_up4")
        assert "198.51.100.201 . 9000" in sets
        assert f"{storage} . 9000" in sets
        assert changing.sh("grep storage.example.net /etc/hosts") == "198.51.100.201 storage.example.net\n"
        # DNS fails: known addresses stay.
        resolve(changing)
        changing.sh("systemctl start lastcopy-storage.service")
        assert changing.sh("grep storage.example.net /etc/hosts") == "198.51.100.201 storage.example.net\n"
    finally:
        changing.sh("rm -f /usr/sbin/getent")
    assert changing.run(changing.firewall(endpoint=NAMED), "remove").code == 0
    assert "storage.example.net" not in changing.sh("cat /etc/hosts")


def test_a_name_without_any_address_is_an_error_with_its_fix(changing: Chain) -> None:
    try:
        resolve(changing)
        changing.apply(changing.firewall(endpoint=NAMED))
        refused = changing.run(changing.firewall("confirm", endpoint=NAMED))
        assert refused.code == 1
        assert "none of the storage's names has an address" in refused.words
        assert "fix:" in refused.words
    finally:
        changing.sh("rm -f /usr/sbin/getent")


@pytest.fixture
def metadata(changing: Chain) -> Iterator[Chain]:
    """A server beyond the relay's own network that answers at the metadata service's address, as in a cloud."""
    # Type=exec: it returns when the unit has its own network, not while it is still in the relay's.
    changing.sh(
        "systemd-run -q --unit=cloud-metadata -p Type=exec -p PrivateNetwork=yes sh -c 'until ip link show md1; do sleep 0.1; done;"
        " ip addr add 169.254.169.254/32 dev md1; ip link set md1 up; ip route add 169.254.0.1 dev md1;"
        " exec nc -lk 169.254.169.254 80'"
    )
    changing.sh(
        "ip link add md0 type veth peer name md1 netns $(systemctl show -p MainPID --value cloud-metadata);"
        " ip addr add 169.254.0.1/32 dev md0; ip link set md0 up; ip route add 169.254.169.254 dev md0"
    )
    try:
        wait_until(lambda: asks_metadata(changing), 30)
        yield changing
    finally:
        changing.sh("systemctl stop cloud-metadata; ip link del md0 2>/dev/null || true")


def asks_metadata(chain: Chain) -> bool:
    return chain.root("nc", "-z", "-w", "5", "169.254.169.254", "80").returncode == 0


def test_root_reaches_instance_metadata_only_if_allowed(metadata: Chain) -> None:
    """An EC2 relay whose operators use SSH does not need it after its first boot; the SSM agent does."""
    wait_until(lambda: asks_metadata(metadata), 30)
    storage = endpoints.s3_endpoints(metadata.storage["endpoint"], metadata.storage["bucket"])
    closed = metadata.firewall().but(RULES=firewall_rules.firewall_rules(storage, 22, "closed"))
    metadata.apply(closed)
    assert not asks_metadata(metadata)
    metadata.apply(closed.but(PHASE="confirm"))
    metadata.converges(closed)
    assert not fetch(metadata, metadata.storage["endpoint"] + "/").startswith("000 Failed to connect")
    metadata.apply(metadata.firewall())
    wait_until(lambda: asks_metadata(metadata), 30, "it was not the rule")
    metadata.apply(metadata.firewall("confirm"))


def test_a_container_that_may_not_set_rules_gets_an_error_that_says_so(ready: Chain) -> None:
    before = ready.sh("nft -s list ruleset")
    bounded = (
        "setpriv",
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
        "sh",
        "-s",
        "--",
        "apply",
        "203.0.113.1 1 2 22",
    )
    refused = ready.root(*bounded, stdin=ready.firewall().text())
    assert refused.returncode == 1
    assert "it is a container without CAP_NET_ADMIN" in refused.stderr
    assert ready.sh("nft -s list ruleset") == before
