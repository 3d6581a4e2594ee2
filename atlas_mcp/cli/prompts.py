"""`atlas-mcp prompts`: the prompts of this home in versions, which lead, and how a better one comes to lead."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.console import Console

    from atlas_mcp.atlas import Prompts
    from atlas_mcp.model.prompt import PromptInfo, PromptVersion

T = TypeVar("T")
FILE_WIDTH = 160
prompts = typer.Typer(
    name="prompts",
    help="The agents' personas and the openings of tasks, in versions. Servers at work take up changes in seconds.",
    no_args_is_help=True,
    add_completion=False,
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The prompt as list shows it; an agent's name will do.")]
Number = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version, as list shows it.")]


@prompts.command("list")
def list_prompts() -> None:
    """List the prompts: what leads of each, and what to know of it."""
    from atlas_mcp.cli.report import Grid
    from atlas_mcp.cli.report_text import grid

    found = _with(lambda opened: opened.list())
    console = _console()
    rows = tuple(_row(one) for one in found)
    console.print(grid(Grid(columns=("name", "leads", "version", "newest", "since"), rows=rows), whole=1))
    for one in found:
        if one.note:
            console.print(f"! {one.name}: {one.note}", markup=False)


@prompts.command()
def show(
    name: Name,
    version: Annotated[int | None, typer.Option(min=1, help="Another than the one that leads.")] = None,
) -> None:
    """Show a prompt's text, where it comes from, and what it was compared by."""
    found = _with(lambda opened: opened.show(name, version))
    console = _console()
    console.print(_origin(found), style="dim", markup=False)
    if found.evidence:
        console.print_json(data=found.evidence)
    console.print(found.text, markup=False, soft_wrap=True)


@prompts.command()
def diff(name: Name, a: Number, b: Number) -> None:
    """Show what version B has otherwise than version A."""
    found = _with(lambda opened: opened.diff(name, a, b))
    _console().print(found.rstrip() or "They are the same.", markup=False, soft_wrap=True)


@prompts.command()
def promote(name: Name, version: Number) -> None:
    """Let a version lead instead of the file; the file again, where it has that very text."""
    _say(_with(lambda opened: opened.promote(name, version)))


@prompts.command()
def rollback(name: Name) -> None:
    """Let that lead which led before the last promotion."""
    _say(_with(lambda opened: opened.rollback(name)))


@prompts.command()
def optimize(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="An agent, or another prompt as list shows it.")],
    budget_usd: Annotated[float | None, typer.Option(min=0.0, help="Dollars that it may take in all.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens; without any budget 500,000.")] = None,
    suite: Annotated[
        str | None, typer.Option("--set", metavar="NAME", help="The examples that decide, made by eval add.")
    ] = None,
) -> None:
    """Propose a better version from what went wrong, and let it lead if it does better on the set's examples.

    Exit code 1 when no version came of it.
    """
    errors, console = _console(stderr=True), _console()

    def tell(text: str) -> None:
        errors.print(text, style="dim", markup=False, soft_wrap=True)

    done = _with(lambda opened: opened.optimize(role, usd=budget_usd, tokens=budget_tokens, suite=suite, tell=tell))
    used = done.usage
    price = "" if used.cost_usd is None else f", ${used.cost_usd:.4f}"
    console.print(f"Proposing took {used.input_tokens + used.output_tokens:,} tokens{price}.", style="dim")
    console.print(done.text, markup=False, soft_wrap=True)
    if done.version is None:
        raise typer.Exit(1)


def _with(work: Callable[[Prompts], Awaitable[T]]) -> T:
    import anyio

    async def run() -> T:
        from atlas_mcp.atlas import open_prompts
        from atlas_mcp.settings import load_settings

        async with open_prompts(load_settings()) as opened:
            return await work(opened)

    return anyio.run(run)


def _say(info: PromptInfo) -> None:
    leads = f"version {info.version}" if info.leads == "version" else "its file"
    console = _console()
    console.print(f"{info.name}: {leads} leads from now on, within seconds also in servers at work.", markup=False)
    if info.note:
        console.print(f"! {info.note}", markup=False)


def _row(info: PromptInfo) -> tuple[str, ...]:
    since = f"{info.promoted_at:%Y-%m-%d %H:%M}" if info.promoted_at else ""
    return info.name, info.leads, str(info.version or "-"), str(info.newest or "-"), since


def _origin(found: PromptVersion) -> str:
    made = f"{found.name}, version {found.version}, {found.origin}"
    made += f" from version {found.parent}" if found.parent else ""
    made += f", made {found.made_at:%Y-%m-%d %H:%M} UTC"
    return made + (f", leads since {found.promoted_at:%Y-%m-%d %H:%M} UTC" if found.promoted_at else "")


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(highlight=False, stderr=stderr, width=None if sys.stdout.isatty() else FILE_WIDTH)
