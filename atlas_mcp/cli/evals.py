"""`atlas-mcp eval`: sets of examples made of real runs, variants that do them again, and what their difference is
worth."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atlas_mcp.cli.eval_variants import FORMS, from_options, from_words, is_variant
from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.example import DEFAULT_SET, Expected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from atlas_mcp.evaluating import Evaluating, Variant
    from atlas_mcp.model.evaluated import Estimate, Evaluation
    from atlas_mcp.model.evaluation import Comparison
    from atlas_mcp.model.example import Example, ExampleSet

FILE_WIDTH = 160
evals = typer.Typer(
    name="eval", help="Whether a roster, a model or a persona does better work: measured on examples of yours.",
    no_args_is_help=True, add_completion=False,
)  # fmt: skip
Suite = Annotated[str, typer.Option("--set", metavar="NAME", help="The set of examples.")]
Repeat = Annotated[int, typer.Option(help="How often each example is done.")]
Budget = Annotated[float | None, typer.Option("--budget-usd", help="Dollars at most, for all of it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Begin without asking.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@evals.command()
def add(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run that is completed, as runs list shows it.")],
    suite: Suite = DEFAULT_SET,
    expect: Annotated[list[str] | None, typer.Option(help="A phrase or fact that must be there.")] = None,
    cite: Annotated[list[str] | None, typer.Option(help="A source that must be cited.")] = None,
    criterion: Annotated[
        list[str] | None, typer.Option(help="A criterion that must be met; by default those of the run.")
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="A run of a client that came over HTTP.")] = False,
) -> None:
    """Make an example of a run: what was asked, from what, and what is expected of whoever does it again."""
    import anyio
    from pydantic import ValidationError

    try:
        expected = Expected(criteria=tuple(criterion or ()), phrases=tuple(expect or ()), sources=tuple(cite or ()))
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"{first['loc'][0]}: {first['msg']}.", argument="what is expected") from None
    made = anyio.run(_add, run_id, suite, expected, http)
    typer.echo(f"{made.id} is in the set {made.suite!r} now.")


@evals.command("list")
def list_all(
    suite: Annotated[str | None, typer.Option("--set", metavar="NAME", help="Only this set.")] = None,
    as_json: Json = False,
) -> None:
    """List the examples, and the evaluations that are kept."""
    import anyio

    from atlas_mcp.cli.eval_pages import evaluations_page, examples_page

    examples, evaluations = anyio.run(_list, suite)
    if as_json:
        told = {"examples": [e.model_dump(mode="json") for e in examples]}
        typer.echo(json.dumps(told | {"evaluations": [_brief(e) for e in evaluations]}, indent=2))
        return
    console = _console()
    console.print(examples_page(examples))
    if evaluations:
        console.print(evaluations_page(evaluations))


@evals.command()
def remove(example: Annotated[str, typer.Argument(metavar="EXAMPLE", help="Its id, as list shows it.")]) -> None:
    """Take an example out of its set."""
    import anyio

    anyio.run(_remove, example)
    typer.echo(f"{example} is gone.")


@evals.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ending in .toml or .json.")],
    suite: Suite = DEFAULT_SET,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a set to a file, which can live in your repository."""
    import anyio

    found = anyio.run(_export, file, suite, force)
    typer.echo(f"{len(found.examples)} examples of {found.name!r} are in {file}.")


@evals.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As export writes it.")],
    suite: Annotated[str | None, typer.Option("--set", metavar="NAME", help="Into this set instead.")] = None,
) -> None:
    """Add the examples of a file, all of them or none."""
    import anyio

    found = anyio.run(_import, file, suite)
    typer.echo(f"{len(found.examples)} examples are in the set {found.name!r} now.")


@evals.command()
def run(
    suite: Suite = DEFAULT_SET,
    roster: Annotated[Path | None, typer.Option(help="A roster file, instead of the home's.")] = None,
    model: Annotated[str | None, typer.Option(help="provider:name that answers for every agent.")] = None,
    persona: Annotated[list[str] | None, typer.Option(metavar="AGENT=FILE", help="A persona to try.")] = None,
    repeat: Repeat = 1,
    budget_usd: Budget = None,
    name: Annotated[str | None, typer.Option(help="Under which it is kept; an unfinished one goes on.")] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Do the examples of a set again, as the home is now or as the options say, and score what comes of it."""
    import anyio

    from atlas_mcp.cli.eval_pages import evaluation_page

    variant = from_options(roster, model, persona or [])
    doing = partial(_run, [variant], suite, repeat, budget_usd, [name] if name else [], yes=yes)
    [done] = anyio.run(doing)
    if as_json:
        typer.echo(done.model_dump_json(indent=2))
    else:
        console = _console()
        console.print(evaluation_page(done))
        console.print(f"Kept as {done.name}. Compare it: atlas-mcp eval compare OTHER {done.name}", soft_wrap=True)
    if done.ended_at is None:
        raise typer.Exit(1)


@evals.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"An evaluation that is kept, or a variant: {FORMS}.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What is compared with it.")],
    suite: Suite = DEFAULT_SET,
    repeat: Repeat = 1,
    budget_usd: Budget = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Say whether B is better than A, worse, or no more different than noise. Variants do the set for it."""
    import anyio

    from atlas_mcp.cli.eval_pages import comparison_page

    if a == b:
        raise InvalidInput(f"both are {a!r}.", argument="B", next_step=f"Name another evaluation, or write {FORMS}.")
    variants = {text: from_words(text) for text in (a, b) if is_variant(text)}
    found = anyio.run(partial(_compare, a, b, variants, suite, repeat, budget_usd, yes=yes))
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _console().print(comparison_page(found))


async def _add(run_id: str, suite: str, expected: Expected, http: bool) -> Example:  # anyio.run passes by position
    from atlas_mcp.evaluating import open_evaluating
    from atlas_mcp.settings import load_settings

    async with open_evaluating(load_settings()) as evaluating:
        return await evaluating.add(run_id, suite=suite, expected=expected, http=http)


async def _list(suite: str | None) -> tuple[list[Example], list[Evaluation]]:
    from atlas_mcp.evaluating import open_evaluating
    from atlas_mcp.settings import load_settings

    async with open_evaluating(load_settings()) as evaluating:
        kept = [one for one in evaluating.kept() if suite in {None, one.suite}]
        return await evaluating.examples(suite), kept


async def _remove(example: str) -> None:
    from atlas_mcp.evaluating import open_evaluating
    from atlas_mcp.settings import load_settings

    async with open_evaluating(load_settings()) as evaluating:
        await evaluating.remove(example)


async def _export(file: Path, suite: str, force: bool) -> ExampleSet:
    from atlas_mcp.evaluating import open_evaluating
    from atlas_mcp.settings import load_settings

    async with open_evaluating(load_settings()) as evaluating:
        return await evaluating.export(suite, file, force=force)


async def _import(file: Path, suite: str | None) -> ExampleSet:
    from atlas_mcp.evaluating import open_evaluating
    from atlas_mcp.settings import load_settings

    async with open_evaluating(load_settings()) as evaluating:
        return await evaluating.import_(file, suite=suite)


async def _run(
    variants: Sequence[Variant], suite: str, repeat: int, budget: float | None, names: Sequence[str], *, yes: bool
) -> list[Evaluation]:
    from atlas_mcp.evaluating import open_evaluating
    from atlas_mcp.settings import load_settings

    async with open_evaluating(load_settings()) as evaluating:
        return await _done(evaluating, variants, suite, repeat, budget, names, yes=yes)


async def _compare(
    a: str, b: str, variants: dict[str, Variant], suite: str, repeat: int, budget: float | None, *, yes: bool
) -> Comparison:
    from atlas_mcp.evaluating import compare, open_evaluating
    from atlas_mcp.settings import load_settings

    async with open_evaluating(load_settings()) as evaluating:
        found = {text: evaluating.kept(text)[0] for text in (a, b) if text not in variants}
        if variants:
            done = await _done(evaluating, list(variants.values()), suite, repeat, budget, (), yes=yes)
            found |= dict(zip(variants, done, strict=True))
        return compare(found[a], found[b])


async def _done(
    evaluating: Evaluating,
    variants: Sequence[Variant],
    suite: str,
    repeat: int,
    budget: float | None,
    names: Sequence[str],
    *,
    yes: bool,
) -> list[Evaluation]:
    job = await evaluating.prepare(variants, suite=suite, repeat=repeat, budget_usd=budget, names=names)
    console = _console(stderr=True)
    _ask(console, job.estimate, yes=yes)
    for one in job.evaluations:
        console.print(f"Kept as {one.name} as it goes on; if it is interrupted, --name {one.name} goes on with it.")

    def tell(text: str, done: int, total: int) -> None:
        console.print(f"{done}/{total}  {text}")

    return await evaluating.run(job, tell)


def _ask(console: Console, estimate: Estimate, *, yes: bool) -> None:
    """Say what it will take, and ask before anything is spent."""
    from atlas_mcp.cli.eval_pages import estimate_words

    console.print(estimate_words(estimate))
    if yes or estimate.free or not estimate.attempts:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(
            "this costs money, and nobody can be asked here.", argument="--yes", next_step="Give --yes to begin."
        )
    typer.confirm("Begin?", abort=True, err=True)


def _brief(evaluation: Evaluation) -> dict[str, Any]:
    told = evaluation.model_dump(mode="json", exclude={"attempts", "examples", "variant"})
    return told | {"variant": evaluation.variant.name, "means": evaluation.means}


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, stderr=stderr, width=None if sys.stdout.isatty() else FILE_WIDTH)
