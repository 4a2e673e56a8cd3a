"""The whole AWS stack of a copied checkout: relay on a sandbox machine, vault in minio, two source hosts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from minio import Minio

from tests.aws.double import machines
from tests.aws.double.cloud import SANDBOX
from tests.aws.double.mirror import storage_of
from tests.aws.world import ACCOUNT, REGION, Cloud, Moto, aws_environment, install_double
from tests.integration.checkout import Running, copy_checkout
from tests.networks import free_network
from tests.waiting import wait_until

NAME, BUCKET = "awstest", "lastcopy-awstest"
BREAK_GLASS = f"arn:aws:iam::{ACCOUNT}:role/break-glass"
SOURCES = ("web1", "db1")


class AwsStack:
    """The stack, its account and its cloud."""

    first_up: subprocess.CompletedProcess[str]

    def __init__(self, account: Moto, folder: Path) -> None:
        self.account, self.folder = account, folder
        copy_checkout(folder)
        self.running = Running(folder, NAME, free_network())
        self.machines = self.running.machines
        self.cloud = Cloud(self.machines.directory, self.running.network)
        self.faults = folder / "faults.json"

    def prepare(self) -> None:
        """The cloud without anything of the stack in it, and the hosts that are to be backed up."""
        self.cloud.open()
        install_double(self.folder / ".local" / "pulumi")
        self.running.stack.environment.update(
            {**aws_environment(self.account, self.folder), SANDBOX: str(self.machines.directory)}
        )
        self.sources = {name: self.cloud.source(name) for name in SOURCES}

    def create(self) -> None:
        file = self.folder / "awstest.yaml"
        file.write_text(yaml.safe_dump({"config": self.config()}, sort_keys=False))
        self.running.stack.create(file)

    def config(self) -> dict[str, Any]:
        """A stack file as an operator would write it for a trial."""
        key = self.cloud.box.admin_key
        public = key.with_name(f"{key.name}.pub").read_text().split()
        return {
            "lastcopy:environment": "awstest",
            "lastcopy:protect": False,
            "lastcopy:admin": {"user": "admin", "privateKeyFile": str(key)},
            "lastcopy:aws": {"region": REGION, "account": ACCOUNT},
            "lastcopy:storage": {
                "aws": {
                    "bucket": BUCKET,
                    "lock": {"mode": "GOVERNANCE", "days": 2},
                    "breakGlass": BREAK_GLASS,
                    "purpose": "test",
                    "alarms": {"email": "ops@example.com"},
                }
            },
            "lastcopy:intermediate": {
                "ec2": {
                    "adminPublicKey": " ".join(public[:2]),
                    "adminsFrom": ["203.0.113.0/24"],
                    "sourcesFrom": ["198.51.100.0/24"],
                }
            },
            "lastcopy:sources": [
                {
                    "name": name,
                    "host": {"address": facts["address"], "hostKey": facts["host_key"]},
                    "paths": ["/srv"],
                    "randomizedDelay": "0s",
                }
                for name, facts in self.sources.items()
            ],
        }

    def change(self, path: str, value: Any) -> None:
        """Edit the stack file: `storage.aws.lock.days`, 2."""

        def edit(config: dict[str, Any]) -> None:
            names = path.split(".")
            at: Any = config[f"lastcopy:{names[0]}"]
            for name in names[1:-1]:
                at = at[int(name)] if name.isdigit() else at[name]
            at[names[-1]] = value

        self.running.configure(edit)

    def fault(self, faults: dict[str, tuple[str, str]]) -> None:
        """What AWS refuses from now on: type -> code and message."""
        self.faults.write_text(json.dumps(faults))

    def relays(self) -> list[str]:
        """The instances that run as machines."""
        return [machine.name for machine in self.cloud.box.machines() if machine.role == "relay"]

    # the account and the storage, as they are

    def in_account(self) -> dict[str, list[str]]:
        """What the stack has there; other tests' things are not its own."""
        ask = self.account.client
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
        """The object storage, with its own root's rights."""
        with storage_of(self.cloud.box) as (client, _):
            yield client

    def storage_keys(self) -> list[str]:
        """The access keys that the storage takes."""
        with storage_of(self.cloud.box) as (_, admin):
            return sorted(json.loads(admin.user_list()))

    def impostor(self) -> None:
        """The relay's address leads to a machine that answers ssh, takes every key, and is not the relay."""
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

    # a source's own doing

    def backup(self, source: str) -> None:
        """By the timer's own service."""
        self.machines.run(source, "systemctl", "start", "lastcopy-backup.service")

    def backup_in_the_end(self, source: str) -> None:
        """As ``backup``; where the connection is cut, the service's own next try has to succeed."""
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
        """A backup with an open session that goes on writing, for ten minutes if nothing ends it."""
        self.machines.run(source, "rm", "-f", "/run/long-backup")
        script = "for i in $(seq 600); do head -c 2000000 /dev/urandom; touch /run/long-backup; sleep 1; done"
        slow = ("sh", "-c", script)
        words = self.machines.words(source, "restic-backup", "backup", "--stdin-from-command", "--", *slow)
        running = subprocess.Popen(
            words, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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
        """A tree to lose; its digest."""
        script = (
            "mkdir -p /srv/data && cd /srv/data && head -c 3000000 /dev/urandom >blob && printf one >'a name'"
        )
        self.machines.shell(source, script)
        return self.digest(source, "/srv/data")

    def digest(self, source: str, folder: str) -> str:
        script = f"cd {folder} && find . -printf '%y %m %U:%G %s %T@ %l %p\\n' | sort && find . -type f -exec sha256sum {{}} + | sort"
        return self.machines.shell(source, script).stdout

    def restored(self, source: str, snapshot: str = "latest") -> str:
        """The digest of what comes back."""
        self.machines.shell(source, "rm -rf /var/tmp/restored")
        words = ("restore", snapshot, "--target", "/var/tmp/restored", "--include", "/srv/data")
        self.machines.run(source, "restic-backup", *words)
        return self.digest(source, "/var/tmp/restored/srv/data")

    def close(self) -> None:
        try:
            self.faults.unlink(missing_ok=True)
            self.running.close()
        finally:
            self.cloud.close()
