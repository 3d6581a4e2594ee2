"""`atlas-mcp costs`: what work cost, by agent, team, task, project, caller, model or day."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from rich.table import Table

    from atlas_mcp.model.costs import CostLine, Costs, CostsBy

_LONGEST = 3_660
_WIDTH = 160


def costs(
    by: Annotated[str, typer.Option(help="agent, team, task, project, caller, model or day.")] = "agent",
    since: Annotated[str, typer.Option(metavar="DAYS", help="So many days of UTC, today included: 1d, 7d.")] = "7d",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Tell what work cost, from the ledger: of all callers of this home. Works beside a server."""
    import anyio

    until = datetime.now(UTC).date()
    found = anyio.run(_costs, _by(by), until - timedelta(days=_days(since) - 1), until)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    span = f"{found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}"
    if not found.lines:
        console.print(f"Nothing was spent from {span}.")
        return
    console.print(_table(found, span))


def _by(text: str) -> CostsBy:
    from atlas_mcp.model.costs import CostsBy

    if text not in get_args(CostsBy):
        known = get_args(CostsBy)
        step = f"Choose one of {', '.join(known)}."
        raise InvalidInput(f"costs are not added up by {text!r}.", argument="--by", allowed=known, next_step=step)
    return cast("CostsBy", text)


def _days(text: str) -> int:
    number = text.removesuffix("d")
    days = int(number) if number.isascii() and number.isdigit() and len(number) < 6 and text.endswith("d") else 0
    if not 0 < days <= _LONGEST:
        step = f"Give a number of days from 1d to {_LONGEST}d; the ledger knows days, not hours."
        raise InvalidInput(f"{text!r} is not a number of days.", argument="--since", next_step=step)
    return days


def _table(found: Costs, span: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    goals = any(line.goal for line in found.lines)
    unpriced = found.total.unpriced_tokens > 0
    title = Text(f"Costs by {found.by}, {span}", no_wrap=True, overflow="ignore")  # else as narrow as its table
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(found.by, overflow="fold")
    for name in ("turns", "tokens", "dollars", *(["tokens of unknown price"] if unpriced else [])):
        table.add_column(name, justify="right")
    if goals:
        table.add_column("goal", overflow="ellipsis", no_wrap=True, ratio=1)
    for line in (*found.lines, found.total):
        cells = [line.name, f"{line.turns:,}", f"{line.tokens:,}", f"{line.usd:.4f}"]
        cells += [f"{line.unpriced_tokens:,}"] if unpriced else []
        cells += [_plain(line)] if goals else []
        table.add_row(*(Text(cell) for cell in cells), style="bold" if line is found.total else None)
    return table


def _plain(line: CostLine) -> str:
    from atlas_mcp.cli.report import plain

    return " ".join(plain(line.goal or "").split())


async def _costs(by: CostsBy, since: date, until: date) -> Costs:  # anyio.run passes by position
    from atlas_mcp.atlas import open_history
    from atlas_mcp.settings import load_settings

    async with open_history(load_settings()) as history:
        return await history.costs(by, since, until)
