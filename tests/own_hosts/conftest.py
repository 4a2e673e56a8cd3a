"""A new user: a clean home, a checkout, two Debian machines and an S3 server, and docs/own-hosts.md followed exactly as written.

The hosts are sandbox machines that are reached like any other host: by name, with the admin's key, with sudo. The stack uses nothing of the
sandbox: it names `existing` hosts and an `s3` storage.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from minio import MinioAdmin
from minio.credentials import StaticProvider

import toolchain
from sandbox import Sandbox, netns
from sandbox.bucket import SandboxBucket
from tests.doc_shell import DocShell, Ended, blocks, commands, doc_shell
from tests.integration.checkout import copy_checkout
from tests.networks import free_network
from toolchain.checkout import ROOT

BUCKET = "own-hosts"
ACCESS_KEY, SECRET_KEY = "own-web1", "a-secret-of-web1-alone-0123456789"
# The names in the template and in the document's commands.
RELAY, WEB1 = ("relay.prod.example.com", "relay.example.com"), ("web1.prod.example.com", "web1")
CHAPTERS = (
    "## 1. What you need",
    "## 2. Pulumi and its state",
    "## 3. The stack file",
    "## 4. Set it up, back up, restore",
)
# Already done by the fixture, or too slow for a test.
NOT_RUN = {
    "python3 -m venv .venv": "the packages are those of the environment that runs the tests",
}


@dataclass
class OwnHosts:
    """``ran``: the document's commands in order, and how they ended."""

    box: Sandbox
    shell: DocShell
    home: Path
    checkout: Path
    facts: dict[str, dict[str, Any]]
    ran: list[Ended] = field(default_factory=list)

    def ops(self, words: str, **given: Any) -> Ended:
        """Run a verb in the same shell in which the document's commands were run."""
        return self.shell.run(f"lastcopy {words}", **given)

    def on(self, machine: str, script: str) -> str:
        """Run as root on the machine, without SSH."""
        return subprocess.run(
            self.box.command(machine, ["sh", "-euc", script]), capture_output=True, text=True, check=True
        ).stdout


@pytest.fixture(scope="package")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnHosts]:
    toolchain.ensure()
    home = tmp_path_factory.mktemp("home")
    box = Sandbox(tmp_path_factory.mktemp("cloud") / "own")
    try:
        facts = _machines(box)
        shell = _shell(box, home, facts, tmp_path_factory.mktemp("shell"))
        with doc_shell(shell):
            made = OwnHosts(box, shell, home, home / "lastcopy", facts)
            names = "".join(f"{address} {name}\n" for name, address in shell.hosts.items())
            made.on("own-web1", f"printf '{names}' >>/etc/hosts")  # the user's DNS
            made.on("own-web1", "mkdir -p /srv/data && head -c 3000000 /dev/urandom >/srv/data/blob && echo one >'/srv/data/a name'")  # fmt: skip
            _follow(made)
            yield made
    finally:
        box.destroy()


def _machines(box: Sandbox) -> dict[str, dict[str, Any]]:
    """Network, storage, and two machines that know nothing of this project yet."""
    box.network_up(free_network(), "nspawn")
    with ThreadPoolExecutor() as pool:
        relay = pool.submit(box.machine_up, "own-relay", "relay")
        web1 = pool.submit(box.machine_up, "own-web1", "source")
        storage = pool.submit(box.storage_up, SandboxBucket("not-used", "GOVERNANCE", 1)).result()
        facts = {"relay": relay.result(), "web1": web1.result(), "storage": storage}
    plan = box.plan
    # In the sandbox only the relay reaches the storage. An operator's break-glass verbs must reach it, too.
    subprocess.run(
        ["nsenter", f"--net={netns.path(plan.router_ns)}", "nft", "insert", "rule", "inet", plan.table, "forward",
         "iifname", "host", "ip", "daddr", str(plan.storage), "accept"],
        check=True,
    )  # fmt: skip
    return facts


def _shell(box: Sandbox, home: Path, facts: dict[str, dict[str, Any]], folder: Path) -> DocShell:
    """The new user's: a key for the hosts, host keys compared on their consoles, the storage administrator's session."""
    checkout = home / "lastcopy"
    checkout.mkdir()
    copy_checkout(checkout)
    ssh = home / ".ssh"
    ssh.mkdir(mode=0o700)
    shutil.copy2(box.admin_key, ssh / "backup-admin")
    (ssh / "config").write_text("IdentityFile ~/.ssh/backup-admin\n")
    names = {**dict.fromkeys(RELAY, "relay"), **dict.fromkeys(WEB1, "web1")}
    (ssh / "known_hosts").write_text(
        "".join(f"{name} {facts[of]['host_key']}\n" for name, of in names.items())
    )
    with box.storage_admin() as (_, ca, user, secret):
        shutil.copy2(ca, home / "storage-ca.pem")
    make_identity(box, "web1", ACCESS_KEY, SECRET_KEY)
    key = home / "break-glass.env"
    key.touch(0o600)
    key.write_text(f"AWS_ACCESS_KEY_ID={user}\nAWS_SECRET_ACCESS_KEY={secret}\n")
    tools = toolchain.ensure("restic")["restic"].path.parents[3]
    return DocShell(
        folder=folder,
        checkout=checkout,
        home=home,
        hosts={name: str(facts[of]["address"]) for name, of in names.items()},
        environment={
            "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LASTCOPY_CACHE": str(tools),
            "EDITOR": f"{sys.executable} {_editor(folder, facts)}",
            # Where a person would answer yes.
            "PULUMI_SKIP_CONFIRMATIONS": "true",
            "AWS_ENDPOINT_URL": str(facts["storage"]["endpoint"]),
            "AWS_CA_BUNDLE": str(home / "storage-ca.pem"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": secret,
        },
    )


def make_identity(box: Sandbox, source: str, access_key: str, secret_key: str) -> None:
    """A source's own identity, with exactly the policy that docs/configuration.md gives."""
    import urllib3

    text = (ROOT / "docs" / "configuration.md").read_text()
    policy = re.search(r"<!-- generated: identity -->\n```json\n(.*?)```", text, re.DOTALL)
    assert policy is not None
    document = json.loads(policy[1].replace("BUCKET", BUCKET).replace("SOURCE", source))
    with box.storage_admin() as (origin, ca, user, secret):
        admin = MinioAdmin(
            endpoint=origin.removeprefix("https://"), credentials=StaticProvider(user, secret),
            http_client=urllib3.PoolManager(ca_certs=ca),
        )  # fmt: skip
        admin.policy_add(access_key, policy=document)
        admin.user_add(access_key, secret_key)
        admin.attach_policy([access_key], user=access_key)


def _editor(folder: Path, facts: dict[str, dict[str, Any]]) -> Path:
    """The edits of a person in the stack file: storage, the source's host key and key id; everything else stays as in the template."""
    changes = {
        "storage": {"endpoint": facts["storage"]["endpoint"], "bucket": BUCKET, "caCertificate": facts["storage"]["ca_certificate"]},
        "hostKey": facts["web1"]["host_key"], "accessKeyId": ACCESS_KEY,
    }  # fmt: skip
    (folder / "changes.json").write_text(json.dumps(changes))
    program = folder / "editor.py"
    program.write_text(
        "import json, sys, yaml\n"
        f"wanted = json.load(open({str(folder / 'changes.json')!r}))\n"
        "file = yaml.safe_load(open(sys.argv[1]))\n"
        "config = file['config']\n"
        "config['lastcopy:storage']['s3'].update(wanted['storage'])\n"
        "source = config['lastcopy:sources'][0]\n"
        "source['host']['hostKey'] = wanted['hostKey']\n"
        "source['identity']['accessKeyId'] = wanted['accessKeyId']\n"
        "yaml.safe_dump(file, open(sys.argv[1], 'w'), sort_keys=False)\n"
    )
    return program


def _follow(own: OwnHosts) -> None:
    """Run every command of the chapters, changing only the reader's own names."""
    for block in (block for chapter in CHAPTERS for block in blocks(ROOT / "docs" / "own-hosts.md", chapter)):
        for command in commands(block):
            if any(command.startswith(known) for known in NOT_RUN):
                continue
            own.ran.append(own.shell.run(_filled(own, command), stdin=_asked(command)).ok())


def _filled(own: OwnHosts, command: str) -> str:
    text = re.sub(r"\bBUCKET\b", BUCKET, command)
    if "hostKey' 'ssh-ed25519 AAAA…'" in text:
        # The key that ssh-keyscan has just shown, compared with that on the console.
        (shown,) = [one for one in own.ran if one.command.startswith("ssh-keyscan")]
        key = " ".join(shown.out.split()[1:3])
        assert key == own.facts["relay"]["host_key"]
        text = text.replace("ssh-ed25519 AAAA…", key)
    return text


def _asked(command: str) -> str:
    return f"{SECRET_KEY}\n" if "--secret" in command else ""


def settings(own: OwnHosts) -> dict[str, Any]:
    """The stack file's settings."""
    content = yaml.safe_load((own.checkout / "stacks" / "Pulumi.prod.yaml").read_text())
    found: dict[str, Any] = content["config"]
    return found
