"""`atlas-mcp memory`: what the agents of this home remember, listed, forgotten, and taken from the disk."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.checked import MemoryCheck
    from atlas_mcp.model.forgetting import Forgotten, Purged, Target
    from atlas_mcp.model.memory_item import MemoryItem

FILE_WIDTH = 160
memory = typer.Typer(
    name="memory", help="What the agents of this home remember.", no_args_is_help=True, add_completion=False
)
Http = Annotated[bool, typer.Option("--http", help="Of clients that come over HTTP with the home's key.")]


@memory.command("list")
def list_memories(
    run_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only what this run stored.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    http: Http = False,
) -> None:
    """List the memories, newest first, with the ids that forget takes."""
    import anyio

    found = anyio.run(_list, run_id, limit, http)
    console = _console()
    for one in found:
        console.print(f"{one.id}  {one.kind}, by {one.author}, {one.updated_at:%Y-%m-%d}", style="bold", markup=False)
        console.print(f"  {one.text}", markup=False)
    if not found:
        console.print("There are none.")


@memory.command()
def forget(
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A memory, document, fact, or hit.")] = None,
    agent: Annotated[str | None, typer.Option(help="The agent whose block is forgotten.")] = None,
    label: Annotated[str | None, typer.Option(help="That block.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="All that this run stored.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only shown what would be deleted.")] = False,
    http: Http = False,
) -> None:
    """Delete one thing, and what agents made of it, wherever it went."""
    import anyio

    from atlas_mcp.model.forgetting import Target

    done = anyio.run(_forget, Target(id=id, agent=agent, label=label, run_id=run_id), yes, http)
    console = _console()
    console.print(f"{'Forgotten' if yes else 'Would be forgotten'}: {done.what}", markup=False)
    for place in done.deleted:
        console.print(f"  {place.count:>6,}  {place.place}", markup=False)
    for line in done.remaining:
        console.print(f"- {line}", markup=False)
    console.print(done.next_step if yes else "Nothing was changed. Call again with --yes to forget it.", markup=False)


@memory.command()
def purge() -> None:
    """Take what was forgotten, by every caller, from this home's disk and out of its traces.

    Exit code 1 when something is left that a further purge can do.
    """
    import anyio

    done = anyio.run(_purge)
    console = _console()
    console.print(f"{done.items:,} forgotten things are gone from the disk, {done.open:,} are not yet.")
    for place in done.deleted:
        console.print(f"  {place.count:>6,}  {place.place}", markup=False)
    for line in done.problems:
        console.print(f"! {line}", markup=False)
    for line in done.remaining:
        console.print(f"- {line}", markup=False)
    if done.problems:
        raise typer.Exit(1)


@memory.command()
def check(
    repair: Annotated[bool, typer.Option("--repair", help="Make every store as the record is.")] = False,
) -> None:
    """Compare the stores of all that is remembered, of every caller: sets of ids, and questions for what lies there.

    Servers may go on working. Exit code 1 when something differs and was not mended.
    """
    import anyio

    found = anyio.run(_check, repair)
    console = _console()
    for store in found.stores:
        console.print(f"{store.health:>8}  {store.store:<8} {store.text}", markup=False)
        for problem in store.problems:
            done = "mended" if problem.mended else "to be mended with --repair"
            console.print(f"{'':>8}  {'':<8} {problem.count:,} {problem.text}: {done}", markup=False)
    if found.problems or found.health != "ok":
        raise typer.Exit(1)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else FILE_WIDTH)


def _caller(atlas: Atlas, http: bool) -> Caller:
    return atlas.access.key_caller("atlas-mcp memory") if http else atlas.local_caller("atlas-mcp memory")


async def _check(repair: bool) -> MemoryCheck:  # anyio.run passes by position
    from atlas_mcp.home_care import check_memory
    from atlas_mcp.settings import load_settings

    return await check_memory(load_settings(), repair=repair)


async def _list(run_id: str | None, limit: int, http: bool) -> list[MemoryItem]:  # anyio.run passes by position
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas:
        return await atlas.memories.list(_caller(atlas, http), run_id=run_id, limit=limit)


async def _forget(target: Target, confirm: bool, http: bool) -> Forgotten:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas:
        caller = _caller(atlas, http)
        if not confirm:
            return await atlas.forget(caller, target)
        named = " ".join(f"{name}={value}" for name, value in target.model_dump(exclude_none=True).items())
        async with atlas.audit.command(caller, "memory forget", named):
            return await atlas.forget(caller, target, confirm=True)


async def _purge() -> Purged:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas, atlas.audit.command(_caller(atlas, http=False), "memory purge"):
        return await atlas.purge_forgotten()
