"""`atlas-mcp test`: scenarios of how agents work together, played and judged."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from atlas_mcp.model.scenario import Played, Scenario
    from atlas_mcp.settings import Settings

FILE_WIDTH = 160


def play(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE...", help="Scenarios; else the shipped.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Of these, the one of that name.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List them, and play none.")] = False,
    repeat: Annotated[int, typer.Option(help="How often each is played.")] = 1,
    model: Annotated[
        str | None, typer.Option(help="provider:name that answers instead of the scripted model; faults stay.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Begin without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as JUnit XML, too.")] = None,
) -> None:
    """Play scenarios, each in a passing home of its own, and say what does not hold.

    Exit code 1 where something does not, 2 where a scenario cannot be played.
    """
    import anyio

    from atlas_mcp.cli.interrupting import interruptible

    scenarios = _chosen(files or [], only or [])
    if list_them:
        _list(scenarios, as_json=as_json)
        return
    settings, scenarios = _with_model(scenarios, model)
    work = partial(_play, settings, scenarios, repeat, yes=yes)
    played = anyio.run(interruptible, work)
    if junit:
        _write(junit, played)
    _report(played, as_json=as_json)
    if not all(one.passed for one in played):
        raise typer.Exit(1)


async def _play(settings: Settings, scenarios: Sequence[Scenario], repeat: int, *, yes: bool) -> list[Played]:
    from atlas_mcp.cli.scenario_pages import played_line
    from atlas_mcp.playing import costs_money
    from atlas_mcp.scenarios.suite import check_all, play_all

    check_all(settings, scenarios, repeat)
    if costs_money(settings, scenarios) and not yes:
        _ask(len(scenarios) * repeat)
    console, count = _console(stderr=True), itertools.count(1)

    def tell(one: Played) -> None:
        console.print(played_line(one, next(count), len(scenarios) * repeat))

    return await play_all(settings, scenarios, repeat=repeat, tell=tell)


def _chosen(files: Sequence[Path], only: Sequence[str]) -> list[Scenario]:
    from atlas_mcp.scenarios.reading import read_scenario, shipped

    found = [read_scenario(path) for path in files or shipped()]
    names = [one.name for one in found]
    if unknown := set(only) - set(names):
        raise InvalidInput(
            f"there is no scenario {min(unknown)!r}.",
            argument="--only",
            allowed=names,
            next_step=f"There are: {', '.join(names)}.",
        )
    return [one for one in found if not only or one.name in only]


def _with_model(scenarios: list[Scenario], model: str | None) -> tuple[Settings, list[Scenario]]:
    from atlas_mcp.scenarios.suite import as_real
    from atlas_mcp.settings import load_settings

    settings = load_settings()
    if model is None:
        return settings, scenarios
    from atlas_mcp.playing import answering

    return answering(settings, model), [as_real(one) for one in scenarios]


def _ask(count: int) -> None:
    """Nothing is spent before somebody said so."""
    if not sys.stdin.isatty():
        raise InvalidInput(
            "real models are asked, which costs money, and nobody can be asked here.",
            argument="--yes",
            next_step="Give --yes to begin.",
        )
    typer.confirm(f"{count} scenarios with real models, which cost money. Begin?", abort=True, err=True)


def _list(scenarios: Sequence[Scenario], *, as_json: bool) -> None:
    from atlas_mcp.cli.scenario_pages import scenarios_page

    if as_json:
        typer.echo(json.dumps([{"name": one.name, "about": one.about} for one in scenarios], indent=2))
        return
    _console().print(scenarios_page(scenarios))


def _report(played: Sequence[Played], *, as_json: bool) -> None:
    from atlas_mcp.cli.scenario_pages import report_page
    from atlas_mcp.scenarios.suite import summed

    if as_json:
        told: dict[str, Any] = {
            "passed": all(one.passed for one in played),
            "scenarios": [asdict(one) for one in summed(played)],
            "played": [one.model_dump(mode="json") | {"passed": one.passed} for one in played],
        }
        typer.echo(json.dumps(told, indent=2))
        return
    _console().print(report_page(played, summed(played)))


def _write(path: Path, played: Sequence[Played]) -> None:
    from atlas_mcp.cli.scenario_pages import junit_xml

    try:
        path.write_text(junit_xml(played), encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInput(
            f"{path} cannot be written: {reason}.",
            argument="--junit",
            next_step="Name a file in a folder that is there.",
        ) from None


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    where = sys.stderr if stderr else sys.stdout
    return Console(highlight=False, markup=False, stderr=stderr, width=None if where.isatty() else FILE_WIDTH)
