"""Reads a stack's settings into the cost model and renders the resulting table. Contacts no service for prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from ops.cost import model as cost_model
from ops.cost.model import Bucket, Line, Machine, Prices, StackResources, Usage
from ops.errors import LastcopyError

if TYPE_CHECKING:
    from components.settings import AwsBucket

PACK_MIB = 64


def read_resources(config: Mapping[str, Any]) -> tuple[StackResources, str]:
    """The AWS resources in a stack's settings (without ``lastcopy:``), and their region. Raises LastcopyError."""
    # Imported late: recovery runs these verbs without Pulumi.
    from components.settings import AwsBucket, Ec2Vm

    storage, intermediate = _below(config, "storage").get("aws"), _below(config, "intermediate").get("ec2")
    if storage is None and intermediate is None:
        raise LastcopyError("it has neither storage.aws nor intermediate.ec2: it costs nothing at AWS")
    region = _below(config, "aws").get("region")
    if not isinstance(region, str):
        raise LastcopyError("it has no lastcopy:aws.region")
    sources = config.get("sources")
    if not isinstance(sources, list) or not sources:
        raise LastcopyError("it has no lastcopy:sources")
    packs = [
        _below(one, "restic").get("packSizeMiB", PACK_MIB) for one in sources if isinstance(one, Mapping)
    ]
    try:
        bucket = None if storage is None else AwsBucket.model_validate(storage)
        machine = None if intermediate is None else Ec2Vm.model_validate(intermediate)
    except ValidationError as error:
        # A chained error would show values.
        where = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise LastcopyError(f"{where}: not allowed; `pulumi preview` says what is") from None
    plan = StackResources(
        sources=len(sources),
        pack_mib=min((pack for pack in packs if isinstance(pack, int) and pack > 0), default=PACK_MIB),
        bucket=None if bucket is None else _bucket(bucket, len(sources)),
        machine=None
        if machine is None
        else Machine(instance_type=machine.instance_type, disk_gib=machine.disk_gib),
    )
    return plan, region


def _bucket(bucket: AwsBucket, sources: int) -> Bucket:
    alarms = bucket.alarms is not None
    return Bucket(
        lock_days=bucket.lock.days,
        moves=tuple((move.after_days, move.class_) for move in bucket.storage_classes),
        kms=bucket.kms_key is not None,
        # As in VaultAlarms: one per source, and hidden, destroyed, reconfigured, denied, growth.
        alarms=(sources + 5) if alarms else 0,
        events=alarms,
    )


def _below(config: Any, key: str) -> Mapping[str, Any]:
    found = config.get(key) if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def read_config(file: Path) -> Mapping[str, Any]:
    """Read a stack file without the engine: the values below ``config:``, with ``lastcopy:`` removed from their keys. Raises LastcopyError."""
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise LastcopyError(
            f"{file}: no such file; give another with --file, or a stack with --stack"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LastcopyError(f"{file}: cannot be read ({type(error).__name__})") from None
    return {str(name).removeprefix("lastcopy:"): value for name, value in _below(content, "config").items()}


def parse_prices(words: Sequence[str]) -> dict[str, float]:
    """Parse values of --price, each NAME=USD. Raises LastcopyError."""
    given = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            usd = float(value)
        except ValueError:
            usd = -1.0
        if not name or not 0 <= usd < 1_000_000:
            raise LastcopyError(f"--price {word!r}: use NAME=USD, such as egress=0.09")
        given[name] = usd
    return given


def render_table(lines: Sequence[Line], prices: Prices, usage: Usage, stack: str) -> str:
    """Render the table as the command prints it."""
    wide, broad = max(len(line.what) for line in lines), max(len(line.formula) for line in lines)
    rows = [
        f"{line.what:<{wide}}  {line.formula:<{broad}} {'?' if line.assumed else '='} {line.usd:>10,.2f}"
        for line in lines
    ]
    rows.append(f"{'month ' + str(usage.month):<{wide}}  {'':<{broad}} = {cost_model.total(lines):>10,.2f}")
    return "\n".join(
        [
            f"{stack} in {prices.region}, USD for one month, list prices as of {prices.read} (ops/cost/prices.toml):",
            *(f"  {row}" for row in rows),
            "Without tax, discounts and free tiers. `?`: an assumed price; correct it with --price NAME=USD."
            if any(line.assumed for line in lines)
            else "Without tax, discounts and free tiers. Check the prices on AWS's pages.",
        ]
    )
