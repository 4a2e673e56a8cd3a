"""The contenders. All use one kernel and the same network path (source host, router, relay host, router, storage host)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.farm import (
    BORG_PORT,
    BUCKET,
    CONTENDERS,
    DATA,
    RELAY,
    SEED_PORT,
    SOURCE,
    BenchError,
    Farm,
    checked,
)
from bench.rounds import Contender

OURS = "relay (lastcopy)"
STRAIGHT = "restic straight to S3"
STRAIGHT_TUNED = "restic straight to S3, our restic settings"
SEED = "seed recipe, rclone of today"
SEED_OLD = "seed recipe, Debian 12's rclone"
BORG = "borg append-only over ssh"
RESTORED = "/var/tmp/bench-restored"  # noqa: S108 - inside a machine of our own
TMP = "/var/cache/lastcopy/tmp"  # where the product's wrapper lets restic build packs; the same for all


class _Restic:
    """A contender that uses restic; ``restic`` is the shell command that starts it."""

    name: str
    farm: Farm
    restic: str
    prefix: str
    cache = "/root/bench/cache"
    backup_options = ""

    def prepare(self) -> None:
        self.farm.drop_objects(self.prefix)
        self.farm.on(SOURCE, f"rm -rf {self.cache} {RESTORED}; mkdir -p {TMP}")
        self.farm.on(SOURCE, f"{self.restic} init --quiet")

    def backup(self) -> None:
        self.farm.on(SOURCE, f"cd {DATA} && {self.restic} backup --quiet {self.backup_options} {DATA}")

    def restore(self) -> None:
        self.farm.on(SOURCE, f"{self.restic} restore latest --quiet --target {RESTORED}")

    def clean(self) -> None:
        self.farm.on(SOURCE, f"rm -rf {RESTORED}")
        self.farm.drop_objects(self.prefix)


class Ours(_Restic):
    """The product as `pulumi up` installed it: sshd, forced command, rclone.conf, ssh_config, `restic-backup`."""

    def __init__(self, farm: Farm, name: str = OURS) -> None:
        self.name, self.farm, self.prefix = name, farm, f"{SOURCE}/"
        self.restic, self.cache = "restic-backup", "/var/cache/lastcopy/restic"
        concurrency = farm.on(SOURCE, "sed -n s/^read_concurrency=//p /etc/lastcopy/backup.conf").strip()
        self.backup_options = f"--host {SOURCE} --group-by host --read-concurrency {concurrency}"


class Straight(_Restic):
    """restic on the source host with the storage's keys: simple, but ransomware has the keys as well."""

    def __init__(self, farm: Farm, name: str = STRAIGHT, options: str = "") -> None:
        self.name, self.farm, self.prefix = name, farm, f"{CONTENDERS}/straight/"
        where = f"s3:https://{farm.box.plan.storage}:9000/{BUCKET}/{self.prefix.rstrip('/')}"
        self.restic = (
            f". /root/bench/environment; TMPDIR={TMP} restic --cacert /root/bench/ca.pem "
            f"--cache-dir {self.cache} --password-file /root/bench/password {options} -r {where}"
        )


def our_restic_settings(farm: Farm) -> str:
    """restic directly to S3, with the connections, pack size and compression of the product's wrapper."""
    lines = farm.on(SOURCE, "sed -n '/^[a-z]/p' /etc/lastcopy/restic.conf").split()
    found = dict(line.split("=", 1) for line in lines)
    return (
        f"-o s3.connections={found['connections']} --pack-size {found['pack_size']} "
        f"--compression {found['compression']}"
    )


class Seed(_Restic):
    """The recipe of the restic forum: one line in authorized_keys, ssh and rclone with default settings."""

    def __init__(self, farm: Farm, name: str = SEED, rclone: str = "/usr/local/bin/rclone") -> None:
        self.name, self.farm, self.prefix = name, farm, f"{CONTENDERS}/seed/"
        self.rclone = rclone
        relay = farm.address(RELAY)
        self.restic = (
            f"TMPDIR={TMP} restic --cache-dir {self.cache} --password-file /root/bench/password "
            f"-o rclone.program='ssh -p {SEED_PORT} -i /root/bench/key "
            f"-o UserKnownHostsFile=/root/bench/known_hosts seed@{relay}' -o rclone.args= -r rclone:"
        )

    def prepare(self) -> None:
        key = self.farm.on(SOURCE, "cat /root/bench/key.pub").strip()
        serve = f"{self.rclone} serve restic --stdio --append-only --ca-cert /home/seed/ca.pem"
        line = f'restrict,command="{serve} vault:{BUCKET}/{self.prefix.rstrip("/")}" {key}\n'
        self.farm.put(RELAY, "/home/seed/.ssh/authorized_keys", line)
        self.farm.on(RELAY, "chown -R seed: /home/seed/.ssh")
        super().prepare()


@dataclass
class Borg:
    """The workstation's borg in the two hosts' networks, to a disk, because the machines have no Python.

    Its sshd is the workstation's, with default settings and no container around it: a small advantage.
    """

    farm: Farm
    name: str = BORG

    def __post_init__(self) -> None:
        self.folder = self.farm.work / "borg"
        self.folder.mkdir()
        missing = [
            tool for tool in ("borg", "sshd", "ssh") if shutil.which(tool, path="/usr/bin:/usr/sbin") is None
        ]
        if missing:
            raise BenchError(
                f"not installed: {', '.join(missing)}; fix: apt-get install borgbackup openssh-server"
            )
        for key in ("host", "client"):
            checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key)])
        client = (self.folder / "client.pub").read_text()
        serve = f"/usr/bin/borg serve --append-only --restrict-to-path {self.folder}"
        self._write("authorized_keys", f'restrict,command="{serve}" {client}')
        self._write(
            "sshd_config",
            f"Port {BORG_PORT}\nHostKey {self.folder}/host\nAuthorizedKeysFile {self.folder}/authorized_keys\n"
            "PidFile none\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nStrictModes no\n",
        )
        self.relay = self.farm.address(RELAY)
        host = " ".join((self.folder / "host.pub").read_text().split()[:2])
        self._write("known_hosts", f"[{self.relay}]:{BORG_PORT} {host}\n")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # Ends with the namespace when the sandbox is destroyed, and before that by `stop`.
        self._sshd = subprocess.Popen(
            [*self.farm.in_network_of(RELAY), "/usr/sbin/sshd", "-D", "-f", str(self.folder / "sshd_config")],
            env={"PATH": "/usr/bin:/usr/sbin"},
            stdin=subprocess.DEVNULL,
        )
        self.farm.count_for(RELAY, self._sshd.pid)
        self.repository = f"ssh://root@{self.relay}:{BORG_PORT}{self.folder}/repository"

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o600)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the borg client."""
        return {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "BORG_BASE_DIR": str(self.folder / "base"),
            "BORG_PASSPHRASE": "bench",
            "BORG_RSH": f"ssh -i {self.folder}/client -o UserKnownHostsFile={self.folder}/known_hosts",
        }

    def _borg(self, *words: str, cwd: Path | None = None) -> None:
        checked([*self.farm.in_network_of(SOURCE), "borg", *words], env=self.environment, cwd=cwd)

    def prepare(self) -> None:
        self.clean()
        self._borg("init", "--encryption=repokey-blake2", self.repository)

    def backup(self) -> None:
        self._borg("create", f"{self.repository}::one", ".", cwd=self.farm.work / "data")

    def restore(self) -> None:
        (self.folder / "restored").mkdir()
        self._borg("extract", f"{self.repository}::one", cwd=self.folder / "restored")

    def clean(self) -> None:
        for name in ("repository", "base", "restored"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def stop(self) -> None:
        self._sshd.terminate()
        self._sshd.wait(10)


def all_contenders(farm: Farm) -> tuple[Sequence[Contender], list[str]]:
    """The contenders that can run here, and for the others the reason why not."""
    absent: list[str] = []
    found: list[Contender] = [
        Straight(farm),
        Straight(farm, STRAIGHT_TUNED, our_restic_settings(farm)),
        Ours(farm),
        Seed(farm),
    ]
    if farm.old_rclone:
        found.append(Seed(farm, SEED_OLD, "/usr/local/bin/rclone-old"))
    else:
        absent.append(f"{SEED_OLD}: {farm.why_no_old_rclone}")
    try:
        found.append(Borg(farm))
    except (BenchError, OSError) as error:
        absent.append(f"{BORG}: {error}")
    return found, absent
