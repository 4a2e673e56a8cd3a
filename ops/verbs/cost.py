"""`lastcopy cost`: what a stack costs at AWS in a month, line by line with its formula. Reads the stack's settings and a file of prices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.command_line.options import StackOptions, takes_options
from ops.command_line.output import JsonOption, print_json, print_line
from ops.cost import model as cost_model
from ops.cost.estimate import parse_prices, read_config, read_resources, render_table
from ops.cost.model import Usage
from ops.errors import LastcopyError

_AMOUNT = {"min": 0, "max": 10_000_000}


@takes_options
def cost(
    data_gib: Annotated[
        float,
        typer.Option(help="Size of the first backup of all sources together, compressed, in GiB.", **_AMOUNT),
    ],
    change_gib_per_day: Annotated[
        float, typer.Option(help="Data that all backups of a day add, in GiB.", **_AMOUNT)
    ],
    options: StackOptions,
    file: Annotated[
        Path | None, typer.Option(help="Stack file to read without the engine, instead of a stack.")
    ] = None,
    month: Annotated[int, typer.Option(help="Month since the stack was created.", min=1, max=600)] = 12,
    runs_per_day: Annotated[float, typer.Option(help="Backups of each source per day.", min=0, max=1440)] = 1,
    hours_per_run: Annotated[float, typer.Option(help="Hours that one backup takes.", min=0, max=1000)] = 0.5,
    pruned_gib_per_day: Annotated[
        float, typer.Option(help="Data that prune deletes per day, in GiB.", **_AMOUNT)
    ] = 0,
    restored_gib: Annotated[float, typer.Option(help="Data restored in that month, in GiB.", **_AMOUNT)] = 0,
    price: Annotated[
        list[str] | None, typer.Option(help="NAME=USD, instead of the price in the list; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate what a stack costs at AWS in a month."""
    usage = Usage(
        data_gib=data_gib,
        change_gib_per_day=change_gib_per_day,
        month=month,
        runs_per_day=runs_per_day,
        hours_per_run=hours_per_run,
        pruned_gib_per_day=pruned_gib_per_day,
        restored_gib=restored_gib,
    )
    # 1. The stack's settings.
    where, config = (str(file), read_config(file)) if file else _settings(options)
    # 2. Their resources at AWS, and the prices there.
    try:
        plan, region = read_resources(config)
        prices = cost_model.load_prices(region).corrected(parse_prices(price or []))
        lines = cost_model.estimate(plan, usage, prices)
    except LastcopyError as error:
        raise LastcopyError(f"{where}: {error}") from None
    # 3. The estimate.
    if as_json:
        print_json(
            {
                "stack": where,
                "region": prices.region,
                "pricesRead": prices.read,
                "month": usage.month,
                "lines": [
                    {
                        "what": one.what,
                        "formula": one.formula,
                        "usd": round(one.usd, 4),
                        "assumed": one.assumed,
                    }
                    for one in lines
                ],
                "usd": round(cost_model.total(lines), 2),
            }
        )
    else:
        print_line(render_table(lines, prices, usage, where))


def _settings(options: StackOptions) -> tuple[str, Mapping[str, Any]]:
    """The stack's name and its settings as the engine reads them."""
    try:
        stack = options.open()
        return stack.name, stack.config()
    except LastcopyError as error:
        raise error.or_else("or read a file without the engine: --file stacks/Pulumi.STACK.yaml") from None
