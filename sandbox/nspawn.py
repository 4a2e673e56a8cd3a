"""Driver nspawn: machines are Debian trees that systemd-nspawn boots in our own network namespaces."""

from __future__ import annotations

import ctypes
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox import image, launch, netns, network
from sandbox.errors import SandboxError
from sandbox.keys import greets
from sandbox.plan import AddressPlan, SandboxMachine
from sandbox.run import CLEAN, Process, child_with_pid_one, in_network_namespace
from sandbox.storage_server import START_STORAGE, STORAGE_UID
from sandbox.store import read_json, write_json
from sandbox.tools import TOOLS, tool
from sandbox.waiting import becomes_true

START = """\
folder=$1 tree=$2 machine=$3 name=$4 tool=$5 target=$6
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
fuse=
[ ! -e /dev/fuse ] || fuse=--bind=/dev/fuse
exec systemd-nspawn --register=no --keep-unit --boot --directory="$folder/root" \\
  --machine="$machine" --hostname="$name" --network-namespace-path=/proc/self/ns/net \\
  --capability=CAP_NET_ADMIN --console=pipe --resolv-conf=off --timezone=off --link-journal=no \\
  ${tool:+"--bind-ro=$tool:$target"} ${fuse:+"$fuse"}
"""
# A cgroup hierarchy of its own, whatever the workstation mounts; no lock files, because the sandbox has its own lock.
ENVIRONMENT = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_LOCK": "0"}
BOOT_SECONDS = 90
STOP_SECONDS = 20
NEEDS = ("systemd-nspawn", "mmdebstrap", "nft", "ip", "nsenter", "unshare", "setpriv", "ssh-keygen", "mount")


class Nspawn:
    """Keeps each machine's files in machines/NAME of the runtime folder (upper: everything it wrote), and everything else in the kernel."""

    name = "nspawn"

    def __init__(self, directory: Path, plan: AddressPlan) -> None:
        self.directory, self.plan = directory, plan

    @staticmethod
    def missing() -> list[str]:
        """What this host lacks for this driver, in words for people."""
        lacks = [f"`{program}`" for program in NEEDS if shutil.which(program, path=CLEAN["PATH"]) is None]
        return lacks + ([] if os.geteuid() == 0 else ["root"])

    # network

    def prepare(self) -> None:
        image.ensure_tree()

    def network_up(self, machines: Sequence[SandboxMachine]) -> None:
        network.ensure_base(self.plan, self.directory)
        network.apply_rules(self.plan, machines)

    def network_down(self) -> None:
        network.remove_all(self.plan)
        launch.remove_cgroups(f"{self.plan.prefix}[-_]*")

    def exists(self) -> bool:
        """Whether anything of this sandbox is in the kernel."""
        return bool(netns.names(self.plan.prefix)) or network.has_link(None, self.plan.link)

    def refuse_conflict(self) -> None:
        network.refuse_range_in_use(self.plan)

    # machines

    def folder(self, name: str) -> Path:
        return self.directory / "machines" / name

    def machine_make(self, machine: SandboxMachine, host_key: Path, admin_key: str) -> None:
        """Create the machine's own files before its first boot: name, identity, host key, the admin's key."""
        folder = self.folder(machine.name)
        for part in ("upper", "work", "root"):
            shutil.rmtree(folder / part, ignore_errors=True)
            (folder / part).mkdir(mode=0o755)
        _seed(folder / "upper", machine.name, host_key, admin_key)
        write_json(folder / "base.json", image.digest(machine.debian))

    def _base(self, machine: SandboxMachine) -> Path:
        """The base image on which the machine was made. Its own files do not fit another image."""
        today = image.digest(machine.debian)
        made_on = read_json(self.folder(machine.name) / "base.json") or today
        if made_on == today:
            return image.ensure_tree(machine.debian)
        if not image.tree(made_on).is_dir():
            fix = f"lastcopy sandbox machine-down --dir {self.directory} --name {machine.name}, then create it again"
            raise SandboxError(
                f"the base image of {machine.name} is gone", where=str(image.tree(made_on)), fix=fix
            )
        return image.tree(made_on)

    def machine_wire(self, machine: SandboxMachine) -> None:
        address = str(self.plan.address(machine.slot))
        network.ensure_leg(
            self.plan, self.plan.machine_ns(machine.name), self.plan.leg(machine.slot), address
        )

    def machine_start(self, machine: SandboxMachine, machines: Sequence[SandboxMachine]) -> None:  # noqa: ARG002
        """Start a machine unless it runs; `machine_wait` waits for it."""
        folder = self.folder(machine.name)
        if launch.running(folder / "process.json"):
            return
        refuse_without_inotify(machine.name)
        program = TOOLS[machine.role]
        unit = self.plan.machine_ns(machine.name)
        arguments = [str(folder), str(self._base(machine)), unit, machine.name]
        arguments += [str(tool(program).resolve()) if machine.tool else "", f"/usr/local/bin/{program}"]
        log, record = folder / "boot.log", folder / "process.json"
        launch.start(unit, unit, START, arguments, log=log, record=record, environment=ENVIRONMENT)

    def machine_wait(self, machine: SandboxMachine) -> None:
        """Wait until a machine answers ssh and allows logins, with one connection, because sshd penalizes more."""
        folder, unit = self.folder(machine.name), self.plan.machine_ns(machine.name)

        def answers() -> bool:
            process = launch.running(folder / "process.json")
            if process is None:
                raise launch.failure(unit, folder / "boot.log", folder / "process.json")
            leader = child_with_pid_one(process.pid)
            closed = leader is None or Path(f"/proc/{leader}/root/run/nologin").exists()
            return not closed and greets(str(self.plan.address(machine.slot)), 22)

        if not becomes_true(answers, BOOT_SECONDS):
            look = f"exec --dir {self.directory} --name {machine.name} -- systemctl --failed"
            raise SandboxError(
                f"{machine.name} does not answer ssh after {BOOT_SECONDS} s", fix=f"lastcopy sandbox {look}"
            )

    def machine_stop(self, machine: SandboxMachine) -> None:
        process = launch.running(self.folder(machine.name) / "process.json")
        if process:
            process.end(grace=STOP_SECONDS)

    def machine_drop(self, name: str, slot: int | None) -> None:
        network.drop_leg(
            self.plan, self.plan.machine_ns(name), self.plan.leg(slot) if slot is not None else "none"
        )
        launch.remove_cgroups(self.plan.machine_ns(name))

    def machine_running(self, name: str) -> bool:
        return launch.running(self.folder(name) / "process.json") is not None

    def dial(self, machine: SandboxMachine) -> tuple[str, int]:
        """The address and port at which the workstation reaches its sshd."""
        return str(self.plan.address(machine.slot)), 22

    def command(self, name: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` as root inside the machine."""
        process = launch.running(self.folder(name) / "process.json")
        leader = child_with_pid_one(process.pid) if process else None
        if leader is None:
            raise SandboxError(f"{name} does not run", fix="lastcopy sandbox machine-up … --name " + name)
        clean = ["env", "-i", "HOME=/root", "LC_ALL=C.UTF-8", f"PATH={CLEAN['PATH']}"]
        if os.environ.get("TERM"):
            clean.append(f"TERM={os.environ['TERM']}")
        enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        return [*enter, "--", *clean, "sh", "-c", 'cd / && exec "$@"', "sh", *argv]

    # storage

    @property
    def storage_address(self) -> str:
        return str(self.plan.storage)

    def storage_start(self, folder: Path) -> None:
        namespace = self.plan.storage_ns
        network.ensure_leg(self.plan, namespace, "storage", str(self.plan.storage))
        record, data = folder / "process.json", folder / "data"
        if launch.running(record):
            return
        data.mkdir(mode=0o700, exist_ok=True)
        os.chown(data, STORAGE_UID, STORAGE_UID)
        arguments = [str(folder), str(tool("minio").resolve()), f"{self.plan.storage}:9000", str(STORAGE_UID)]
        launch.start(namespace, namespace, START_STORAGE, arguments, log=folder / "server.log", record=record)

    def storage_check(self, folder: Path) -> None:
        if not launch.running(folder / "process.json"):
            raise launch.failure("the storage", folder / "server.log", folder / "process.json")

    def storage_drop(self, folder: Path) -> None:
        process = launch.running(folder / "process.json")
        if process:
            process.end(grace=5)
        network.drop_leg(self.plan, self.plan.storage_ns, "storage")
        launch.remove_cgroups(self.plan.storage_ns)

    @contextmanager
    def storage_dial(self) -> Iterator[str]:
        """Let this thread's connections come from the storage host itself. Yields its HTTPS origin."""
        with netns.inside(self.plan.storage_ns):
            yield f"https://{self.plan.storage}:9000"

    @contextmanager
    def network_of(self, name: str) -> Iterator[None]:
        """Let this thread's connections come from a machine."""
        with netns.inside(self.plan.machine_ns(name)):
            yield

    def processes(self, name: str) -> list[Process]:
        """Every process of the machine, including its supervisor."""
        namespace = self.plan.machine_ns(name)
        return in_network_namespace(netns.inode(namespace)) if netns.mounted(namespace) else []


def _seed(upper: Path, name: str, host_key: Path, admin_key: str) -> None:
    etc, ssh = upper / "etc", upper / "etc" / "ssh"
    ssh.mkdir(parents=True, mode=0o755)
    (etc / "hostname").write_text(f"{name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    for suffix, mode in (("", 0o600), (".pub", 0o644)):
        target = ssh / f"ssh_host_ed25519_key{suffix}"
        shutil.copyfile(host_key.with_name(host_key.name + suffix), target)
        target.chmod(mode)
    home = upper / "home" / image.ADMIN
    keys = home / ".ssh"
    keys.mkdir(parents=True)
    (keys / "authorized_keys").write_text(f"{admin_key}\n")
    for path, mode in ((home, 0o700), (keys, 0o700), (keys / "authorized_keys", 0o600)):
        path.chmod(mode)
        os.chown(path, image.ADMIN_UID, image.ADMIN_UID)
    for folder in (upper, etc, ssh, upper / "home"):
        folder.chmod(0o755)  # whatever the caller's umask


def refuse_without_inotify(name: str) -> None:
    """Raise if this host has no inotify instances left: a machine's systemd needs about ten, and without them it ends without a message."""
    libc = ctypes.CDLL(None, use_errno=True)
    opened = []
    try:
        for _ in range(16):
            descriptor = libc.inotify_init1(os.O_CLOEXEC)
            if descriptor < 0:
                raise SandboxError(
                    f"{name} cannot boot: this host's inotify instances are used up ({os.strerror(ctypes.get_errno())})",
                    where="fs.inotify.max_user_instances",
                    fix="sysctl -w fs.inotify.max_user_instances=512",
                )
            opened.append(descriptor)
    finally:
        for descriptor in opened:
            os.close(descriptor)
