"""`python -m bench.peers`: the S rows against the product's peers, side by side, by what is in the storage and on the relay afterwards.

Every peer is set up as its own recipe says, on the same machines. "held" means that the attack left everything as it was; "fell" names what was seen.
It is a record, not a verdict on the tools: they promise less, and some of it by design.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench import report
from bench.contenders import BORG, OURS, RESTORED, SEED_OLD, Borg, Ours, Seed
from bench.farm import BORG_PORT, BUCKET, CONTENDERS, DATA, RELAY, SEED_PORT, SOURCE, BenchError, Farm, farm
from ops.drill.http2 import Gone, Request, Session
from ops.drill.rows.s4 import names
from ops.drill.storage import Desk, desk, lost
from ops.recover.access import StorageKey, Where

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- peers: written by `python -m bench.peers --write-docs` -->", "<!-- end of peers -->"
MARK = "/tmp/peer-was-here"  # noqa: S108 - on the relay, inside a machine of our own
HELD = "held"
MIB = 16
TRICKS = (
    "touch {}",
    "$(touch {})",
    "`touch {}`",
    "; touch {}",
    "x\ntouch {}\n",
    "sh -c 'touch {}'",
    "'; touch {} #",
)
KINDS = ("keys", "data", "index", "snapshots")


@dataclass(kw_only=True)
class Peer:
    """One contender with what an attacker on its source has: an ssh that reaches the relay, and (restic) a repository."""

    name: str
    farm: Farm
    judge: Desk
    way: Ours | Seed
    ssh: str  # shell words, without a command
    other: str  # of another source, below the bucket
    good: str = ""  # the id of the snapshot that stood before the attacks

    def stand(self) -> None:
        """An empty repository with one good backup; ours records its key's id, as `pulumi up` does."""
        self.way.prepare()
        self.way.backup()
        self.good = json.loads(self.farm.on(SOURCE, f"{self.way.restic} snapshots --json"))[0]["id"]
        if isinstance(self.way, Ours):
            keys = json.loads(self.farm.on(SOURCE, f"{self.way.restic} key list --json"))
            (key,) = [one["id"] for one in keys if one["current"]]
            self.farm.on(SOURCE, f"sed -i 's/^key_id=.*/key_id={key}/' /etc/lastcopy/repository")

    @contextmanager
    def session(self, patience: float = 20) -> Iterator[Session]:
        words = self.farm.box.command(SOURCE, ["sh", "-c", f"exec {self.ssh}"])
        with Session(words, patience=patience) as opened:
            yield opened

    def on_source(self, script: str) -> str:
        done = subprocess.run(
            self.farm.box.command(SOURCE, ["sh", "-c", script]), capture_output=True, check=False
        )
        return (done.stdout + done.stderr).decode(errors="replace")

    def restores(self) -> str:
        """HELD, or why the good snapshot does not come back byte for byte."""
        self.farm.on(SOURCE, f"rm -rf {RESTORED} {self.way.cache}")
        sums = f"cd {DATA} && sha256sum * | sha256sum"
        try:
            self.farm.on(SOURCE, f"{self.way.restic} restore {self.good} --quiet --target {RESTORED}")
            back = self.farm.on(SOURCE, sums.replace(DATA, f"{RESTORED}{DATA}"))
        except BenchError as error:
            return f"fell: it no longer restores ({str(error).strip().splitlines()[-1][:80]})"
        return HELD if back == self.farm.on(SOURCE, sums) else "fell: the restored data differs"


def s1(peer: Peer) -> str:
    """Commands, terminals and copies: does any leave a mark on the relay?"""
    peer.farm.on(RELAY, f"rm -f {MARK}")
    tries = [f"timeout 6 {peer.ssh} {shlex.quote(trick.format(MARK))}" for trick in TRICKS]
    tries += [
        f"echo touch {MARK} | timeout 6 {peer.ssh} -tt",
        f"SSH_ORIGINAL_COMMAND='touch {MARK}' timeout 6 {peer.ssh}",
    ]
    peer.on_source(
        "; ".join(
            f"{one} </dev/null >/dev/null 2>&1" if "|" not in one else f"{one} >/dev/null 2>&1"
            for one in tries
        )
    )
    return (
        "fell: a command ran on the relay" if peer.farm.on(RELAY, f"ls {MARK} 2>/dev/null || true") else HELD
    )


def s3(peer: Peer) -> str:
    """restic's own destroying commands, as the source's root starts them."""
    before = peer.judge.versions(peer.way.prefix)
    restic = peer.way.restic.replace("restic-backup", "restic-backup --try-anyway")
    for words in (
        "forget --unsafe-allow-remove-all --tag ''",
        "prune",
        "tag --add x",
        "rewrite --forget --exclude 0000",
        "repair snapshots --forget",
    ):
        peer.on_source(f"timeout 8 sh -c {shlex.quote(f'{restic} {words}')} >/dev/null 2>&1")
        peer.on_source(f"timeout 20 sh -c {shlex.quote(f'{restic} unlock --remove-all')} >/dev/null 2>&1")
    harm = lost(before, peer.judge.versions(peer.way.prefix))
    return f"fell: {len(harm)} objects ({harm[0].split(':')[0]})" if harm else peer.restores()


def s4(peer: Peer) -> str:
    """DELETE of every object, and uploads under the names of the repository's folders."""
    before = peer.judge.versions(peer.way.prefix)
    with peer.session() as session:
        paths = ["/config", *(f"/{kind}/{name}" for kind in KINDS for name in names(session, kind))]
        session.together([Request("DELETE", path) for path in paths])
    harm = lost(before, peer.judge.versions(peer.way.prefix))
    if harm:
        return f"fell: {len(harm)} objects ({harm[0].split(':')[0]})"
    with peer.session() as session:
        session.together([Request("POST", f"/{kind}", b"x") for kind in KINDS])
        listed = sum(len(names(session, kind)) for kind in KINDS)
    return HELD if listed >= len(paths) - 1 else "fell: an object named like a folder hides what is in it"


def s5(peer: Peer) -> str:
    """Overwriting what stands, and the race that a look before the write loses."""
    before = peer.judge.versions(peer.way.prefix)
    with peer.session() as session:
        paths = ["/config", *(f"/{kind}/{name}" for kind in KINDS for name in names(session, kind)[:2])]
        session.together([Request("POST", path, b"garbage") for path in paths for _ in range(4)])
    harm = lost(before, peer.judge.versions(peer.way.prefix))
    if harm:
        return f"fell: {harm[0].split(':')[0]}"
    name = hashlib.sha256(peer.name.encode()).hexdigest()
    with peer.session() as one, peer.session() as two, ThreadPoolExecutor(2) as both:

        def upload(session: Session, letter: bytes) -> None:
            session.ask("HEAD", "/config")
            session.together([Request("POST", f"/data/{name}", letter * 4096) for _ in range(8)])

        for racing in [both.submit(upload, one, b"1"), both.submit(upload, two, b"2")]:
            racing.result()
    stored = [one for one in peer.judge.versions(peer.way.prefix) if one.key.endswith(name)]
    return HELD if len(stored) == 1 else f"fell: a race wrote one name {len(stored)} times"


def s6(peer: Peer) -> str:
    """Paths out of the own room: is another source's object read, or written?"""
    secret = peer.judge.do(lambda s3: s3.get_object(Bucket=BUCKET, Key=f"{peer.other}config")["Body"].read())
    before = peer.judge.versions(peer.other)
    target = f"{peer.other}config"
    ups = (
        "/../",
        "/../../",
        "/%2e%2e/",
        "/%2e%2e/%2e%2e/",
        "/..%2f",
        "/..%2f..%2f",
        "/..%252f..%252f",
        "/data/../../../",
        "//../../",
        "/./../",
    )
    paths = [up + name for up in ups for name in (target, target.partition("/")[2])]
    try:
        with peer.session() as session:
            answers = session.together([Request("GET", path) for path in paths])
            session.together([Request("POST", path.replace("config", "data/evil"), b"x") for path in paths])
    except Gone:
        return "fell: the session broke"
    if any(secret in answer.body for answer in answers):
        return "fell: another source's object was read"
    return HELD if peer.judge.versions(peer.other) == before else "fell: another source's room was written"


def s7(peer: Peer) -> str:
    """What the source is told, in health and while the storage is out of reach."""
    address = str(peer.farm.box.plan.storage)
    words = (address, ":9000", BUCKET, "AccessDenied", "minio")

    def said() -> str:
        told = ""
        try:
            with peer.session(patience=12) as session:
                for path in ("/config", "/data/", "/x", "/../x", "/snapshots/"):
                    for method in ("GET", "DELETE", "POST"):
                        answer = session.ask(method, path)
                        told += f"{answer.headers} {answer.body[:500]!r}"
                told += session.words()
        except Gone as gone:
            told += gone.words
        return told

    healthy = said()
    peer.farm.on(RELAY, f"ip route add unreachable {address}/32")
    try:
        broken = said()
    finally:
        peer.farm.on(RELAY, f"ip route del unreachable {address}/32")
    found = sorted({word for word in words if word in healthy + broken})
    return f"fell: told {', '.join(found)}" if found else HELD


def s9(peer: Peer) -> str:
    """25 bogus key files whose names come first: does the source's restic still open the repository?"""
    with peer.session() as session:
        first = names(session, "keys")[0]
        good = json.loads(session.ask("GET", f"/keys/{first}").body)
        bodies = [
            json.dumps(
                {
                    **good,
                    "salt": hashlib.sha256(bytes([n])).hexdigest()[:88],
                    "created": f"2001-01-{n + 1:02}T00:00:00Z",
                }
            ).encode()
            for n in range(25)
        ]
        session.together(
            [Request("POST", f"/keys/{hashlib.sha256(body).hexdigest()}", body) for body in bodies]
        )
    opened = peer.on_source(
        f"rm -rf {peer.way.cache}; timeout 60 sh -c {shlex.quote(f'{peer.way.restic} snapshots --no-lock --json')} 2>&1"
    )
    return HELD if '"short_id"' in opened else "fell: restic finds no key any more"


ROWS: dict[str, Callable[[Peer], str]] = {
    "S1": s1,
    "S3": s3,
    "S4": s4,
    "S5": s5,
    "S6": s6,
    "S7": s7,
    "S9": s9,
}


def of_borg(way: Borg) -> dict[str, str]:
    """borg speaks another protocol: the rows that it has, with its own commands."""
    found: dict[str, str] = {}
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "BORG_BASE_DIR": str(way.folder / "base"),
        "BORG_PASSPHRASE": "bench",
        "BORG_RSH": f"ssh -i {way.folder}/client -o UserKnownHostsFile={way.folder}/known_hosts",
    }

    def borg(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*way.farm.in_network_of(SOURCE), "borg", *words],
            env=environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    way.prepare()
    way.backup()
    mark = way.folder / "mark"
    dial = [
        "ssh",
        "-o",
        "BatchMode=yes",
        "-p",
        str(BORG_PORT),
        "-i",
        str(way.folder / "client"),
        "-o",
        f"UserKnownHostsFile={way.folder}/known_hosts",
    ]
    for trick in TRICKS:
        subprocess.run(
            [*way.farm.in_network_of(SOURCE), "timeout", "6", *dial, f"root@{way.relay}", trick.format(mark)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    found["S1"] = "fell: a command ran on the relay" if mark.exists() else HELD
    before = borg("list", "--short", way.repository).stdout
    borg("delete", f"{way.repository}::one")
    after = borg("list", "--short", way.repository).stdout
    found["S3"] = (
        HELD
        if after == before and before
        else "fell: the archive is gone from the list; its data stays until the relay next compacts, the way back is by hand"
    )
    away = way.repository.rsplit("/", 1)[0] + "-of-another"
    found["S6"] = (
        HELD if borg("init", "--encryption=none", away).returncode != 0 else "fell: another path was written"
    )
    return found


def _judge(stand: Farm) -> tuple[Where, StorageKey, Path]:
    from sandbox.storage_server import REGION, root_credentials

    user, secret = root_credentials(stand.box.storage_folder)
    where = Where.model_validate(
        {
            "endpoint": f"https://{stand.box.plan.storage}:9000",
            "region": REGION,
            "bucket": BUCKET,
            "provider": "Minio",
        }
    )
    return (
        where,
        StorageKey.model_validate({"access_key_id": user, "secret_access_key": secret}),
        stand.box.storage_folder / "certs" / "ca.crt",
    )


def measure(stand: Farm, said: Callable[[str], None]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Every peer's rows, and in words who is absent and why."""
    seed_ssh = f"ssh -o BatchMode=yes -p {SEED_PORT} -i /root/bench/key -o UserKnownHostsFile=/root/bench/known_hosts seed@{stand.address(RELAY)}"
    ways: list[tuple[Ours | Seed, str]] = [
        (Ours(stand), "ssh -F /etc/lastcopy/ssh_config relay"),
        (Seed(stand), seed_ssh),
    ]
    absent = [
        "rest-server --append-only: on none of this machine's package registries; `go install` of v0.9.7 to v0.14.0 was refused as not available",
        "S10: the count of sessions at once did not work on this farm; tests/drill tries the row on the product",
    ]
    if stand.old_rclone:
        ways.append((Seed(stand, SEED_OLD, "/usr/local/bin/rclone-old"), seed_ssh))
    else:
        absent.append(f"{SEED_OLD}: {stand.why_no_old_rclone}")
    results: dict[str, dict[str, str]] = {}
    where, key, ca = _judge(stand)
    with desk(where, key, ca, stand.box.storage_admin()) as judge:
        # Another source's room: beside the contender's in the same bucket, as the plain recipe has it.
        judge.do(
            lambda s3: [
                s3.put_object(Bucket=BUCKET, Key=f"{room}config", Body=b"another source's secret")
                for room in ("web1/g1/", f"{CONTENDERS}/other/")
            ]
        )
        for way, ssh in ways:
            said(way.name)
            other = "web1/g1/" if isinstance(way, Ours) else f"{CONTENDERS}/other/"
            peer = Peer(name=way.name, farm=stand, judge=judge, way=way, ssh=ssh, other=other)
            peer.stand()
            for row, play in ROWS.items():
                answer = play(peer)
                results.setdefault(way.name, {})[row] = answer
                said(f"  {row} {answer}")
    try:
        borg = Borg(stand)
    except (BenchError, OSError) as error:
        absent.append(f"{BORG}: {error}")
    else:
        try:
            results[BORG] = of_borg(borg)
        finally:
            borg.stop()
    return results, absent


def block(results: dict[str, dict[str, str]], absent: Sequence[str], facts: dict[str, str]) -> str:
    """The table as it stands in the docs."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    peers = list(results)
    lines = [f"Measured on {date}. " + "; ".join(f"{name}: {value}" for name, value in facts.items()) + "."]
    rows = ["| row | " + " | ".join(peers) + " |", "|" + " --- |" * (len(peers) + 1)]
    for row in sorted(ROWS, key=lambda one: int(one[1:])):
        rows.append(
            f"| {row} | " + " | ".join(results[peer].get(row, "not of its protocol") for peer in peers) + " |"
        )
    lines.append("\n".join(rows))
    lines += [f"Not measured: {reason}." for reason in absent]
    return "\n\n".join([BEGIN, *lines, END])


def run(
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="Write the table into docs/benchmarks.md.")
    ] = False,
) -> None:
    """Play the S rows against the product and its peers on a farm of their own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the farm is torn down then, too
    console = Console(highlight=False)
    with farm(MIB, "") as stand:
        results, absent = measure(stand, lambda text: console.print(f"    {text}", markup=False))
        facts = {
            "rclone of today": stand.on(RELAY, "rclone version").split()[1],
            "Debian's": stand.on(RELAY, "rclone-old version 2>/dev/null | head -1 || true").strip()
            or "absent",
            "restic": stand.on(SOURCE, "restic version").split()[1],
            "borg": report.first_line(["borg", "--version"]),
        }
    table = Table(title="S rows, side by side")
    table.add_column("row")
    for peer in results:
        table.add_column(peer)
    for row in ROWS:
        table.add_row(row, *(results[peer].get(row, "-") for peer in results))
    console.print(table)
    for reason in absent:
        console.print(f"not measured: {reason}", markup=False)
    if write_docs:
        text = DOCUMENT.read_text()
        before, _, rest = text.partition(BEGIN)
        _, found, after = rest.partition(END)
        if not found:
            raise BenchError(f"docs/benchmarks.md needs one line {BEGIN!r} and one line {END!r}")
        DOCUMENT.write_text(before + block(results, absent, facts) + after)
    if any(answer != HELD for answer in results[OURS].values()):
        console.print("[red]error:[/] the product fell in a row that it promises")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(run)
