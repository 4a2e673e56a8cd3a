"""A temporary local stack of this checkout, with what the other contenders need beside it.

`make local` itself builds it in a copy of the checkout, on a free network, so that a running local stack of the user's is not touched.
Everything is removed afterwards, also after a failure.
"""

from __future__ import annotations

import os
import re
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from ops.stack import LocalStack
from sandbox import Sandbox
from tests.integration.checkout import copy_checkout
from tests.networks import free_network

SOURCE, RELAY = "db1", "relay"
BUCKET, CONTENDERS = "backups", "bench"
SEED_PORT, BORG_PORT = 2222, 2223
DATA = "/srv/bench"
CGROUPS = Path("/sys/fs/cgroup")
FILE_MIB = 16


class BenchError(RuntimeError):
    """The benchmark cannot continue. The message says why, and what to do."""


def checked(
    command: list[str], *, stdin: bytes = b"", env: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    """A command's stdout. A failure raises BenchError with its output."""
    done = subprocess.run(command, input=stdin, capture_output=True, env=env, cwd=cwd, check=False)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")[-3000:]
        raise BenchError(f"{' '.join(command)[-300:]}\nended with {done.returncode}:\n{said}")
    return done.stdout.decode()


@dataclass
class Farm:
    """One source, one relay, one storage; ``work`` is the bench's own folder on the workstation."""

    checkout: Path
    work: Path
    local_seconds: float = 0.0
    up_seconds: float = 0.0
    old_rclone: bytes = b""
    why_no_old_rclone: str = ""

    @property
    def stack(self) -> LocalStack:
        return LocalStack(self.checkout, "local")

    @property
    def box(self) -> Sandbox:
        return Sandbox(self.checkout / ".local" / "sandbox" / "local")

    def address(self, machine: str) -> str:
        return str(self.box.plan.address(self.box.machine(machine).slot))

    def on(self, machine: str, script: str, stdin: bytes = b"") -> str:
        """Run shell text as root inside a machine."""
        return checked(self.box.command(machine, ["sh", "-euc", script]), stdin=stdin)

    def _groups(self, prefix: str) -> list[Path]:
        """The control groups that the sandbox made: beside systemd's hierarchy, in it, or in a scope."""
        roots = (CGROUPS / "unified", CGROUPS, CGROUPS / "system.slice")
        return [path for root in roots for path in root.glob(f"{prefix}*") if (path / "cpu.stat").exists()]

    def cpu_seconds(self) -> float:
        """CPU seconds that relay and storage have used so far, and those of every command that this process has waited for."""
        used = 0.0
        for group in self._groups(self.box.plan.prefix):
            found = re.search(r"^usage_usec (\d+)$", (group / "cpu.stat").read_text(), re.MULTILINE)
            used += int(found[1]) / 1e6 if found else 0.0
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used + children.ru_utime + children.ru_stime

    def count_for(self, machine: str, pid: int) -> None:
        """Count what a process uses from now on as used by a machine."""
        (self._groups(self.box.plan.machine_ns(machine))[0] / "cgroup.procs").write_text(str(pid))

    def in_network_of(self, machine: str) -> list[str]:
        """Prefix that runs a workstation's program with that machine's network."""
        return ["nsenter", f"--net=/run/netns/{self.box.plan.machine_ns(machine)}", "--"]

    def put(self, machine: str, path: str, text: str, mode: str = "600") -> None:
        """A file inside a machine; its content travels on stdin, so secrets are in no argument."""
        self.on(machine, f"mkdir -p $(dirname {path}) && cat >{path} && chmod {mode} {path}", text.encode())

    def drop_objects(self, prefix: str) -> None:
        """Remove every version below a prefix, as the storage's own root: in GOVERNANCE mode it may."""
        import urllib3
        from minio import Minio
        from minio.deleteobjects import DeleteObject

        with (
            self.box.storage_admin() as (origin, ca, user, password),
            urllib3.PoolManager(ca_certs=ca) as pool,
        ):
            client = Minio(
                origin.removeprefix("https://"), user, password, region="us-east-1", http_client=pool
            )
            found = client.list_objects(BUCKET, prefix=prefix, recursive=True, include_version=True)
            doomed = [DeleteObject(entry.object_name, entry.version_id) for entry in found]
            errors = list(client.remove_objects(BUCKET, doomed, bypass_governance_mode=True))
        if errors:
            raise BenchError(f"{len(errors)} objects below {prefix} could not be removed: {errors[0].code}")


def _make_local(checkout: Path) -> tuple[float, float]:
    """Run `make local` itself. Returns its seconds and those of `pulumi up` in it."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    said = checked(
        ["make", "--old-file=.venv/.ready", f"PY={sys.executable}", "local"], cwd=checkout, env=environment
    )
    seconds = time.monotonic() - began
    found = re.search(r"==> pulumi up\n.*?done in ([0-9.]+) s", said, re.DOTALL)
    if not found:
        raise BenchError(f"`make local` did not say how long `pulumi up` took:\n{said[-2000:]}")
    return seconds, float(found[1])


def _template(checkout: Path, network: str) -> None:
    """The copy's local stack on the bench's network, with locks that the storage's root may lift."""
    file = checkout / "stacks" / "templates" / "local.yaml"
    settings = yaml.safe_load(file.read_text())
    config = settings["config"]
    config["lastcopy:sandbox"] = {**config.get("lastcopy:sandbox", {}), "network": network or free_network()}
    config["lastcopy:storage"]["sandbox"]["lockMode"] = "GOVERNANCE"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))


def _old_rclone(work: Path) -> tuple[bytes, str]:
    """Debian's own rclone, or the reason why there is none. It is downloaded before the farm's network exists."""
    folder = work / "old-rclone"
    folder.mkdir()
    try:
        checked(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "rclone"], cwd=folder)
        (package,) = folder.glob("rclone_*.deb")
        checked(["dpkg-deb", "-x", str(package), str(folder)])
    except (BenchError, OSError, ValueError) as error:
        return b"", f"apt-get download rclone: {str(error).strip().splitlines()[-1]}"
    return (folder / "usr" / "bin" / "rclone").read_bytes(), ""


def _data(farm: Farm, mebibytes: int) -> None:
    """Put the same incompressible files on the workstation (borg's source) and on the source host."""
    folder = farm.work / "data"
    folder.mkdir()
    for number in range(max(1, mebibytes // FILE_MIB)):
        (folder / f"{number:04}").write_bytes(os.urandom(min(FILE_MIB, mebibytes) << 20))
    with subprocess.Popen(["tar", "-C", str(folder), "-cf", "-", "."], stdout=subprocess.PIPE) as packed:
        unpack = farm.box.command(SOURCE, ["sh", "-euc", f"mkdir -p {DATA} && tar -C {DATA} -xf -"])
        if subprocess.run(unpack, stdin=packed.stdout, check=False).returncode or packed.wait():
            raise BenchError("the test data did not arrive on the source host; is the disk full?")


def _roads(farm: Farm) -> None:
    """Allow what the product refuses and others need: source to storage, and further ports on the relay."""
    plan = farm.box.plan
    where = [
        "nsenter",
        f"--net=/run/netns/{plan.router_ns}",
        "nft",
        "insert",
        "rule",
        "inet",
        plan.table,
        "forward",
    ]
    checked([*where, "ip", "saddr", farm.address(SOURCE), "ip", "daddr", str(plan.storage), "accept"])
    # A rule at the front of each of the relay firewall's base chains.
    farm.on(
        RELAY,
        f"""nft list ruleset | awk '/^table/ {{ table = $2 " " $3 }} /^\\tchain/ {{ chain = $2 }}
          /hook input/ {{ print "insert rule", table, chain, "tcp dport {SEED_PORT}-{BORG_PORT} accept" }}
          /hook output/ {{ print "insert rule", table, chain, "tcp sport {SEED_PORT}-{BORG_PORT} accept"
            print "insert rule", table, chain, "ip daddr {plan.storage} accept" }}' | nft -f -""",
    )


def _identity(farm: Farm) -> None:
    """A storage identity for the contenders that are not the product, with the same rights as a source's."""
    secret = secrets.token_hex(20)
    farm.box.identity_up(CONTENDERS, f"{CONTENDERS}/", "bench-contender", secret)
    ca = (farm.box.storage_folder / "certs" / "ca.crt").read_text()
    farm.put(SOURCE, "/root/bench/ca.pem", ca)
    farm.put(SOURCE, "/root/bench/password", secrets.token_hex(20))
    farm.put(
        SOURCE,
        "/root/bench/environment",
        f"export AWS_ACCESS_KEY_ID=bench-contender AWS_SECRET_ACCESS_KEY={secret}\n",
    )
    farm.put(
        RELAY,
        "/home/seed/.config/rclone/rclone.conf",
        f"[vault]\ntype = s3\nprovider = Minio\nendpoint = https://{farm.box.plan.storage}:9000\n"
        f"region = us-east-1\naccess_key_id = bench-contender\nsecret_access_key = {secret}\nno_check_bucket = true\n",
    )
    farm.put(RELAY, "/home/seed/ca.pem", ca)


def _start_seed_sshd(farm: Farm) -> None:
    """Create an account and an sshd with Debian's own settings, as the plain recipe does."""
    farm.on(SOURCE, "ssh-keygen -q -t ed25519 -N '' -f /root/bench/key")
    farm.on(RELAY, "id seed 2>/dev/null || useradd --home-dir /home/seed --shell /bin/sh seed")
    farm.put(
        RELAY,
        "/etc/ssh/bench_sshd_config",
        f"Port {SEED_PORT}\nPidFile /run/bench_sshd.pid\nKbdInteractiveAuthentication no\nUsePAM yes\n"
        "X11Forwarding yes\nPrintMotd no\nAcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server\n",
    )
    farm.on(
        RELAY,
        "chown -R seed: /home/seed; systemd-run -q --unit=bench-sshd /usr/sbin/sshd -D -f /etc/ssh/bench_sshd_config",
    )
    host_key = farm.on(RELAY, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").strip()
    farm.put(SOURCE, "/root/bench/known_hosts", f"[{farm.address(RELAY)}]:{SEED_PORT} {host_key}\n")


@contextmanager
def farm(mebibytes: int, network: str) -> Iterator[Farm]:
    """Build a farm with its data, and remove everything afterwards."""
    if os.geteuid() != 0:
        raise BenchError(
            "the benchmark enters the sandbox machines' namespaces and needs root; fix: sudo make bench"
        )
    work = Path(tempfile.mkdtemp(prefix="lastcopy-bench-", dir="/var/tmp"))  # on disk, not in memory
    made = Farm(work / "checkout", work)
    try:
        free = shutil.disk_usage(work).free
        if free < (needed := (12 * mebibytes << 20) + (2 << 30)):
            raise BenchError(
                f"{work}: {free >> 20} MiB are free, {needed >> 20} are needed; fix: a smaller --size"
            )
        made.checkout.mkdir()
        made.old_rclone, made.why_no_old_rclone = _old_rclone(work)
        copy_checkout(made.checkout)
        _template(made.checkout, network)
        made.local_seconds, made.up_seconds = _make_local(made.checkout)
        _data(made, mebibytes)
        _roads(made)
        _identity(made)
        _start_seed_sshd(made)
        if made.old_rclone:
            made.on(
                RELAY, "cat >/usr/local/bin/rclone-old; chmod 755 /usr/local/bin/rclone-old", made.old_rclone
            )
        yield made
    finally:
        subprocess.run(
            [sys.executable, "-m", "ops", "local", "down"],
            cwd=made.checkout,
            capture_output=True,
            check=False,
        )
        if made.box.exists():
            made.box.destroy()
        shutil.rmtree(work)
