"""`python -m ops cost`: what a stack costs at AWS in a month, line by line with its formula. Reads the stack's settings; asks nobody for prices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ops.checkout import ROOT
from ops.cost import model as cost_model
from ops.cost.estimate import config_of, given_prices, plan_of, table
from ops.cost.model import Usage
from ops.errors import LastcopyError
from ops.verbs.options import ConfigFileOption, StackOption

_AMOUNT = {"min": 0, "max": 10_000_000}


def cost(
    data_gib: Annotated[
        float, typer.Option(help="First backup of all sources together, compressed, in GiB.", **_AMOUNT)
    ],
    change_gib_per_day: Annotated[
        float, typer.Option(help="What all backups of a day add, in GiB.", **_AMOUNT)
    ],
    stack: StackOption = None,
    config_file: ConfigFileOption = None,
    file: Annotated[
        Path | None, typer.Option(help="A stack file, read without the engine, in place of a stack.")
    ] = None,
    month: Annotated[int, typer.Option(help="Which month of the stack's life.", min=1, max=600)] = 12,
    runs_per_day: Annotated[float, typer.Option(help="Backups of a source in a day.", min=0, max=1440)] = 1,
    hours_per_run: Annotated[float, typer.Option(help="How long one takes.", min=0, max=1000)] = 0.5,
    pruned_gib_per_day: Annotated[
        float, typer.Option(help="What a prune deletes in a day, in GiB.", **_AMOUNT)
    ] = 0,
    restored_gib: Annotated[float, typer.Option(help="What is restored in that month.", **_AMOUNT)] = 0,
    price: Annotated[list[str] | None, typer.Option(help="NAME=USD in place of the list's.")] = None,
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
    where = str(file or stack or "the selected stack")
    try:
        where, config = (str(file), config_of(file)) if file else _of_stack(stack, config_file)
        plan, region = plan_of(config)
        prices = cost_model.prices_of(region).corrected(given_prices(price or []))
        lines = cost_model.estimate(plan, usage, prices)
    except LastcopyError as error:
        Console(stderr=True).print(f"error: {where}: {error}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    print(table(lines, prices, usage, where))


def _of_stack(name: str | None, config_file: Path | None) -> tuple[str, Mapping[str, Any]]:
    """Name and settings, as the engine reads them."""
    from ops.stack import StackError, chosen  # imported late: a file needs no engine

    try:
        stack = chosen(ROOT, name, config_file=config_file)
        return stack.name, stack.config()
    except StackError as error:
        raise LastcopyError(
            f"{error}\n  or read a file without the engine: --file stacks/Pulumi.STACK.yaml"
        ) from None
