"""`python -m bench.peers`: plays S rows against the product and its peers, and compares what is in the storage and on the relay afterwards.

Every peer is set up as its own recipe says, on the same machines. "held" means that everything was as before the attack; "fell" names what was seen.
It is a record, not a verdict on the tools: they promise less, some of them by design.
"""

from __future__ import annotations

import datetime
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from attack_drill.storage_admin import open_storage_admin
from bench import report
from bench.contenders import BORG, OURS, SEED_OLD, Borg, Ours, Seed
from bench.farm import BUCKET, CONTENDERS, RELAY, SEED_PORT, SOURCE, BenchError, Farm, farm
from bench.peers.borg import of_borg
from bench.peers.peer import HELD, Peer
from bench.peers.rows import ROWS
from ops.storage.access import StorageKey, StorageLocation
from toolchain.checkout import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- peers: written by `python -m bench.peers --write-docs` -->", "<!-- end of peers -->"
MIB = 16


def _judge(stand: Farm) -> tuple[StorageLocation, StorageKey, Path]:
    from sandbox.storage_server import REGION, root_credentials

    user, secret = root_credentials(stand.box.storage_folder)
    where = StorageLocation.model_validate(
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
    """The rows of every peer, and for absent peers the reason why."""
    seed_ssh = f"ssh -o BatchMode=yes -p {SEED_PORT} -i /root/bench/key -o UserKnownHostsFile=/root/bench/known_hosts seed@{stand.address(RELAY)}"
    ways: list[tuple[Ours | Seed, str]] = [
        (Ours(stand), "ssh -F /etc/lastcopy/ssh_config relay"),
        (Seed(stand), seed_ssh),
    ]
    absent = [
        "rest-server --append-only: on none of this machine's package registries; `go install` of v0.9.7 to v0.14.0 was refused as not available",
    ]
    if stand.old_rclone:
        ways.append((Seed(stand, SEED_OLD, "/usr/local/bin/rclone-old"), seed_ssh))
    else:
        absent.append(f"{SEED_OLD}: {stand.why_no_old_rclone}")
    results: dict[str, dict[str, str]] = {}
    where, key, ca = _judge(stand)
    with open_storage_admin(where, key, ca, stand.box.storage_admin()) as judge:
        # Another source's repository beside the contender's, in the same bucket, as with the plain recipe.
        judge.call(
            lambda s3: [
                s3.put_object(Bucket=BUCKET, Key=f"{prefix}config", Body=b"another source's secret")
                for prefix in ("web1/g1/", f"{CONTENDERS}/other/")
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
    """The table as it is written into the docs."""
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the farm is removed in this case, too
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
