"""`atlas-mcp demo`: the main job, seen: a real server, a real client, a chat, a team task, and what is remembered.

Nothing is staged: every step is a tool call that any host can make, over stdio to a subprocess, on the user's own home
folder. It works without a terminal too, and without a key; then it says that the offline model answers.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from atlas_mcp.cli.client import Server
    from atlas_mcp.model.run import Run
    from atlas_mcp.model.status import Status

AGENT = "librarian"
GREETING = "Please remember: I am trying out ATLAS for the first time, and I like short answers with their sources."
POLL_SECONDS = 20
WATCHABLE_SECONDS = 0.6


@dataclass(frozen=True)
class _Job:
    goal: str
    name: str
    title: str
    text: str


def demo(
    goal: Annotated[str | None, typer.Option(help="What the team is to do.")] = None,
    file: Annotated[Path | None, typer.Option(help="A text of your own; without it, a shipped one.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=10, help="Rounds of writing and rating at most.")] = 2,
) -> None:
    """Start the server, connect a client, and watch a team of agents work on a text."""
    import anyio

    from atlas_mcp.cli.interrupting import interruptible

    if anyio.run(interruptible, partial(_show, _job(goal, file), rounds)) != "completed":
        raise typer.Exit(1)


def _job(goal: str | None, file: Path | None) -> _Job:
    if file is None:
        folder = resources.files("atlas_mcp") / "data"
        shipped = tomllib.loads((folder / "demo.toml").read_text(encoding="utf-8"))
        text = (folder / shipped["file"]).read_text(encoding="utf-8")
        return _Job(goal or shipped["goal"], shipped["file"], shipped["title"], text)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is not UTF-8 text.", argument="--file", next_step="Convert it first.") from None
    except OSError as error:
        raise InvalidInput(
            f"{file} cannot be read: {(error.strerror or str(error)).lower()}.",
            argument="--file",
            next_step="Name a text file that you may read.",
        ) from None
    return _Job(goal or f"What does {file.name} say, and what follows from it?", file.name, str(file), text)


async def _show(job: _Job, rounds: int) -> str:
    from rich.console import Console

    from atlas_mcp.cli.client import start_server
    from atlas_mcp.model.status import Status
    from atlas_mcp.settings import load_settings

    console = Console(highlight=False)
    settings = load_settings()  # what is wrong with them is told before anything is started
    slowed = console.is_terminal and settings.model is None and not settings.offline_delay
    environment = {"ATLAS_OFFLINE_DELAY": str(WATCHABLE_SECONDS)} if slowed else {}
    async with start_server("atlas-mcp demo", **environment) as server:
        tools = await server.tools()
        status = await server.call(Status, "get_status")  # and what the server itself finds wrong, before anything else
        console.print("[bold]ATLAS[/]: one MCP server, a constellation of persistent agents.\n")
        console.print(
            f"A real server runs as a subprocess; a real client speaks MCP {server.protocol_version} with it over "
            f"stdio and sees {len(tools)} tools: [cyan]{', '.join(tools)}[/]"
        )
        await _introduce(console, server, status)
        await _chat(console, server)
        run = await _work(console, server, job, rounds, slowed=slowed)
        await _remembered(console, server)
    _farewell(console, run)
    return run.status


def _step(console: Console, number: int, title: str, call: str) -> None:
    console.print()
    console.rule(f"[bold]{number}. {title}[/]  [dim]{call}[/]", align="left")


async def _introduce(console: Console, server: Server, status: Status) -> None:
    from atlas_mcp.cli.pages import agents_page, status_page
    from atlas_mcp.server.results import AgentList

    _step(console, 1, "What works here", "get_status()")
    console.print(status_page(status))
    _step(console, 2, "Who there is", "list_agents()")
    console.print(agents_page((await server.call(AgentList, "list_agents")).agents))


async def _chat(console: Console, server: Server) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from atlas_mcp.cli.pages import changes_page
    from atlas_mcp.model.turn import ChatReply

    _step(console, 3, "A chat with one of them", f'chat_with_agent(agent="{AGENT}", ...)')
    console.print(Text.assemble(("you        ", "bold"), GREETING))
    with console.status(f"{AGENT} is thinking"):
        reply = await server.call(ChatReply, "chat_with_agent", agent=AGENT, message=GREETING)
    console.print(Text.assemble((f"{AGENT}  ", "bold cyan"), reply.reply or reply.note or ""))
    if reply.memory_changes:
        console.print(Padding(changes_page(reply.memory_changes), (1, 0, 0, 0)))
    else:
        console.print("It changed nothing in its memory this time.", style="dim")


async def _work(console: Console, server: Server, job: _Job, rounds: int, *, slowed: bool) -> Run:
    from rich.text import Text

    from atlas_mcp.cli.pages import plan_page, result_page
    from atlas_mcp.cli.team_view import TeamView
    from atlas_mcp.model.run import ENDED, Run

    _step(console, 4, "A team task", "run_team_task(goal=..., materials=[...]), then get_run(...)")
    console.print(Text.assemble(("goal      ", "bold"), job.goal))
    console.print(Text.assemble(("material  ", "bold"), f"{job.title}, {len(job.text):,} characters"))
    run = await server.call(
        Run,
        "run_team_task",
        goal=job.goal,
        materials=[{"name": job.name, "text": job.text}],
        max_rounds=rounds,
        wait_seconds=0,
    )
    console.print(f"It is stored as run [cyan]{run.run_id}[/] and goes on whether or not we watch.")
    if slowed:
        console.print(f"The offline model waits {WATCHABLE_SECONDS} s a turn, so that there is something to watch.")
    console.print()
    with TeamView(console) as view:
        view.show(run)
        since = run.events[-1].seq if run.events else 0
        while run.status not in ENDED:
            run = await server.call(Run, "get_run", run_id=run.run_id, since=since, wait_seconds=POLL_SECONDS)
            view.show(run)
            since = run.events[-1].seq if run.events else since
    _step(console, 5, "What came of it", f"{run.status}, {run.usage.turns} turns")
    if run.plan:
        console.print(plan_page(run.plan))
    if run.result:
        console.print(result_page(run.result))
    if run.error:
        console.print(Text(f"The run {run.status}: {run.error}", "red"))
    return run


async def _remembered(console: Console, server: Server) -> None:
    from atlas_mcp.cli.pages import memory_page
    from atlas_mcp.server.results import BlockList

    _step(console, 6, "What the agents remember now", "get_agent_memory(agent=...)")
    for agent in (AGENT, "global_supervisor"):
        console.print(memory_page(agent, (await server.call(BlockList, "get_agent_memory", agent=agent)).blocks))
    console.print("They keep this after the server ends: run the demonstration again and see.", style="dim")


def _farewell(console: Console, run: Run) -> None:
    from rich.table import Table

    from atlas_mcp.settings import load_settings

    settings = load_settings()
    ways = Table.grid(padding=(0, 2))
    ways.add_row("read it again", f"[cyan]atlas-mcp runs show {run.run_id}[/]")
    if run.trace_id:
        ways.add_row("see every step of it", f"[cyan]atlas-mcp traces[/]  (trace {run.trace_id})")
    ways.add_row("talk to one of them", f"[cyan]atlas-mcp chat {AGENT}[/]")
    ways.add_row("ask your own", '[cyan]atlas-mcp demo --goal "..." --file notes.md[/]')
    ways.add_row("use it in a host", "[cyan]atlas-mcp install claude-desktop[/] (or claude-code, cursor, vscode)")
    if settings.model is None:
        ways.add_row("use a real model", "set [cyan]ATLAS_MODEL[/]=provider:name and the provider's key")
    ways.add_row("find everything kept", str(settings.home))
    console.print()
    console.rule("[bold]What to do next[/]", align="left")
    console.print(ways)
