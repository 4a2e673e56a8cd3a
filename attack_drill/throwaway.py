"""Throwaway: a repository of the drill's own, reached exactly as the source's is; the source's own is never touched.

It stands in the source's own room beside its repository (``web1/drill-1a2b3c`` beside ``web1/g1``), is served by an account of its own whose
entry on the relay is a copy of the source's running one (so a weakened entry is weak here, too), and is reached from the source with a key
made there. What it stored stays under the storage's lock until that ends, hidden behind delete markers.
"""

from __future__ import annotations

import re
import secrets
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from attack_drill.errors import DrillError
from attack_drill.http2 import Session
from ops.errors import shown
from ops.hosts.connection import Done, Host

ROOM = "/etc/lastcopy/relay"
KEYS = "/etc/ssh/lastcopy/keys"
NAME = re.compile(r"drill-[0-9a-f]{6}")
LEFT = re.compile(
    r"^(/run/lastcopy-drill-[0-9a-f]{6}|/usr/local/lib/lastcopy/drill-[0-9a-f]{6})$", re.MULTILINE
)
# The restic that the wrapper would take: the newest of ours, else the host's.
FIND_RESTIC = (
    "{ printf '%s\\n' /usr/local/lib/lastcopy/restic-*/restic | sort -rV; echo /usr/local/bin/restic; echo /usr/bin/restic; } | "
    'while read -r one; do if [ -x "$one" ]; then echo "$one"; break; fi; done'
)
# Of row A6: accounts of people that a killed drill made.
FORGET_PEOPLE = r"""
getent passwd | grep -E '^drill-[0-9a-f]{6}:.*:lastcopy person:' | cut -d : -f 1 | while read -r name; do
  pkill -KILL -u "$name"; userdel "$name"; rm -f "/etc/ssh/lastcopy/keys/$name" "/etc/lastcopy/totp/$name"
done
"""
# A tree with what breaks naive copies; its digest covers type, mode, size, link and content of everything.
MAKE_TREE = r"""
set -eu
mkdir -p tree/sub "tree/ odd" && cd tree
head -c 1500000 /dev/urandom >blob; head -c 70000 /dev/urandom >sub/small; printf x >" odd/$(printf 'new\nline')"; printf x >-rf
ln -s /nowhere dangling; : >empty; chmod 640 blob
"""
MANIFEST = r"""
cd "$1" && { find . -printf '%y %m %s %l %p\0' | grep -zv '^d' | sort -z; find . -type f -print0 | sort -z | xargs -0 sha256sum -z; } |
  sha256sum
"""


@dataclass(kw_only=True)
class Throwaway:
    """``path``: below the bucket. ``snapshots``: the ids of the good ones, oldest first."""

    source: str
    host: Host
    relay: Host
    name: str = field(default_factory=lambda: f"drill-{secrets.token_hex(3)}")
    path: str = ""
    snapshots: list[str] = field(default_factory=list)
    manifest: str = ""
    entry: dict[str, str] = field(default_factory=dict, repr=False)  # the relay step's values

    @property
    def folder(self) -> str:
        """On the source: key, password, tree. In memory, root's alone."""
        return f"/run/lastcopy-{self.name}"

    @property
    def account(self) -> str:
        return f"bk-{self.name}"

    @property
    def ssh(self) -> list[str]:
        """The source's ssh, as the throwaway's account, without a host to dial."""
        return ["ssh", "-F", f"{self.folder}/ssh_config"]

    def session(self, patience: float = 30) -> Session:
        """Raw HTTP/2 over the forced command."""
        return Session(self.host.words(*self.ssh, "relay"), patience=patience)

    def restic(self, *words: str, seconds: float = 60, check: bool = False, stdin: str = "") -> Done:
        """restic as root on the source runs it: with the throwaway's key and password, past our wrapper."""
        return self.host.shell(
            self.line(*words, seconds=seconds), seconds=seconds + 30, check=check, stdin=stdin
        )

    def line(self, *words: str, seconds: float = 60, tmp: str = "") -> str:
        """The same as a piece of shell, for what watches or cuts it; ``timeout`` is its process. ``tmp``: where restic works, below the folder."""
        return (
            f"cd {self.folder} && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin HOME={self.folder} TMPDIR={self.folder}/{tmp} "
            f'timeout -k 1 {seconds:.0f} "$({FIND_RESTIC})" '
            f"-o rclone.program='ssh -F {self.folder}/ssh_config relay' -o rclone.args=serve --password-file {self.folder}/password "
            f"--cache-dir {self.folder}/{tmp or '.'}/cache -r rclone: {shlex.join(words)}"
        )

    def make(self) -> None:
        """Key on the source, entry on the relay, repository, a known tree and two snapshots of it."""
        made = self.host.shell(
            f"umask 077 && mkdir {self.folder} && cd {self.folder} && ssh-keygen -q -t ed25519 -N '' -C '' -f key && "
            f"sed -E 's#^( *)User .*#\\1User {self.account}#; s#^( *)IdentityFile .*#\\1IdentityFile {self.folder}/key#' "
            "/etc/lastcopy/ssh_config >ssh_config && cat >password && cat key.pub",
            stdin=secrets.token_urlsafe(24),
        )
        self._enter(made.out.strip())
        self.restic("init", check=True)
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
                f"the throwaway repository of {self.source} has {len(self.snapshots)} snapshots in place of 2"
            )

    def _enter(self, public_key: str) -> None:
        """The source's running entry once more, for another account and path, by the same step that made it."""
        from components.relay.source_account import (
            public_key as canonical,
        )  # here: recovery runs where no Pulumi is

        read = self.relay.shell(f"cat {ROOM}/{self.source}/serve.conf; echo; cat {KEYS}/bk-{self.source}").out
        serve, _, line = read.rpartition("\n\n")
        place = re.search(r"^arg lastcopy:(.*/)[^/\n]+/$", serve, re.MULTILINE)
        if place is None or f'serve-restic {self.source}"' not in line:
            raise DrillError(
                f"the relay's entry of {self.source} is not as this program makes it",
                where=f"{ROOM}/{self.source}",
                fix="pulumi up",
            )
        # lastcopy:BUCKET/PREFIX/SOURCE/g1/; where the remote is no bucket, the first word is a folder.
        self.path = f"{place[1]}{self.name}".partition("/")[2]
        serve = serve.replace(place[0], f"arg lastcopy:{place[1]}{self.name}/")
        serve = serve.replace(f"{ROOM}/{self.source}/rclone.conf", f"{ROOM}/{self.name}/rclone.conf") + "\n"
        words = line.split(" ssh-ed25519 ")[0].replace(
            f'serve-restic {self.source}"', f'serve-restic {self.name}"'
        )
        sessions = re.search(r"^sessions (\d+)$", serve, re.MULTILINE)
        self.entry = {
            "SERVE": serve,
            "KEY_LINE": f"{words} {canonical(public_key)} {self.name}\n",
            "SESSIONS": sessions[1] if sessions else "",
            "DAILY_BYTES": self.relay.shell(
                f"cat {ROOM}/{self.source}/daily 2>/dev/null || true"
            ).out.strip(),
            **storage_access(self.relay, self.source, self.name),
        }
        self.step("apply", **self.entry)

    def step(self, mode: str, **values: str) -> None:
        """The relay's own step for an entry, on this one."""
        enter_step(self.relay, mode, SOURCE=self.name, **values)

    def _manifest(self, folder: str) -> str:
        return self.host.run("sh", "-c", MANIFEST, "sh", f"{self.folder}/{folder}").out.split()[0]

    def restored(self, snapshot: str | None = None, manifest: str | None = None) -> tuple[bool, str]:
        """Whether a good snapshot (the first one by default) restores byte for byte, and what was seen."""
        wanted = snapshot or self.snapshots[0]
        back, seen = self.back(wanted)
        same = back == (manifest or self.manifest)
        return (
            same,
            f"snapshot {wanted[:8]} restored, its tree {'is the same' if same else 'DIFFERS'}"
            if back
            else seen,
        )

    def back(self, snapshot: str) -> tuple[str, str]:
        """The digest of what a snapshot restores to, "" where it does not, and why."""
        self.host.run("rm", "-rf", f"{self.folder}/back", f"{self.folder}/cache")
        done = self.restic("restore", snapshot, "--target", "back", "--no-lock")
        if done.code != 0:
            return "", f"restore of {snapshot[:8]} ended with {done.code}: {shown(done.said.strip(), 200)}"
        whole = f"back/{self.folder}/tree"
        return self._manifest(whole if self.host.has(f"{self.folder}/{whole}") else "back/tree"), ""

    def remove(self) -> None:
        """Account, key and entry on the relay, folder on the source; objects are the storage's administrator's to hide."""
        self.step("remove")
        self.host.run("rm", "-rf", self.folder)


def manifest_of(tree: Path) -> str:
    """The digest of a restored tree here; empty where there is none."""
    done = subprocess.run(
        ["sh", "-c", MANIFEST, "sh", str(tree)], capture_output=True, text=True, check=False
    )
    return (done.stdout.split() or [""])[0]


def storage_access(relay: Host, source: str, name: str) -> dict[str, str]:
    """How the relay reaches the storage for a source, as values of an entry called ``name``; CREDENTIALS is empty where it is no S3."""
    folder = f"{ROOM}/{source}"
    conf = relay.run("cat", f"{folder}/rclone.conf").out
    key = relay.run("cat", f"{folder}/credentials", check=False).out
    return {"RCLONE_CONF": conf.replace(f"{folder}/", f"{ROOM}/{name}/"), "CREDENTIALS": key}


def enter_step(relay: Host, mode: str, **values: str) -> None:
    """`relay_entry` on the relay, its text on stdin."""
    from components.host.host_step import script_text

    relay.run("sh", "-s", "--", mode, stdin=script_text("relay_entry", values))


def clear_leftovers(relay: Host, sources: list[Host]) -> list[str]:
    """What a killed drill left on the hosts is removed; the names of what was found. Only ever a drill's own."""
    found = relay.shell(f"getent passwd | cut -d : -f 1; ls {ROOM} {KEYS} 2>/dev/null", check=False).out
    relay.shell(FORGET_PEOPLE)
    names = sorted(set(NAME.findall(found)))
    for name in names:
        enter_step(relay, "remove", SOURCE=name)
    for host in (relay, *sources):
        left = host.shell(
            "ls -d /run/lastcopy-drill-* /usr/local/lib/lastcopy/drill-* 2>/dev/null", check=False
        ).out
        for folder in sorted(set(LEFT.findall(left))):
            host.run("rm", "-rf", folder)
            names.append(folder.rpartition("lastcopy")[2][1:])
    return sorted(set(names))
