"""Many workers at once: a team task whose agents take 50 ms each, beside plain LangGraph on its SQLite saver.

    python benchmarks/fan_out.py [workers ...]

One part, so many assignments, all at once; the limit of assignments a supervisor may make is lifted for this. The peer
is the bare fan-out: StateGraph and Send, LangGraph's own saver on the same kind of file, nothing kept beside. Printed
are the times from claim to final event, their ratio (target: at least 0.9 with 100 workers), the memory that a task
adds, and what it leaves on disk.
"""

from __future__ import annotations

import json
import operator
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

import anyio
from _machine import machine_line
from team_task import REPLIES, TASK, InstantAgents, NoTools

from atlas_mcp.model.agent import AgentSpec, Roster, TeamSpec
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.task import TeamTask
from atlas_mcp.model.turn import TurnResult
from atlas_mcp.runs import open_runs
from atlas_mcp.runs.context import RunContext
from atlas_mcp.runs.outcome import RunOutcome
from atlas_mcp.server.loop import loop_options
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import open_record
from atlas_mcp.teamwork import team as team_room
from atlas_mcp.teamwork.task import run_team_task

SECONDS = 0.05
TIMES = 5


class Crowd(InstantAgents):
    """So many workers in one team; those of them take SECONDS, the supervisors nothing."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        names = tuple(f"worker_{n}" for n in range(workers))
        self.roster = _roster(names)
        assigned = [{"worker": name, "task": "look"} for name in names]
        self.replies = REPLIES | {"task.delegation": json.dumps({"assignments": assigned})}

    def session(self, agent: AgentSpec, run: Any, turn: Any = None) -> Any:
        return NoTools()

    async def take_turn(self, agent: str, message: str, **given: Any) -> TurnResult:
        if agent.startswith("worker_"):
            await anyio.sleep(SECONDS)
        return await super().take_turn(agent, message, **given)


def _roster(names: tuple[str, ...]) -> Roster:
    def agent(name: str, role: Any, team: str | None = None) -> AgentSpec:
        return AgentSpec(name=name, role=role, description=name, persona=name, team=team)

    team = TeamSpec(name="research", purpose="finds out", supervisor="lead", workers=names)
    people = (
        agent("chief", "global_supervisor"),
        agent("librarian", "librarian"),
        agent("lead", "supervisor", "research"),
    )
    workers = tuple(agent(name, "worker", "research") for name in names)
    return Roster(name="crowd", blocks=(), teams=(team,), agents=people + workers)


class Bare(TypedDict):
    """The peer's state."""

    texts: Annotated[list[str], operator.add]


def bare_graph(saver: Any, workers: int) -> Any:
    """Plan, delegate, the workers, merge: nothing else."""
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import Send

    async def instant(state: Any) -> dict[str, Any]:
        return {"texts": []}

    async def work(state: Any) -> dict[str, Any]:
        await anyio.sleep(SECONDS)
        return {"texts": ["done"]}

    async def everyone(state: Any) -> list[Any]:
        return [Send("work", {"texts": []}) for _ in range(workers)]

    graph: Any = StateGraph(Bare)
    for name, node in (("plan", instant), ("delegate", instant), ("work", work), ("merge", instant)):
        graph.add_node(name, node)
    graph.add_edge(START, "plan").add_edge("plan", "delegate").add_conditional_edges("delegate", everyone, ["work"])
    graph.add_edge("work", "merge").add_edge("merge", END)
    return graph.compile(checkpointer=saver)


async def measure(workers: int, folder: Path) -> None:
    """Print what so many workers take, here and in plain LangGraph."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    home, agents, caller = open_home(folder / "home"), Crowd(workers), Caller(id="local:bench")
    took: list[float] = []
    bare: list[float] = []
    async with open_record(home.path) as record, AsyncSqliteSaver.from_conn_string(str(folder / "peer.db")) as saver:

        async def execute(run: RunContext) -> RunOutcome:
            begun = time.perf_counter()
            outcome = await run_team_task(run, agents, TeamTask.model_validate(run.input))
            took.append((time.perf_counter() - begun) * 1000)
            return outcome

        async with open_runs(home, record, Locks(home.locks), {"team_task": execute}) as runs:
            graph = bare_graph(saver, workers)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for n in range(TIMES + 1):
                run_id = await runs.submit(caller, "team_task", TASK.goal, TASK.model_dump(mode="json"))
                async for _ in runs.follow(run_id):
                    pass
                begun = time.perf_counter()
                config: Any = {"configurable": {"thread_id": f"bare-{n}"}}
                await graph.ainvoke({"texts": []}, config, durability="sync")
                bare.append((time.perf_counter() - begun) * 1000)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    atlas, plain = statistics.median(took[1:]), statistics.median(bare[1:])
    print(
        f"{workers:5d} workers of {SECONDS * 1000:g} ms: ATLAS median {atlas:7.1f} ms, plain LangGraph {plain:7.1f} ms"
    )
    print(
        f"      {plain / atlas:.2f} of plain LangGraph's speed; at its highest {grown:.0f} MB more memory than before"
    )
    disk = sum(path.stat().st_size for path in home.path.rglob("*") if path.is_file()) / (TIMES + 1) / 1024
    print(f"      {disk:.0f} KB on disk a task")


def main() -> None:
    """Print the figures."""
    counts = [int(n) for n in sys.argv[1:]] or [100, 1000]
    team_room.MAX_ASSIGNMENTS = max(counts)
    print(machine_line())
    for workers in counts:
        with tempfile.TemporaryDirectory() as folder:
            anyio.run(measure, workers, Path(folder), backend_options=loop_options())


if __name__ == "__main__":
    main()
