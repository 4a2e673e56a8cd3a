"""A real Ceph RGW from Debian's packages: one monitor, one OSD in memory and one gateway, on loopback and in a temporary folder.

It uses no service, block device or kernel module of this machine. It starts in about 1.5 s and takes 150 MB.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from components.vault.identities.ceph_policy import ceph_bucket_policy
from sandbox.certificates import make_certificates
from tests.enforced.servers import Document, Identity, Server
from tests.networks import free_port
from tests.servers import run_server, wait_for_server

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
CONF = """\
[global]
fsid = {fsid}
mon_host = v2:127.0.0.1:{port}/0
public_network = 127.0.0.0/8
ms_bind_ipv6 = false
# Without cephx the gateway cannot log in.
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/keyring
mon_data = {folder}/mon
osd_data = {folder}/osd
run_dir = {folder}
crash_dir = {folder}/crash
admin_socket =
pid_file =
log_file =
mon_cluster_log_file =
log_to_stderr = true
osd_objectstore = memstore
memstore_device_bytes = 1073741824
# One copy, on one OSD of one host.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
# The monitor's files are small and short-lived: how full this machine's disk is does not matter.
mon_data_avail_warn = 0
mon_data_avail_crit = 0
# Nobody else votes, so nothing is gained by waiting for more proposals: 1.5 s in place of 15 until all is up.
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
"""
CAPS = {
    "mon.": {"mon": "allow *"},
    "client.admin": dict.fromkeys(("mon", "osd", "mds", "mgr"), "allow *"),
    # `ceph osd new` accepts an existing OSD with exactly these values.
    "osd.0": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
}


@dataclass
class Ceph(Server):
    """Ceph's gateway with its own users, to whom the bucket's policy gives access, as with the services that run Ceph."""

    version: str = ""
    admin: Sequence[str] = ()

    def add_user(self, name: str) -> Identity:
        """Add a user to whom no policy gives access yet."""
        made = Identity(name, secrets.token_hex(8), secrets.token_hex(16))
        _run(*self.admin, "user", "create", "--uid", name, "--display-name", name,
             "--access-key", made.access_key, "--secret-key", made.secret_key)  # fmt: skip
        return made

    def set_policy(self, bucket: str, policy: Document) -> None:
        self.root.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    @staticmethod
    def arn(user: str) -> str:
        return f"arn:aws:iam:::user/{user}"


@contextmanager
def ceph(folder: Path, certs: Path | None = None) -> Iterator[Ceph]:
    """The servers, stopped at the end of the block. They keep everything in memory and in the folder. ``certs``: those of another server, for its CA."""
    port, gateway = free_port(), free_port()
    for place in ("mon", "osd", "certs"):
        (folder / place).mkdir(mode=0o700)
    if certs is None:
        certs = folder / "certs"
        make_certificates(certs, "127.0.0.1")
    fsid, conf = str(uuid.uuid4()), folder / "ceph.conf"
    conf.write_text(CONF.format(fsid=fsid, port=port, folder=folder))
    tool = ("ceph", "--conf", str(conf), "--connect-timeout", "5")
    server = Ceph(
        name="ceph",
        folder=folder,
        endpoint=f"https://127.0.0.1:{gateway}",
        ca=certs / "ca.crt",
        admin=("radosgw-admin", "--conf", str(conf)),
        version=_run("radosgw", "--version").split()[2],
        trailers=False,
    )
    _make_keys(folder)
    monitor, disk, entrance = (
        ("ceph-mon", "-i", "a"),
        ("ceph-osd", "-i", "0"),
        ("radosgw", "-n", "client.admin"),
    )
    with ExitStack() as stack:

        def start(ready: Callable[[], object], *argv: str) -> None:
            log = folder / f"{argv[0]}.log"
            # Killed at the end: in order, each would take two seconds to give up its peers.
            command = [*argv, "-f", "--conf", str(conf)]
            process = stack.enter_context(run_server(command, ENVIRONMENT, log, at_once=True))
            wait_for_server(ready, process, log, (OSError, ClientError, BotoCoreError))

        _run(
            "monmaptool",
            "--create",
            "--fsid",
            fsid,
            "--addv",
            "a",
            f"[v2:127.0.0.1:{port}]",
            f"{folder}/monmap",
        )
        keyring = str(folder / "keyring")
        _run(*monitor, "--conf", str(conf), "--mkfs", "--monmap", f"{folder}/monmap", "--keyring", keyring)
        start(lambda: _run(*tool, "mon", "stat"), *monitor)
        # The same UUID in both, otherwise the OSD boots forever.
        its_uuid = str(uuid.uuid4())
        key = _run("ceph-authtool", "-p", "-n", "osd.0", keyring).strip()
        _run(*tool, "osd", "new", its_uuid, "-i", "-", stdin=json.dumps({"cephx_secret": key}))
        _run(*disk, "--conf", str(conf), "--mkfs", "--osd-uuid", its_uuid)
        _run(*tool, "osd", "crush", "add", "osd.0", "1.0", "root=default")
        start(lambda: _is_up(tool), *disk)
        _run(*server.admin, "user", "create", "--uid", "root", "--display-name", "root",
             "--access-key", server.root_key, "--secret-key", server.root_secret)  # fmt: skip
        tls = f"ssl_endpoint=127.0.0.1:{gateway} ssl_certificate={certs}/public.crt ssl_private_key={certs}/private.key"
        start(lambda: server.root.list_buckets(), *entrance, "--rgw-frontends", f"beast tcp_nodelay=1 {tls}")
        yield server


def _make_keys(folder: Path) -> None:
    """One keyring for the monitor, the administrator and the OSD."""
    keyring = str(folder / "keyring")
    for number, (name, caps) in enumerate(CAPS.items()):
        create = [] if number else ["--create-keyring"]
        words = [word for service, cap in caps.items() for word in ("--cap", service, cap)]
        _run("ceph-authtool", keyring, *create, "--gen-key", "-n", name, *words)


def _is_up(tool: Sequence[str]) -> None:
    if json.loads(_run(*tool, "osd", "stat", "-f", "json"))["num_up_osds"] != 1:
        raise OSError("the OSD is booting")


def _run(*argv: str, stdin: str = "") -> str:
    """Run one of Ceph's own tools; an error contains its output."""
    done = subprocess.run(
        argv, env=ENVIRONMENT, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode != 0:
        raise OSError(f"{' '.join(argv[:3])} …: {(done.stderr or done.stdout)[-1500:]}")
    return done.stdout


def main() -> None:
    """`python -m tests.ceph`: a gateway with one locked bucket, for a network namespace other than this process's.

    The first line of stdin gives folder, certs, bucket and the names of sources (JSON). It prints the endpoint and each source's key, and ends
    when stdin ends.
    """
    given = json.loads(sys.stdin.readline())
    with ceph(Path(given["folder"]), Path(given["certs"])) as server:
        server.make_bucket(given["bucket"], "COMPLIANCE", 1)
        keys = {name: server.add_user(name) for name in given["sources"]}
        arns = {name: server.arn(name) for name in keys}
        server.set_policy(given["bucket"], ceph_bucket_policy(given["bucket"], arns, server.arn("root")))
        found = {name: [key.access_key, key.secret_key] for name, key in keys.items()}
        print(json.dumps({"endpoint": server.endpoint, "keys": found}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
