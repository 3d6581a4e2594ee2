"""`atlas-mcp improve`: what could be better, by what the record of this home shows; applied, dismissed, undone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from atlas_mcp.cli.runs import FILE_WIDTH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.console import Console

    from atlas_mcp.atlas import Improving
    from atlas_mcp.model.proposal import Gain, Proposal

T = TypeVar("T")
_SHOWN = frozenset({"proposed", "applied", "kept"})
improve = typer.Typer(
    name="improve",
    help="Proposals to work cheaper, quicker or with fewer agents. Servers at work take up changes in seconds.",
    no_args_is_help=True,
    add_completion=False,
)
Id = Annotated[str, typer.Argument(metavar="ID", help="The proposal, as list shows it.")]


@improve.command("list")
def list_proposals(
    everything: Annotated[bool, typer.Option("--all", help="Also what is dismissed, taken back or outdated.")] = False,
) -> None:
    """Look what the record shows now, and list what could be better."""
    from atlas_mcp.cli.report import Grid
    from atlas_mcp.cli.report_text import grid

    async def looked(improving: Improving) -> tuple[list[str], list[Proposal]]:
        return await improving.look(), await improving.list()

    told, found = _with(looked)
    console = _console()
    for line in told:
        console.print(line, markup=False)
    rows = tuple(_row(one) for one in found if everything or one.status in _SHOWN)
    if not rows:
        console.print("Nothing: the record of the last 30 days shows no more than is said in docs/improving.md.")
        return
    columns = ("id", "status", "sure", "safe", "risk", "saves", "what")
    console.print(grid(Grid(columns=columns, rows=rows), whole=2))


@improve.command()
def show(proposal_id: Id) -> None:
    """Show a proposal with its evidence, what would be set, and how it did."""
    _tell(_with(lambda improving: improving.show(proposal_id)))


@improve.command()
def apply(proposal_id: Id) -> None:
    """Let a change count from now on; it is measured, and taken back if it does not hold."""
    _tell(_with(lambda improving: improving.apply(proposal_id)))


@improve.command()
def dismiss(proposal_id: Id) -> None:
    """Propose it no more."""
    _tell(_with(lambda improving: improving.dismiss(proposal_id)))


@improve.command()
def undo(proposal_id: Id) -> None:
    """Take a change back, whole."""
    _tell(_with(lambda improving: improving.undo(proposal_id)))


def _row(one: Proposal) -> tuple[str, ...]:
    safe = "yes" if one.safe else "by hand" if not one.applicable else "no"
    return (one.id, one.status.replace("_", " "), f"{one.confidence:.0%}", safe, one.risk, _gain(one.gain), one.text)


def _gain(gain: Gain) -> str:
    return f"{gain.amount:,.4g} {gain.unit}" if gain.amount < 1_000 else f"{gain.amount:,.0f} {gain.unit}"


def _tell(one: Proposal) -> None:
    console = _console()
    console.print(one.text, style="bold", markup=False)
    said = (
        f"{one.id}: {one.status.replace('_', ' ')}; {one.confidence:.0%} sure, risk {one.risk}, saves {_gain(one.gain)}"
    )
    console.print(said, markup=False)
    console.print("\nEvidence", style="bold cyan")
    console.print_json(data=one.evidence)
    if one.measured:
        console.print("\nBefore and since", style="bold cyan")
        console.print_json(data=one.measured)
    console.print("\nBy hand" if one.applicable else "\nATLAS cannot do this by itself; by hand", style="bold cyan")
    for line in one.change.lines:
        console.print(line, markup=False)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


def _with(work: Callable[[Improving], Awaitable[T]]) -> T:
    """What the work gives on this home's proposals."""
    import anyio

    async def do() -> T:
        from atlas_mcp.atlas import open_improving
        from atlas_mcp.settings import load_settings

        async with open_improving(load_settings()) as improving:
            return await work(improving)

    return anyio.run(do)
