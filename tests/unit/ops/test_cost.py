"""`lastcopy cost`: the estimate is a sum of the shown lines, grows with its inputs, and marks uncertain prices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ops.__main__ import app
from ops.cost.estimate import parse_prices, read_resources, render_table
from ops.cost.model import (
    DAYS,
    Bucket,
    Machine,
    Prices,
    StackResources,
    Usage,
    estimate,
    estimate_versions_gib,
    load_prices,
    split_by_class,
    total,
)
from ops.errors import LastcopyError
from tests.unit.recording import SAMPLE_KEY
from tests.unit.stacks import SHAPES, graph_of

PRICES = load_prices("eu-central-1")
MOVES = ([], [(30, "STANDARD_IA")], [(0, "GLACIER_IR")], [(30, "STANDARD_IA"), (120, "GLACIER_IR")])
amounts = st.floats(min_value=0, max_value=100_000, allow_nan=False)
rates = st.floats(min_value=0, max_value=1_000, allow_nan=False)
buckets = st.builds(
    Bucket,
    lock_days=st.integers(1, 3650),
    moves=st.sampled_from(MOVES),
    kms=st.booleans(),
    alarms=st.integers(0, 9),
    events=st.booleans(),
)
plans = st.builds(
    StackResources,
    sources=st.integers(1, 50),
    pack_mib=st.integers(4, 128),
    bucket=buckets,
    machine=st.none(),
)
usages = st.builds(
    Usage,
    data_gib=amounts,
    change_gib_per_day=rates,
    month=st.integers(1, 120),
    runs_per_day=st.floats(0, 24),
    hours_per_run=st.floats(0, 12),
    pruned_gib_per_day=rates,
    restored_gib=amounts,
)


def cost(plan: StackResources, usage: Usage) -> float:
    return total(estimate(plan, usage, PRICES))


@given(plans, usages, amounts)
def test_more_data_never_costs_less(plan: StackResources, usage: Usage, more: float) -> None:
    assert cost(plan, usage) <= cost(plan, replace(usage, data_gib=usage.data_gib + more)) + 1e-6


@given(plans, usages, rates)
def test_more_change_never_costs_less(plan: StackResources, usage: Usage, more: float) -> None:
    grown = replace(usage, change_gib_per_day=usage.change_gib_per_day + more)
    assert cost(plan, usage) <= cost(plan, grown) + 1e-6


@given(plans, usages, st.integers(1, 3650))
def test_a_longer_lock_keeps_old_versions_longer(plan: StackResources, usage: Usage, days: int) -> None:
    assert plan.bucket is not None
    longer = replace(plan, bucket=replace(plan.bucket, lock_days=plan.bucket.lock_days + days))
    assert longer.bucket is not None
    assert estimate_versions_gib(plan, plan.bucket, usage) <= estimate_versions_gib(
        longer, longer.bucket, usage
    )
    assert cost(plan, usage) <= cost(longer, usage) + 1e-6


@given(plans, usages)
def test_nothing_is_counted_twice_or_omitted(plan: StackResources, usage: Usage) -> None:
    assert plan.bucket is not None
    live = split_by_class(plan.bucket, usage)
    age = usage.month * DAYS
    written = usage.data_gib + usage.change_gib_per_day * age
    assert min(live.values()) >= 0
    assert sum(live.values()) == pytest.approx(max(0.0, written - usage.pruned_gib_per_day * age), abs=1e-3)
    lines = estimate(plan, usage, PRICES)
    assert total(lines) == pytest.approx(sum(line.usd for line in lines))
    assert all(line.usd > 0 for line in lines)


def test_the_figures_follow_from_the_formulas() -> None:
    """A year, by hand: 100 GiB at first, 1 GiB a day, locked for 30 days, packs move after 30."""
    plan = StackResources(
        sources=2,
        bucket=Bucket(lock_days=30, moves=[(30, "STANDARD_IA")]),
        machine=Machine(instance_type="t4g.small", disk_gib=16),
    )
    usage = Usage(data_gib=100, change_gib_per_day=1)
    lines = {line.what: line for line in estimate(plan, usage, load_prices("us-east-1"))}
    assert lines["storage STANDARD"].usd == pytest.approx(30 * 0.023)
    assert lines["storage STANDARD_IA"].usd == pytest.approx((100 + 335.25) * 0.0125)
    assert lines["relay t4g.small"].usd == pytest.approx(730 * 0.0168)
    assert lines["relay's disk"].usd == pytest.approx(16 * 0.08)
    assert lines["relay's address"].usd == pytest.approx(730 * 0.005)
    runs = 2 * DAYS
    writes = DAYS * 16 + runs * (6 + 1) + runs * 4
    assert lines["requests PUT, LIST"].usd == pytest.approx((writes + runs * 8) / 1000 * 0.005)
    assert lines["moves to STANDARD_IA"].usd == pytest.approx(DAYS * 16 / 1000 * 0.01)
    assert "30.0 GiB" in lines["storage STANDARD"].formula
    assert "0.0125" in lines["storage STANDARD_IA"].formula


def test_a_prune_costs_the_lock_time_of_what_it_deletes() -> None:
    plan = StackResources(sources=1, bucket=Bucket(lock_days=30))
    usage = Usage(data_gib=1000, change_gib_per_day=5, pruned_gib_per_day=5)
    assert plan.bucket is not None
    assert estimate_versions_gib(plan, plan.bucket, usage) == pytest.approx(31 * 5, rel=1e-3)


def test_every_region_has_every_price_that_does_not_depend_on_the_machine() -> None:
    needed = {name for name in load_prices("us-east-1").usd if not name.startswith("instance_")}
    for region in ("us-east-1", "eu-central-1"):
        prices = load_prices(region)
        assert needed <= prices.usd.keys()
        assert prices["instance_t4g_small"] > 0
        assert prices.assumed < prices.usd.keys()


def test_a_region_without_a_price_list_is_calculated_with_assumed_prices_only() -> None:
    prices = load_prices("ap-south-1")
    assert prices.usd == load_prices("us-east-1").usd
    assert prices.assumed == prices.usd.keys()
    assert load_prices("pages").assumed == prices.usd.keys()
    assert "egress" not in prices.corrected({"egress": 0.1}).assumed


def test_a_machine_without_a_price_is_not_silently_omitted() -> None:
    plan = StackResources(sources=1, machine=Machine(instance_type="m7g.large", disk_gib=16))
    with pytest.raises(LastcopyError, match="--price instance_m7g_large=USD"):
        cost(plan, Usage(data_gib=1, change_gib_per_day=1))
    known = PRICES.corrected({"instance_m7g_large": 0.1})
    assert total(estimate(plan, Usage(data_gib=1, change_gib_per_day=1), known)) > 73


AWS = """
config:
  lastcopy:aws: {region: eu-central-1, account: "123456789012"}
  lastcopy:intermediate:
    ec2: {adminPublicKey: PUBLIC, adminsFrom: [203.0.113.0/24], sourcesFrom: [198.51.100.0/24]}
  lastcopy:storage:
    aws:
      bucket: example-backups
      breakGlass: arn:aws:iam::123456789012:role/break-glass
      lock: {days: 30}
      storageClasses: [{afterDays: 30, class: STANDARD_IA}]
      alarms: {email: ops@example.com}
  lastcopy:sources:
    - {name: web1, restic: {packSizeMiB: 16}}
    - {name: db1, password: {secure: "v1:x:y"}}
""".replace("PUBLIC", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh")


def run(tmp_path: Path, text: str, *words: str) -> Any:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(text)
    usage = ["--data-gib", "100", "--change-gib-per-day", "1"]
    return CliRunner().invoke(app, ["cost", "--file", str(file), *usage, *words])


def test_the_command_reads_the_stack_file_and_shows_every_formula(tmp_path: Path) -> None:
    done = run(tmp_path, AWS)
    assert done.exit_code == 0, done.output
    for text in (
        "storage STANDARD_IA",
        "requests PUT",
        "relay t4g.small",
        "alarms of the vault",
        "relay's disk",
    ):
        assert text in done.output
    amounts = [float(line.split()[-1].replace(",", "")) for line in done.output.splitlines()[1:-1]]
    assert amounts[-1] == pytest.approx(sum(amounts[:-1]), abs=0.01 * len(amounts))
    assert "list prices as of 2026-" in done.output
    assert "--price NAME=USD" in done.output


def test_the_command_accepts_other_prices(tmp_path: Path) -> None:
    young = AWS.replace("afterDays: 30", "afterDays: 60")
    dear = run(tmp_path, young, "--price", "storage_standard=1", "--month", "1")
    cheap = run(tmp_path, young, "--price", "storage_standard=0.1", "--month", "1")
    amount = [float(done.output.splitlines()[-2].split()[-1].replace(",", "")) for done in (dear, cheap)]
    assert amount[0] - amount[1] == pytest.approx(0.9 * 130, rel=0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (AWS.replace("    aws:", "    s3:").replace("    ec2:", "    existing:"), "neither storage.aws nor"),
        (AWS.replace("days: 30}", "days: 0}"), "lock.days"),
        (AWS.replace("region: eu-central-1", "profile: x"), "lastcopy:aws.region"),
        ("config: [", "cannot be read"),
        ("", "neither"),
    ],
    ids=["nothing of AWS", "a setting", "region", "YAML", "empty"],
)
def test_what_cannot_be_estimated_is_reported(tmp_path: Path, text: str, said: str) -> None:
    done = run(tmp_path, text)
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output


def test_a_missing_stack_file_is_reported() -> None:
    done = CliRunner().invoke(
        app, ["cost", "--file", "no-such", "--data-gib", "1", "--change-gib-per-day", "1"]
    )
    assert done.exit_code == 1
    assert "no such file" in done.output


@pytest.mark.parametrize("word", ["egress", "egress=", "=1", "egress=-1", "egress=nan"])
def test_a_price_must_be_a_price(word: str) -> None:
    with pytest.raises(LastcopyError, match="NAME=USD"):
        parse_prices([word])


def test_an_assumed_price_is_marked() -> None:
    plan = StackResources(sources=1, bucket=Bucket(lock_days=1, kms=True))
    usage = Usage(data_gib=1000, change_gib_per_day=1)
    marked = render_table(estimate(plan, usage, PRICES), PRICES, usage, "x").splitlines()
    assert any("KMS key" in line and " ? " in line for line in marked)
    assert any("storage STANDARD" in line and " = " in line for line in marked)
    sure = Prices(region="x", read="2026-01-01", usd=PRICES.usd)
    assert "?" not in render_table(estimate(plan, usage, sure), sure, usage, "x")


def test_settings_reach_the_plan() -> None:
    config = {
        "aws": {"region": "us-east-1"},
        "storage": {
            "aws": {
                "bucket": "example-backups",
                "breakGlass": "arn:aws:iam::123456789012:role/break-glass",
                "kmsKey": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
                "lock": {"days": 90},
            }
        },
        "sources": [{"name": "web1"}, {"name": "db1", "restic": {"packSizeMiB": 32}}],
    }
    plan, region = read_resources(config)
    assert region == "us-east-1"
    assert plan == StackResources(sources=2, pack_mib=32, bucket=Bucket(lock_days=90, kms=True))


def test_the_alarms_that_are_counted_are_those_that_the_program_makes() -> None:
    (shape,) = [one for one in SHAPES if one.name == "aws"]
    plan, _ = read_resources(json.loads(json.dumps(shape.config()).replace("OWN-PUBLIC-HALF", SAMPLE_KEY)))
    assert plan.bucket is not None
    assert plan.machine is not None
    made = graph_of(shape).of_type("aws:cloudwatch/metricAlarm:MetricAlarm")
    assert len(made) == plan.bucket.alarms + plan.machine.alarms > 5
