"""The whole AWS stack, made by following the trial of docs/aws.md: relay on a sandbox machine, vault in minio, source hosts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from minio import Minio

from ops.hosts.machines import Machines
from tests.aws.document import TRIAL, Command, day_2
from tests.aws.double import machines
from tests.aws.double.cloud import SANDBOX
from tests.aws.double.mirror import storage_of
from tests.aws.reader import MFA_CODE, Reader
from tests.aws.world import DOCS_REGION, Cloud, Moto
from tests.doc_shell import Ended
from tests.networks import free_network
from tests.trees import listing_of
from tests.waiting import wait_until
from toolchain.checkout import ROOT

BUCKET = "example-backups-test"
SOURCES = ("web1", "db1")
STEP = re.compile(r"^ *([-+~]+) +(\S+) (\S+) (created|updated|deleted|replaced)\b", re.MULTILINE)


class Ground:
    """The cloud without anything of the stack, and the hosts to be backed up; prepared while other fixtures run."""

    def __init__(self, folder: Path) -> None:
        self.cloud = Cloud(folder / "sandbox", free_network())
        self._pool = ThreadPoolExecutor(1)
        self._made: Future[dict[str, dict[str, Any]]] = self._pool.submit(self._make)

    def _make(self) -> dict[str, dict[str, Any]]:
        self.cloud.open()
        return {name: self.cloud.source(name) for name in SOURCES}

    def sources(self) -> dict[str, dict[str, Any]]:
        """Facts about the hosts, once all are up."""
        return self._made.result(120)

    def close(self) -> None:
        self._pool.shutdown()
        self.cloud.close()


class AwsStack:
    """The trial's stack, its account and its cloud. ``reader`` has the session of the role in use."""

    first_up: Ended

    def __init__(self, account: Moto, ground: Ground, reader: Reader) -> None:
        self.account, self.reader, self.shell = account, reader, reader.shell
        self.cloud, self.sources = ground.cloud, ground.sources()
        self.machines = Machines(ROOT, self.cloud.box.directory)
        self.faults = self.shell.home / "faults.json"
        self.file = self.shell.checkout / "stacks" / "Pulumi.test.yaml"

    def create(self) -> None:
        """Run the block of "A trial first" up to its `pulumi up`, as break-glass."""
        self._hosts_known()
        self.become("break-glass")
        copy, init, up, self.down = TRIAL.commands()
        self.reader.run(copy)
        self.configure(self._edit)
        self.reader.run(init)
        self.first_up = self.reader.run(up)

    def _hosts_known(self) -> None:
        """The sources' names, their host keys as compared on their consoles, and the admin key that opens them."""
        home, shell = self.shell.home, self.shell
        for suffix in ("", ".pub"):
            key = self.cloud.box.admin_key
            shutil.copy2(key.with_name(f"{key.name}{suffix}"), home / ".ssh" / f"backup-admin{suffix}")
        (home / ".ssh" / "config").write_text("IdentityFile ~/.ssh/backup-admin\n")
        shell.resolve(
            {name: facts["address"] for source, facts in self.sources.items() for name in (source, _address(source))}
        )  # fmt: skip
        known = "".join(f"{name} {facts['host_key']}\n" for name, facts in self.sources.items())
        (home / ".ssh" / "known_hosts").write_text(known)
        shell.run(f"export {SANDBOX}={self.machines.directory}").ok()

    def _edit(self, config: dict[str, Any]) -> None:
        """Make the edits that the document asks for, add addresses for alarms, and remove the random delay of backups."""
        public = (self.shell.home / ".ssh" / "backup-admin.pub").read_text().split()
        config["lastcopy:intermediate"]["ec2"]["adminPublicKey"] = " ".join(public[:2])
        config["lastcopy:storage"]["aws"]["alarms"] = {"email": "ops@example.com"}
        config["lastcopy:storage"]["aws"]["lock"]["days"] = (
            2  # with alarms the lock must be longer than the hours of silence
        )
        # The shell already has a break-glass session, and a role cannot assume itself.
        del config["lastcopy:aws"]["assumeRole"]
        config["lastcopy:sources"] = [{**config["lastcopy:sources"][0], **self._source("web1")}]

    def _source(self, name: str) -> dict[str, Any]:
        host = {"address": _address(name), "hostKey": self.sources[name]["host_key"]}
        return {"name": name, "host": host, "randomizedDelay": "0s"}

    def add_source(self, name: str) -> None:
        def edit(config: dict[str, Any]) -> None:
            config["lastcopy:sources"].append({**self._source(name), "paths": ["/srv"]})

        self.configure(edit)

    def configure(self, change: Any) -> None:
        """Change the stack file as an operator would edit it; what the engine wrote is kept."""
        settings = yaml.safe_load(self.file.read_text())
        change(settings["config"])
        self.file.write_text(yaml.safe_dump(settings, sort_keys=False))

    def change(self, path: str, value: Any) -> None:
        """Change a value of the stack file: `storage.aws.lock.days`, 2; `sources[].paths` is the first source's."""

        def edit(config: dict[str, Any]) -> None:
            first, *names = path.replace("[]", ".0").split(".")
            at: Any = config[f"lastcopy:{first}"]
            for name in names[:-1]:
                at = at[int(name)] if name.isdigit() else at[name]
            at[names[-1]] = value

        self.configure(edit)

    def become(self, role: str) -> None:
        """Get a session of that role by the command that "Day 2" gives for break-glass."""
        (command,) = [
            one for one in day_2("change lock, storage classes or break-glass, or bring in a new version's bucket policy")
            if one.startswith("eval ")
        ]  # fmt: skip
        assert "--profile break-glass" in command
        self.shell.run(command.replace("break-glass", role), stdin=MFA_CODE).ok()

    def up(self, command: Command | None = None) -> Ended:
        """Run `pulumi up`, or exactly the command of a document's block."""
        return self.reader.run(command) if command else self.shell.run("pulumi up").ok()

    def outputs(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.shell.run("pulumi stack output --json").ok().out)
        return told

    def fault(self, faults: dict[str, tuple[str, str]]) -> None:
        """Make AWS refuse these operations from now on: type -> code and message."""
        self.faults.write_text(json.dumps(faults))

    def relays(self) -> list[str]:
        """The instances that run as machines."""
        return [machine.name for machine in self.cloud.box.machines() if machine.role == "relay"]

    # the account and the storage, as they really are

    def in_account(self) -> dict[str, list[str]]:
        """The stack's resources in the account, without those of other tests."""

        def ask(service: str) -> Any:
            return self.account.client(service, region=DOCS_REGION)

        instances = ask("ec2").describe_instances()["Reservations"]
        return {
            "instances": [
                one["InstanceId"]
                for reservation in instances
                for one in reservation["Instances"]
                if one["State"]["Name"] != "terminated"
            ],
            "addresses": [one["AllocationId"] for one in ask("ec2").describe_addresses()["Addresses"]],
            "networks": [one["VpcId"] for one in ask("ec2").describe_vpcs()["Vpcs"] if not one["IsDefault"]],
            "buckets": [one["Name"] for one in ask("s3").list_buckets()["Buckets"] if one["Name"] == BUCKET],
            "users": [
                one["UserName"]
                for one in ask("iam").list_users()["Users"]
                if one["UserName"].endswith(f"@{BUCKET}")
            ],
            "topics": [one["TopicArn"] for one in ask("sns").list_topics()["Topics"]],
            "rules": [one["Name"] for one in ask("events").list_rules()["Rules"]],
            "alarms": [one["AlarmName"] for one in ask("cloudwatch").describe_alarms()["MetricAlarms"]],
        }

    @contextmanager
    def storage(self) -> Iterator[Minio]:
        """The object storage, as its own root."""
        with storage_of(self.cloud.box) as (client, _):
            yield client

    def storage_keys(self) -> list[str]:
        """The access keys that the storage accepts."""
        with storage_of(self.cloud.box) as (_, admin):
            return sorted(json.loads(admin.user_list()))

    def impostor(self) -> None:
        """Point the relay's address to another machine, which answers ssh and accepts every key."""
        facts = self.cloud.box.machine_up("impostor", "relay")
        self._turn(facts["private_address"])

    def impostor_gone(self) -> None:
        (relay,) = [name for name in self.relays() if name != "impostor"]
        self._turn(str(self.cloud.box.plan.address(self.cloud.box.machine(relay).slot)))
        self.cloud.box.machine_down("impostor")

    def _turn(self, target: str) -> None:
        with machines.elastic(self.machines.directory) as known:
            for entry in known.values():
                entry["target"] = target

    # what a source does itself

    def backup(self, source: str) -> None:
        """Run a backup by the timer's own service."""
        self.machines.run(source, "systemctl", "start", "lastcopy-backup.service")

    def backup_in_the_end(self, source: str) -> None:
        """Like ``backup``; if the connection is cut, the service's own next try must succeed."""
        if self.machines.run(source, "systemctl", "start", "lastcopy-backup.service", check=False).returncode:
            said = self.status(source)
            assert said["exit_code"] == 74, said
            wait_until(lambda: self.status(source)["result"] == "success", 180, f"{source}: no second try")

    def there(self, source: str, path: str) -> bool:
        return self.machines.run(source, "test", "-e", path, check=False).returncode == 0

    def status(self, source: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(
            self.machines.run(source, "cat", "/var/lib/lastcopy/status.json").stdout
        )
        return told

    @contextmanager
    def long_backup(self, source: str) -> Iterator[subprocess.Popen[str]]:
        """A backup with an open session that goes on writing for ten minutes unless something ends it."""
        self.machines.run(source, "rm", "-f", "/run/long-backup")
        script = "for i in $(seq 600); do head -c 2000000 /dev/urandom; touch /run/long-backup; sleep 1; done"
        slow = ("sh", "-c", script)
        # Small packs, because restic notices an ended session only at its next upload.
        backup = ("restic-backup", "backup", "--pack-size", "4", "--stdin-from-command", "--", *slow)
        words = self.machines.words(source, *backup)
        running = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            wait_until(lambda: self.there(source, "/run/long-backup"), 60, "the long backup did not start")
            yield running
        finally:
            self.machines.run(source, "pkill", "-f", "stdin-from-comman[d]", check=False)
            running.kill()
            running.communicate(timeout=60)

    def snapshots(self, source: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(
            self.machines.run(source, "restic-backup", "snapshots", "--json").stdout
        )
        return listed

    def fill(self, source: str) -> str:
        """Make a tree to lose; returns its digest."""
        script = (
            "mkdir -p /srv/data && cd /srv/data && head -c 3000000 /dev/urandom >blob && printf one >'a name'"
        )
        self.machines.shell(source, script)
        return self.digest(source, "/srv/data")

    def digest(self, source: str, folder: str) -> str:
        return self.machines.shell(source, listing_of(folder)).stdout

    def restored(self, source: str, snapshot: str = "latest") -> str:
        """The digest of the restored tree."""
        self.machines.shell(source, "rm -rf /var/tmp/restored")
        words = ("restore", snapshot, "--target", "/var/tmp/restored", "--include", "/srv/data")
        self.machines.run(source, "restic-backup", *words)
        return self.digest(source, "/var/tmp/restored/srv/data")


def _address(source: str) -> str:
    """The first source's address, as in the template."""
    return f"{source}.test.example.com"


def steps(up: Ended) -> set[tuple[str, str]]:
    """What a run did: operation and resource."""
    return {(done, name) for _, kind, name, done in STEP.findall(up.out) if not kind.startswith("lastcopy:")}
