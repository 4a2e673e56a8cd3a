"""The cost model: what a stack costs in a month, from its resources, its usage and a price list. Pure; each line shows its formula.

It includes what grows with the stack: storage by class, old versions, requests, transitions, machine, alarms, restores. It does not include
tax, free tiers, discounts, and what exists outside the stack (Pulumi's state, CloudTrail, the operators' traffic). Upload to AWS is free,
and so is traffic between a relay and a bucket in one region.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from ops.errors import LastcopyError

PRICES: Final = Path(__file__).parent / "prices.toml"
DAYS, HOURS = 365.25 / 12, 730.0
ELSEWHERE: Final = "us-east-1"
# restic through the relay, per backup run: lists and reads config, keys, indexes and snapshots, writes an index and a snapshot.
LISTS_PER_RUN, GETS_PER_RUN, PUTS_PER_RUN = 8, 20, 4
# restic renews its lock every 5 minutes with a new object and deletes the old one, which remains as a locked version.
LOCKS_PER_HOUR, LOCK_GIB = 12, 1 / 1024 / 1024
HEADS_PER_PUT = 1  # rclone looks for an object before it adds one


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices in USD by name. ``assumed``: names of unconfirmed prices."""

    region: str
    read: str
    usd: Mapping[str, float]
    assumed: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> float:
        if name not in self.usd:
            raise LastcopyError(
                f"there is no price {name} for {self.region}",
                where="ops/cost/prices.toml",
                fix=f"give it: --price {name}=USD",
            )
        return self.usd[name]

    def corrected(self, given: Mapping[str, float]) -> Prices:
        """The prices with the user's own figures, which count as confirmed."""
        return Prices(
            region=self.region,
            read=self.read,
            usd={**self.usd, **given},
            assumed=self.assumed - given.keys(),
        )


def load_prices(region: str, file: Path = PRICES) -> Prices:
    """The prices of a region. A region without a list gets us-east-1's prices, all of them marked as assumed."""
    known = tomllib.loads(file.read_text())
    listed = known.get(region)
    table = listed if isinstance(listed, dict) and region != "pages" else known[ELSEWHERE]
    seen, assumed = table.get("seen", {}), table.get("assumed", {})
    usd = {**seen, **assumed}
    return Prices(
        region=region,
        read=str(known["read"]),
        usd=usd,
        assumed=frozenset(assumed if table is listed else usd),
    )


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """The parts of storage.aws that the estimate needs. ``moves``: (age in days, class), in order. ``events``: each new object causes an event."""

    lock_days: int
    moves: Sequence[tuple[int, str]] = ()
    kms: bool = False
    alarms: int = 0
    events: bool = False


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The parts of intermediate.ec2 that the estimate needs."""

    instance_type: str
    disk_gib: int
    alarms: int = 2


@dataclass(frozen=True, kw_only=True)
class StackResources:
    """The stack's resources at AWS."""

    sources: int
    pack_mib: int = 64
    bucket: Bucket | None = None
    machine: Machine | None = None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The usage of all sources together, after restic's compression and deduplication.

    ``pruned_gib_per_day``: what `lastcopy prune` deletes. ``month``: the estimate is for the end of this month of the stack's life.
    """

    data_gib: float
    change_gib_per_day: float
    month: int = 12
    runs_per_day: float = 1.0
    hours_per_run: float = 0.5
    pruned_gib_per_day: float = 0.0
    restored_gib: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One item of the bill."""

    what: str
    formula: str
    usd: float
    assumed: bool = field(default=False)


def estimate(plan: StackResources, usage: Usage, prices: Prices) -> tuple[Line, ...]:
    """Every line of the month's bill."""
    lines: list[Line] = []
    if plan.bucket is not None:
        lines += _storage(plan, plan.bucket, usage, prices)
        lines += _requests(plan, plan.bucket, usage, prices)
        lines += _bucket_extras(plan.bucket, usage, prices)
    if plan.machine is not None:
        lines += _machine(plan.machine, prices)
    if usage.restored_gib:
        lines.append(_line("restores, out of AWS", (usage.restored_gib, "GiB"), "egress", prices))
    return tuple(line for line in lines if line.usd > 0)


def total(lines: Sequence[Line]) -> float:
    return sum(line.usd for line in lines)


def split_by_class(bucket: Bucket, usage: Usage) -> dict[str, float]:
    """Live GiB in each class at the end of the month: the first backup is as old as the stack, the rest is evenly aged."""
    age = usage.month * DAYS
    steps = [(0, "STANDARD"), *bucket.moves]
    live = {name: 0.0 for _, name in steps}
    for (since, name), (until, _) in pairwise([*steps, (float("inf"), "")]):
        if since <= age < until:
            live[name] += usage.data_gib
        live[name] += usage.change_gib_per_day * max(0.0, min(age, until) - since)
    # A prune takes the oldest data first, down to zero.
    gone = usage.pruned_gib_per_day * age
    for _, name in reversed(steps):
        taken = min(gone, live[name])
        live[name], gone = live[name] - taken, gone - taken
    return live


def estimate_versions_gib(plan: StackResources, bucket: Bucket, usage: Usage) -> float:
    """GiB of old versions: restic's deleted locks and what a prune deleted. Both are kept for the lock's duration plus one day."""
    days = min(bucket.lock_days + 1, usage.month * DAYS)
    locks = usage.runs_per_day * plan.sources * (usage.hours_per_run * LOCKS_PER_HOUR + 1) * LOCK_GIB
    age = usage.month * DAYS
    deletable = (usage.data_gib + usage.change_gib_per_day * age) / age
    return days * (locks + min(usage.pruned_gib_per_day, deletable))


def _line(
    what: str, amount: tuple[float, str], price: str, prices: Prices, per: float = 1.0, times: float = 1.0
) -> Line:
    number, unit = amount
    usd = number / per * times * prices[price]
    parts = [f"{number:,.1f} {unit}"]
    if per != 1:
        parts.append(f"/ {per:,.0f}")
    if times != 1:
        parts.append(f"× {times:,.0f} h")  # noqa: RUF001 - the sign for times, in a text
    parts.append(f"× {prices[price]:g}")  # noqa: RUF001
    return Line(what=what, formula=" ".join(parts), usd=usd, assumed=price in prices.assumed)


def _storage(plan: StackResources, bucket: Bucket, usage: Usage, prices: Prices) -> Iterator[Line]:
    for name, gib in split_by_class(bucket, usage).items():
        yield _line(f"storage {name}", (gib, "GiB"), f"storage_{name.lower()}", prices)
    # Versions are billed in their class; assume the most expensive, STANDARD.
    old = estimate_versions_gib(plan, bucket, usage)
    yield _line(f"old versions, {bucket.lock_days} + 1 days", (old, "GiB"), "storage_standard", prices)


def _requests(plan: StackResources, bucket: Bucket, usage: Usage, prices: Prices) -> Iterator[Line]:
    runs = usage.runs_per_day * plan.sources * DAYS
    packs = usage.change_gib_per_day * DAYS * 1024 / plan.pack_mib
    if usage.month == 1:
        packs += usage.data_gib * 1024 / plan.pack_mib
    locks = runs * (usage.hours_per_run * LOCKS_PER_HOUR + 1)
    puts = packs + locks + runs * PUTS_PER_RUN
    lists = runs * LISTS_PER_RUN
    yield _line("requests PUT, LIST", (puts + lists, "requests"), "put_standard", prices, per=1000)
    if bucket.events:
        yield _line("events of the vault", (puts, "events"), "events", prices, per=1_000_000)
    gets = puts * HEADS_PER_PUT + runs * GETS_PER_RUN
    yield _line("requests GET, HEAD", (gets, "requests"), "get_standard", prices, per=1000)
    for days, name in bucket.moves:
        moved = _moved_gib(days, usage) * 1024 / plan.pack_mib
        yield _line(f"moves to {name}", (moved, "objects"), f"move_{name.lower()}", prices, per=1000)


def _moved_gib(days: int, usage: Usage) -> float:
    """GiB that reach this age within the month."""
    end = usage.month * DAYS
    start = end - DAYS
    grown = usage.change_gib_per_day * max(0.0, end - max(start, days))
    return grown + (usage.data_gib if start <= days < end else 0.0)


def _bucket_extras(bucket: Bucket, usage: Usage, prices: Prices) -> Iterator[Line]:
    yield _line("alarms of the vault", (bucket.alarms, "alarms"), "alarm", prices)
    if bucket.kms:
        yield _line("KMS key", (1, "key"), "kms_key", prices)
    # Assume that restores read from the coldest class first, which is the most expensive to read.
    live, left = split_by_class(bucket, usage), usage.restored_gib
    for _, name in reversed(bucket.moves):
        read = min(left, live[name])
        left -= read
        yield _line(f"restores, from {name}", (read, "GiB"), f"retrieve_{name.lower()}", prices)


def _machine(machine: Machine, prices: Prices) -> Iterator[Line]:
    price = "instance_" + machine.instance_type.replace(".", "_").replace("-", "_")
    yield _line(f"relay {machine.instance_type}", (1, "machine"), price, prices, times=HOURS)
    yield _line("relay's disk", (machine.disk_gib, "GiB"), "disk", prices)
    yield _line("relay's address", (1, "IPv4"), "ipv4", prices, times=HOURS)
    yield _line("alarms of the relay", (machine.alarms, "alarms"), "alarm", prices)
