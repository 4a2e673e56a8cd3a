"""Driver podman: machines are containers with systemd as process 1.

There are two internal networks: front (relay, sources, gate) and back (relay, storage). A source has neither CAP_NET_ADMIN nor CAP_NET_RAW, and
podman puts rules into its network namespace that not even its root can change: out to the relay only, in from the gate only. The workstation reaches
every sshd through the gate, a container that forwards ports of 127.0.0.1; the gate refuses connections from the front.

Tested with podman 4.3.1 as root; not tested: rootless podman. Between a container's start and its rules there is a moment without them.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from sandbox import image, netns
from sandbox.errors import SandboxError, say
from sandbox.keys import greets
from sandbox.plan import FIRST_SLOT_OFFSET, AddressPlan, SandboxMachine, replaced_table
from sandbox.storage_server import SERVE_STORAGE, STORAGE_UID
from sandbox.tcp_proxy import serve_tcp_proxy
from sandbox.tools import TOOLS, tool
from sandbox.waiting import becomes_true

GATE_SLOTS = 16  # podman publishes ports only when it creates the container
GATE_PORT = 2200
BOOT_SECONDS = 90
FRONT, BACK, OUTER = range(3)
GATE = """\
slot=0
while [ "$slot" -lt "$3" ]; do
  systemd-socket-activate --listen="$1:$((2200 + slot))" /usr/lib/systemd/systemd-socket-proxyd "$2$((slot + $4)):22" &
  slot=$((slot + 1))
done
wait
"""
DATA = "/run/storage/data"
STORAGE = f"""\
uid=$1 address=$2
mkdir -p -m 755 /run/storage/certs
chown "$uid:$uid" {DATA}
folder=/run/given
{SERVE_STORAGE}"""


def source_rules(plan: AddressPlan, relays: Sequence[IPv4Address], gate: IPv4Address) -> str:
    """The rules of a source's own namespace: out to the relays only, in from the gate only."""
    out = f"ip daddr {{ {', '.join(map(str, relays))} }} accept" if relays else ""
    return replaced_table(
        plan,
        f"""\
  chain input {{
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    ip saddr {gate} tcp dport 22 accept
    reject with icmpx admin-prohibited
  }}
  chain output {{
    type filter hook output priority 0; policy drop;
    oif lo accept
    ct state established,related accept
    {out}
    reject with icmpx admin-prohibited
  }}
""",
    )


def gate_rules(plan: AddressPlan, front: IPv4Network) -> str:
    """The rules of the gate's namespace: nothing new from the front."""
    return replaced_table(
        plan,
        f"""\
  chain input {{
    type filter hook input priority 0; policy accept;
    ct state established,related accept
    ip saddr {front} reject with icmpx admin-prohibited
  }}
""",
    )


class Podman:
    """Runs machines as containers. Containers, networks and the storage's volume are found by a label with the sandbox's id."""

    name = "podman"

    def __init__(self, directory: Path, plan: AddressPlan) -> None:
        self.directory, self.plan = directory, plan
        if plan.network.prefixlen > 25:
            fix = "use a network of /25 or wider with podman"
            raise SandboxError(f"{plan.network} is too small", where="--network", fix=fix)
        self.networks = list(plan.network.subnets(prefixlen_diff=2))
        self.label = f"lastcopy.sandbox={plan.id}"

    # podman gets our environment, because it finds a user's own containers by it

    def _try(self, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run([self.name, *argv], input=stdin, capture_output=True, check=False)
        except FileNotFoundError:
            raise SandboxError(f"`{self.name}` is not installed", fix=f"install {self.name}") from None

    def _run(self, *argv: str, stdin: bytes = b"") -> str:
        done = self._try(*argv, stdin=stdin)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise SandboxError(f"`{self.name} {' '.join(argv[:3])} …` failed: {said}", where=self.name)
        return done.stdout.decode().strip()

    def _state(self, container: str) -> str:
        """running, created, exited …; empty when there is none."""
        done = self._try("container", "inspect", "--format", "{{.State.Status}}", container)
        return done.stdout.decode().strip() if done.returncode == 0 else ""

    def _container(self, name: str) -> str:
        return self.plan.machine_ns(name)

    @property
    def _gate(self) -> str:
        return f"{self.plan.prefix}_gate"

    @staticmethod
    def _tag(debian: int = image.DEBIAN) -> str:
        return f"localhost/lastcopy-sandbox:{image.digest(debian)}"

    # network

    def prepare(self) -> None:
        self._image(image.DEBIAN)

    def _image(self, debian: int) -> str:
        """Build a release's base image if necessary. Returns its tag."""
        tag = self._tag(debian)
        if self._try("image", "inspect", tag).returncode == 0:
            return tag
        say(f"building the base image {tag}, once")
        with tempfile.TemporaryDirectory() as context:
            shutil.copy(Path(__file__).with_name("Containerfile"), context)
            (Path(context) / "customise").write_text(image.CUSTOMISE)
            arguments = [f"DEBIAN={debian}", f"PACKAGES={image.PACKAGES.replace(',', ' ')}"]
            options = [word for argument in arguments for word in ("--build-arg", argument)]
            file = str(Path(context) / "Containerfile")
            argv = [self.name, "build", *options, "--tag", tag, "--file", file, context]
            if subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=2, check=False).returncode != 0:
                fix = f"check that `{self.name} pull debian:{debian}` works, then run the same command again"
                raise SandboxError("building the base image failed, see above", where=self.name, fix=fix)
        return tag

    def refuse_conflict(self) -> None:
        """Does nothing: podman itself refuses a range that is in use."""

    def _network(self, kind: int) -> str:
        return f"{self.plan.prefix}_{('front', 'back', 'outer')[kind]}"

    def network_up(self, machines: Sequence[SandboxMachine]) -> None:
        for kind in (FRONT, BACK, OUTER):
            name = self._network(kind)
            if self._try("network", "inspect", name).returncode != 0:
                options = ["--label", self.label, "--subnet", str(self.networks[kind])]
                options += ["--internal"] if kind != OUTER else []
                options.append("--disable-dns")
                self._run("network", "create", *options, name)
        self._gate_up()
        for machine in machines:
            if machine.role == "source" and self._state(self._container(machine.name)) == "running":
                self._apply_source_rules(machine.name, machines)

    def _gate_up(self) -> None:
        if self._state(self._gate) != "running":
            self._run("rm", "--force", self._gate) if self._state(self._gate) else None
            outer = self.networks[OUTER][2]
            front, first = self.networks[FRONT], FIRST_SLOT_OFFSET
            base = str(front.network_address).rpartition(".")
            options = ["--name", self._gate, "--label", self.label, "--stop-timeout=1", "--cap-drop=NET_RAW"]
            options += [
                "--network",
                self._network(OUTER),
                "--ip",
                str(outer),
                "--sysctl=net.ipv4.ip_forward=0",
            ]
            for slot in range(GATE_SLOTS):
                options.append(f"--publish=127.0.0.1:{self._port(slot)}:{GATE_PORT + slot}/tcp")
            given = [str(outer), f"{base[0]}.", str(GATE_SLOTS), str(int(base[2]) + first)]
            self._run("create", *options, self._tag(), "sh", "-c", GATE, "gate", *given)
            self._run(
                "network", "connect", "--ip", str(self.plan.workstation), self._network(FRONT), self._gate
            )
            self._run("start", self._gate)
        self._nft(self._gate, gate_rules(self.plan, self.networks[FRONT]))

    def _nft(self, container: str, rules: str) -> None:
        self._run("exec", "--privileged", "-i", container, "nft", "-f", "-", stdin=rules.encode())

    def _apply_source_rules(self, name: str, machines: Sequence[SandboxMachine]) -> None:
        relays = [self.plan.address(machine.slot) for machine in machines if machine.role == "relay"]
        self._nft(self._container(name), source_rules(self.plan, relays, self.plan.workstation))

    def network_down(self) -> None:
        """Remove everything with our label, in the order of dependencies."""
        label = ("--filter", f"label={self.label}")
        for container in self._run("ps", "--all", "--quiet", *label).split():
            self._run("rm", "--force", "--volumes", container)
        for volume in self._run("volume", "ls", "--quiet", *label).split():
            self._run("volume", "rm", "--force", volume)
        for network in self._run("network", "ls", "--quiet", *label).split():
            self._run("network", "rm", network)

    # machines

    def machine_make(self, machine: SandboxMachine, host_key: Path, admin_key: str) -> None:
        container, program = self._container(machine.name), TOOLS[machine.role]
        if machine.slot >= GATE_SLOTS or self.plan.address(machine.slot) not in self.networks[FRONT]:
            raise SandboxError(
                f"{self.name} runs at most {GATE_SLOTS} machines here", fix="use driver nspawn as root"
            )
        if self._state(container):
            self._run("rm", "--force", container)
        relay = machine.role == "relay"
        options = [
            "--name",
            container,
            "--hostname",
            machine.name,
            "--label",
            self.label,
            "--cap-drop=NET_RAW",
        ]
        options += ["--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN" if relay else "--cap-drop=NET_ADMIN"]
        options += ["--stop-signal=SIGRTMIN+3"]
        address = self.plan.address(machine.slot)
        # The same hardware address after every start; otherwise its neighbours would use the old one for a minute.
        hardware = "02:1c:" + address.packed.hex(":")
        options += ["--network", self._network(FRONT), "--ip", str(address), f"--mac-address={hardware}"]
        options.append("--security-opt=label=disable")
        if machine.tool:
            options.append(f"--volume={tool(program).resolve()}:/usr/local/bin/{program}:ro")
        options += ["--device=/dev/fuse"] if Path("/dev/fuse").exists() else []
        options.append("--systemd=always")
        self._run("create", *options, self._image(machine.debian), "/sbin/init")
        if relay:
            back = str(self.networks[BACK][FIRST_SLOT_OFFSET + machine.slot])
            self._run("network", "connect", "--ip", back, self._network(BACK), container)
        self._run("cp", "--archive=false", "-", f"{container}:/", stdin=_seed(host_key, admin_key))

    def machine_wire(self, machine: SandboxMachine) -> None:
        """Does nothing: a container's networks are part of it."""

    def machine_start(self, machine: SandboxMachine, machines: Sequence[SandboxMachine]) -> None:
        container = self._container(machine.name)
        if self._state(container) != "running":
            self._run("start", container)
        if machine.role == "source":
            self._apply_source_rules(machine.name, machines)

    def machine_wait(self, machine: SandboxMachine) -> None:
        container = self._container(machine.name)

        def answers() -> bool:
            if self._state(container) != "running":
                said = self._try("logs", "--tail", "12", container).stderr.decode(errors="replace").strip()
                raise SandboxError(
                    f"{machine.name} does not run: {said}", where=f"{self.name} logs {container}"
                )
            open_ = self._try("exec", container, "test", "!", "-e", "/run/nologin").returncode == 0
            return open_ and greets(*self.dial(machine))

        if not becomes_true(answers, BOOT_SECONDS, 0.1):
            raise SandboxError(f"{machine.name} does not answer ssh after {BOOT_SECONDS} s", where=container)

    def machine_stop(self, machine: SandboxMachine) -> None:
        self._run("stop", "--time", "20", self._container(machine.name))

    def machine_drop(self, name: str, slot: int | None) -> None:  # noqa: ARG002
        if self._state(self._container(name)):
            self._run("rm", "--force", "--volumes", self._container(name))

    def machine_running(self, name: str) -> bool:
        return self._state(self._container(name)) == "running"

    def _port(self, slot: int) -> int:
        """A machine's port. It is the same after every start, and below the range from which the kernel assigns ports."""
        return 20000 + int(self.plan.id, 16) % 790 * GATE_SLOTS + slot

    def dial(self, machine: SandboxMachine) -> tuple[str, int]:
        return "127.0.0.1", self._port(machine.slot)

    def command(self, name: str, argv: Sequence[str]) -> list[str]:
        return [self.name, "exec", "-i", self._container(name), *argv]

    # storage

    @property
    def storage_address(self) -> str:
        return str(self.networks[BACK][3])

    def storage_start(self, folder: Path) -> None:
        container, volume = self.plan.storage_ns, f"{self.plan.prefix}_data"
        if self._state(container) == "running":
            return
        if self._state(container):
            self._run("rm", "--force", container)
        if self._try("volume", "inspect", volume).returncode != 0:
            self._run("volume", "create", "--label", self.label, volume)
        options = [
            "--name",
            container,
            "--label",
            self.label,
            "--security-opt=label=disable",
            "--tmpfs=/run:exec",
        ]
        options += ["--network", self._network(BACK), "--ip", self.storage_address, "--cap-drop=NET_RAW"]
        options += [f"--volume={volume}:{DATA}", f"--volume={folder}:/run/given:ro"]
        options += [f"--volume={tool('minio').resolve()}:/run/storage/minio:ro"]
        given = [str(STORAGE_UID), f"{self.storage_address}:9000"]
        self._run("create", *options, self._tag(), "sh", "-euc", STORAGE, "storage", *given)
        self._run("start", container)

    def storage_check(self, folder: Path) -> None:
        if self._state(self.plan.storage_ns) != "running":
            done = self._try("logs", "--tail", "12", self.plan.storage_ns)
            said = (done.stderr + done.stdout).decode(errors="replace").strip()
            raise SandboxError(f"the storage does not run: {said}", where=str(folder))

    def storage_drop(self, folder: Path) -> None:  # noqa: ARG002
        if self._state(self.plan.storage_ns):
            self._run("rm", "--force", self.plan.storage_ns)
        volume = f"{self.plan.prefix}_data"
        if self._try("volume", "inspect", volume).returncode == 0:
            self._run("volume", "rm", "--force", volume)

    @contextmanager
    def storage_dial(self) -> Iterator[str]:
        """Yield the origin of a port of 127.0.0.1 whose connections podman forwards into the storage's container."""
        into = [self.name, "exec", "-i", self.plan.storage_ns, "nc", self.storage_address, "9000"]
        with serve_tcp_proxy(into) as port:
            yield f"https://127.0.0.1:{port}"

    @contextmanager
    def network_of(self, name: str) -> Iterator[None]:
        """Let this thread's connections come from a machine; only for root's own podman."""
        pid = self._run("inspect", "--format", "{{.State.Pid}}", self._container(name))
        with netns.inside_file(Path(f"/proc/{pid}/ns/net"), name):
            yield


def _seed(host_key: Path, admin_key: str) -> bytes:
    """A tar file of the machine's own files with their owners and modes, which `podman cp` keeps."""
    admin = image.ADMIN_UID
    public = host_key.with_name(host_key.name + ".pub")
    home = f"home/{image.ADMIN}"
    files = [
        ("etc/machine-id", f"{uuid.uuid4().hex}\n".encode(), 0o444, 0),
        ("etc/ssh/ssh_host_ed25519_key", host_key.read_bytes(), 0o600, 0),
        ("etc/ssh/ssh_host_ed25519_key.pub", public.read_bytes(), 0o644, 0),
        (f"{home}/.ssh/authorized_keys", f"{admin_key}\n".encode(), 0o644, admin),
    ]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content, mode, owner in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, owner, owner
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()
