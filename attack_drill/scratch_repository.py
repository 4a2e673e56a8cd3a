"""The drill's scratch repository. It is reached exactly as the source's own repository, which is never touched.

It is below the source's prefix beside its repository (``web1/drill-1a2b3c`` beside ``web1/g1``). It has an account of its own, whose entry on the
relay is a copy of the source's current one (so a weakened entry is weak here as well), and a key made on the source. Its objects stay under the
storage's lock until that ends, hidden by delete markers.
"""

from __future__ import annotations

import base64
import re
import secrets
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from attack_drill.errors import DrillError
from attack_drill.forged_objects import cheap_key
from attack_drill.http2 import Session
from ops.errors import escape_text
from ops.hosts.connection import CommandResult, SshHost

ENTRIES = "/etc/lastcopy/relay"
KEYS = "/etc/ssh/lastcopy/keys"
NAME = re.compile(r"drill-[0-9a-f]{6}")
LEFT = re.compile(
    r"^(/run/lastcopy-drill-[0-9a-f]{6}|/usr/local/lib/lastcopy/drill-[0-9a-f]{6})$", re.MULTILINE
)
# The restic that the wrapper would run: the newest of ours, else the host's.
FIND_RESTIC = (
    "{ printf '%s\\n' /usr/local/lib/lastcopy/restic-*/restic | sort -rV; echo /usr/local/bin/restic; echo /usr/bin/restic; } | "
    'while read -r one; do if [ -x "$one" ]; then echo "$one"; break; fi; done'
)
# Removes the accounts of people that a killed drill enrolled.
FORGET_PEOPLE = r"""
getent passwd | grep -E '^drill-[0-9a-f]{6}:.*:lastcopy person:' | cut -d : -f 1 | while read -r name; do
  pkill -KILL -u "$name"; userdel "$name"; rm -f "/etc/ssh/lastcopy/keys/$name" "/etc/lastcopy/totp/$name"
done
"""
# A tree with names and files that naive copies break.
MAKE_TREE = r"""
set -eu
mkdir -p tree/sub "tree/ odd" && cd tree
head -c 1500000 /dev/urandom >blob; head -c 70000 /dev/urandom >sub/small; printf x >" odd/$(printf 'new\nline')"; printf x >-rf
ln -s /nowhere dangling; : >empty; chmod 640 blob
"""
# The digest of a tree: type, mode, size, link target and content of everything in it.
TREE_DIGEST = r"""
cd "$1" && { find . -printf '%y %m %s %l %p\0' | grep -zv '^d' | sort -z; find . -type f -print0 | sort -z | xargs -0 sha256sum -z; } |
  sha256sum
"""


@dataclass(kw_only=True)
class ScratchRepository:
    """One scratch repository.

    Args:
        source: The source beside whose repository it is.
        host: That source's host.
        relay: The relay.
        name: Its name, which is also its last folder in the storage.
        path: Its prefix in the bucket.
        snapshots: The ids of the snapshots that `make` took, oldest first.
        manifest: The digest of the tree in them.
        entry: The values of its entry's step on the relay.
    """

    source: str
    host: SshHost
    relay: SshHost
    name: str = field(default_factory=lambda: f"drill-{secrets.token_hex(3)}")
    path: str = ""
    snapshots: list[str] = field(default_factory=list)
    manifest: str = ""
    entry: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def folder(self) -> str:
        """The folder on the source for key, password and tree: in memory, readable by root only."""
        return f"/run/lastcopy-{self.name}"

    @property
    def account(self) -> str:
        return f"bk-{self.name}"

    @property
    def ssh(self) -> list[str]:
        """The source's ssh command with this repository's account, without a host."""
        return ["ssh", "-F", f"{self.folder}/ssh_config"]

    def session(self, patience: float = 30) -> Session:
        """A session in raw HTTP/2 over the forced command."""
        return Session(self.host.words(*self.ssh, "relay"), patience=patience)

    def restic(self, *words: str, seconds: float = 60, check: bool = False, stdin: str = "") -> CommandResult:
        """Run restic as root on the source can run it: with this repository's key and password, without our wrapper."""
        return self.host.shell(
            self.restic_line(*words, seconds=seconds), seconds=seconds + 30, check=check, stdin=stdin
        )

    def restic_line(self, *words: str, seconds: float = 60, tmp: str = "") -> str:
        """The shell command that `restic` runs, for callers that watch or interrupt it. ``tmp``: restic's folder for temporary files."""
        return (
            f"cd {self.folder} && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin HOME={self.folder} TMPDIR={self.folder}/{tmp} "
            f'timeout -k 1 {seconds:.0f} "$({FIND_RESTIC})" '
            f"-o rclone.program='ssh -F {self.folder}/ssh_config relay' -o rclone.args=serve --password-file {self.folder}/password "
            f"--cache-dir {self.folder}/{tmp or '.'}/cache -r rclone: {shlex.join(words)}"
        )

    def make(self) -> None:
        """Create the key on the source, the entry on the relay, the repository, a known tree and two snapshots of it."""
        password = secrets.token_urlsafe(24)
        made = self.host.shell(
            f"umask 077 && mkdir {self.folder} && cd {self.folder} && ssh-keygen -q -t ed25519 -N '' -C '' -f key && "
            f"sed -E 's#^( *)User .*#\\1User {self.account}#; s#^( *)IdentityFile .*#\\1IdentityFile {self.folder}/key#' "
            "/etc/lastcopy/ssh_config >ssh_config && cat >password && cat key.pub",
            stdin=password,
        )
        self._enter(made.out.strip())
        self._initialize(password)
        self.host.shell(f"cd {self.folder} && {MAKE_TREE}")
        self.manifest = self._manifest("tree")
        for _ in range(2):
            self.restic("backup", "--quiet", "--host", self.name, "tree", check=True)
            self.host.shell(f"date >>{self.folder}/tree/sub/stamp")
        self.host.shell(f"rm {self.folder}/tree/sub/stamp")
        listed = self.restic("snapshots", "--json", check=True).out
        self.snapshots = re.findall(r'"id":"([0-9a-f]{64})"', listed)
        if len(self.snapshots) != 2:
            raise DrillError(
                f"the scratch repository beside {self.source}'s has {len(self.snapshots)} snapshots, it must have 2"
            )

    def _initialize(self, password: str) -> None:
        """Upload what `restic init` makes, over the forced command, with a key that opens at once: a row runs restic many times."""
        made = self.host.shell(
            f'cd {self.folder} && "$({FIND_RESTIC})" init --quiet --no-cache --password-file password --repo new >&2 && '
            "base64 -w 0 new/config && echo && cat new/keys/* && rm -r new"
        ).out
        config, key_file = made.split("\n", 1)
        name, key = cheap_key(key_file.encode(), password)
        with self.session() as session:
            for path, body in (("/?create=true", b""), ("/config", base64.b64decode(config)), (f"/keys/{name}", key)):  # fmt: skip
                answer = session.ask("POST", path, body)
                if answer.status != 200:
                    raise DrillError(
                        f"the scratch repository beside {self.source}'s was not made: POST {path} was answered with {answer.status}",
                        where=self.name,
                        fix="look at the journal of the relay, then run the drill again",
                    )

    def _enter(self, public_key: str) -> None:
        """Copy the source's current entry for this account and path, by the program's own step."""
        # Imported late: recovery runs without Pulumi.
        from components.relay.entry.source_account_files import public_key as canonical

        read = self.relay.shell(
            f"cat {ENTRIES}/{self.source}/serve.conf; echo; cat {KEYS}/bk-{self.source}"
        ).out
        serve, _, restic_line = read.rpartition("\n\n")
        place = re.search(r"^arg lastcopy:(.*/)[^/\n]+/$", serve, re.MULTILINE)
        if place is None or f'serve-restic {self.source}"' not in restic_line:
            raise DrillError(
                f"the relay's entry of {self.source} is not as this program writes it",
                where=f"{ENTRIES}/{self.source}",
                fix="pulumi up",
            )
        # lastcopy:BUCKET/PREFIX/SOURCE/g1/; if the remote is not S3, its first part is a folder.
        self.path = f"{place[1]}{self.name}".partition("/")[2]
        serve = serve.replace(place[0], f"arg lastcopy:{place[1]}{self.name}/")
        serve = (
            serve.replace(f"{ENTRIES}/{self.source}/rclone.conf", f"{ENTRIES}/{self.name}/rclone.conf") + "\n"
        )
        words = restic_line.split(" ssh-ed25519 ")[0].replace(
            f'serve-restic {self.source}"', f'serve-restic {self.name}"'
        )
        sessions = re.search(r"^sessions (\d+)$", serve, re.MULTILINE)
        self.entry = {
            "SERVE": serve,
            "KEY_LINE": f"{words} {canonical(public_key)} {self.name}\n",
            "SESSIONS": sessions[1] if sessions else "",
            "DAILY_BYTES": self.relay.shell(
                f"cat {ENTRIES}/{self.source}/daily 2>/dev/null || true"
            ).out.strip(),
            **read_storage_access(self.relay, self.source, self.name),
        }
        self.run_step("apply", **self.entry)

    def run_step(self, mode: str, **values: str) -> None:
        """Run the program's step for an entry, on this one."""
        run_entry_step(self.relay, mode, SOURCE=self.name, **values)

    def _manifest(self, folder: str) -> str:
        return self.host.run("sh", "-c", TREE_DIGEST, "sh", f"{self.folder}/{folder}").out.split()[0]

    def try_restore(self, snapshot: str | None = None, manifest: str | None = None) -> tuple[bool, str]:
        """Restore a snapshot on the source and compare it.

        Args:
            snapshot: Its id; by default the first one's.
            manifest: The digest that its tree must have; by default that of `make`.

        Returns:
            Whether it is restored byte for byte, and what was seen.
        """
        wanted = snapshot or self.snapshots[0]
        restored_digest, seen = self.restored_digest(wanted)
        same = restored_digest == (manifest or self.manifest)
        return (
            same,
            f"snapshot {wanted[:8]} restored, its tree {'is the same' if same else 'DIFFERS'}"
            if restored_digest
            else seen,
        )

    def restored_digest(self, snapshot: str) -> tuple[str, str]:
        """Restore a snapshot on the source. Returns the digest of its tree, and an empty reason; or "" and why it failed."""
        self.host.run("rm", "-rf", f"{self.folder}/back", f"{self.folder}/cache")
        done = self.restic("restore", snapshot, "--target", "back", "--no-lock")
        if done.code != 0:
            return (
                "",
                f"restore of {snapshot[:8]} ended with {done.code}: {escape_text(done.said.strip(), 200)}",
            )
        whole = f"back/{self.folder}/tree"
        return self._manifest(whole if self.host.has(f"{self.folder}/{whole}") else "back/tree"), ""

    def remove(self) -> None:
        """Remove account, key and entry from the relay and the folder from the source. Its objects are hidden by `Drill.clean_up`."""
        self.run_step("remove")
        self.host.run("rm", "-rf", self.folder)


def tree_digest(tree: Path) -> str:
    """The digest of a tree on this machine; empty if there is none."""
    done = subprocess.run(
        ["sh", "-c", TREE_DIGEST, "sh", str(tree)], capture_output=True, text=True, check=False
    )
    return (done.stdout.split() or [""])[0]


def read_storage_access(relay: SshHost, source: str, name: str) -> dict[str, str]:
    """A source's access to the storage, as values of an entry called ``name``. CREDENTIALS is empty if the storage is not S3."""
    folder = f"{ENTRIES}/{source}"
    conf = relay.run("cat", f"{folder}/rclone.conf").out
    key = relay.run("cat", f"{folder}/credentials", check=False).out
    return {"RCLONE_CONF": conf.replace(f"{folder}/", f"{ENTRIES}/{name}/"), "CREDENTIALS": key}


def run_entry_step(relay: SshHost, mode: str, **values: str) -> None:
    """Run the program's step ``relay_entry`` on the relay; its text is sent on stdin."""
    from components.host.program_texts import script_text

    relay.run("sh", "-s", "--", mode, stdin=script_text("relay_entry", values))


def remove_leftovers(relay: SshHost, sources: list[SshHost]) -> list[str]:
    """Remove what a killed drill left on the hosts, and nothing else. Returns the names of what was found."""
    found = relay.shell(f"getent passwd | cut -d : -f 1; ls {ENTRIES} {KEYS} 2>/dev/null", check=False).out
    relay.shell(FORGET_PEOPLE)
    names = sorted(set(NAME.findall(found)))
    for name in names:
        run_entry_step(relay, "remove", SOURCE=name)
    for host in (relay, *sources):
        left = host.shell(
            "ls -d /run/lastcopy-drill-* /usr/local/lib/lastcopy/drill-* 2>/dev/null", check=False
        ).out
        for folder in sorted(set(LEFT.findall(left))):
            host.run("rm", "-rf", folder)
            names.append(folder.rpartition("lastcopy")[2][1:])
    return sorted(set(names))
