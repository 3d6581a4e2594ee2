"""`atlas-mcp guard test`: the red team's texts against the rails and the model that are set."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from atlas_mcp.attacking import Case
    from atlas_mcp.model.attacked import Attacked, Outcome
    from atlas_mcp.settings import Settings

guard = typer.Typer(no_args_is_help=True, help="The guard of what enters and of what leaves.")


@guard.callback()
def _guard() -> None:  # pyright: ignore[reportUnusedFunction]  # with a callback, one command stays a command
    """The guard of what enters and of what leaves."""


@guard.command("test")
def attack_it(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Texts of your own; else those shipped.")] = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Of rules, validator, rails and model, these; else all that are on."),
    ] = None,
    at_most: Annotated[
        float | None, typer.Option(metavar="SHARE", min=0, max=1, help="Exit code 1 if more attacks get through.")
    ] = None,
    budget_usd: Annotated[float, typer.Option(min=0, help="Dollars after which no further turn begins.")] = 1.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Begin without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON.")] = False,
) -> None:
    """Try texts that give orders, and harmless twins, against the guard and the model.

    The model answers in a passing home; without one of your own only the layers and the delimiting are tried.
    """
    import anyio

    from atlas_mcp.attacking import MODEL, attack, check_layers, layer_names, read_cases
    from atlas_mcp.cli.guard_pages import outcome_line, report_page
    from atlas_mcp.cli.interrupting import interruptible
    from atlas_mcp.settings import load_settings

    settings, cases = load_settings(), read_cases(file) if file else read_cases()
    names = _names(layers) if layers else layer_names(settings)
    check_layers(settings, names)
    if MODEL in names:
        _agree(settings, cases, budget_usd, yes=yes)
    console = _console()

    def tell(one: Outcome) -> None:
        if MODEL in names and not as_json:
            console.print(outcome_line(one))

    with tempfile.TemporaryDirectory(prefix="atlas-guard-", ignore_cleanup_errors=True) as place:
        work = partial(attack, settings, cases, names, Path(place), budget_usd=budget_usd, tell=tell)
        done = anyio.run(interruptible, work)
    if as_json:
        typer.echo(_as_json(done))
    else:
        _console(stderr=False).print(report_page(done, asked=MODEL in names))
    if at_most is not None and done.share_through > at_most:
        raise typer.Exit(1)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (one.strip() for one in text.split(",")))))


def _agree(settings: Settings, cases: Sequence[Case], budget_usd: float, *, yes: bool) -> None:
    """Tell what it may cost, and begin only when somebody said so."""
    from atlas_mcp.attacking import cost_of

    cost = cost_of(settings, cases)
    dollars = "dollars unknown: the model has no price here" if cost.usd is None else f"about ${cost.usd:.2f}"
    bound = f"none begins once ${budget_usd:.2f} are spent" if cost.usd is not None else "each text is tried once"
    said = f"{cost.turns} turns, up to {cost.tokens:,} tokens, {dollars}; {bound}."
    typer.echo(said, err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(
            "a model is to be asked, which may cost money, and nobody can be asked here.",
            argument="--yes",
            next_step="Give --yes to begin, or --layers rules to ask no model.",
        )
    typer.confirm("Begin?", abort=True, err=True)


def _as_json(done: Attacked) -> str:
    import json

    told = {
        "attacks": len(done.attacks),
        "through": [one.id for one in done.through],
        "share_through": round(done.share_through, 4),
        "benign": len(done.twins),
        "false_positives": [one.id for one in done.false_positives],
    }
    return json.dumps(told | done.model_dump(mode="json"), indent=2, ensure_ascii=False)


def _console(*, stderr: bool = True) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)
