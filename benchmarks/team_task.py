"""What orchestration itself costs: a team task of one supervisor and three workers whose agents answer at once.

    python benchmarks/team_task.py [tasks]

Measured from the claim of a stored run to its final event, with the real record and engine on a fresh home: seven
agent turns (plan, delegation, three workers, merge, the librarian), typed answers, journal, artifacts, usage. Beside
it, in the same process and turn about: the bare graph of the same shape in plain LangGraph (StateGraph and Send) on its
own SQLite saver, which keeps no journal, no artifacts and checks nothing.
"""

from __future__ import annotations

import json
import operator
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

import anyio
from _machine import machine_line, summary

from atlas_mcp.constellation.tool_turn import ToolTurn
from atlas_mcp.model.agent import AgentSpec, Roster, TeamSpec
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.model.turn import TurnResult
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs import open_runs
from atlas_mcp.runs.context import RunContext
from atlas_mcp.runs.outcome import RunOutcome
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import open_record
from atlas_mcp.teamwork.task import run_team_task

TURNS = 7
WORKERS = ("reader", "checker", "thinker")
TASK = TeamTask(goal="Tell how the light was kept", materials=(Material(name="log", text="The lamp was lit."),))
FOUND = {"text": "It was lit.", "evidence": [{"claim": "lit", "source": "log", "quote": "The lamp was lit."}]}
ANSWERS = {
    "task.plan": {"parts": [{"id": "facts", "team": "research", "task": "find out"}]},
    "task.delegation": {"assignments": [{"worker": w, "task": "look"} for w in WORKERS]},
    "task.findings": FOUND,
    "task.merging": FOUND,
    "task.learning": {"learnings": []},
}
REPLIES = {part: json.dumps(answer) for part, answer in ANSWERS.items()}


def roster() -> Roster:
    """A leader, and a team of a supervisor and three workers; nobody writes or rates."""

    def agent(name: str, role: Any, team: str | None = None) -> AgentSpec:
        return AgentSpec(name=name, role=role, description=name, persona=name, team=team)

    team = TeamSpec(name="research", purpose="finds out", supervisor="lead", workers=WORKERS)
    workers = (agent(w, "worker", "research") for w in WORKERS)
    people = (agent("chief", "global_supervisor"), agent("librarian", "librarian"))
    return Roster(
        name="bench", blocks=(), teams=(team,), agents=(*people, agent("lead", "supervisor", "research"), *workers)
    )


class InstantAgents:
    """Agents without latency; they use no tools."""

    available: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.roster = roster()
        self.toolbox = self
        self.replies = REPLIES
        self.turns = 0

    @property
    def learnings(self) -> InstantAgents:
        """Nothing was ever learned."""
        return self

    @property
    def remembered(self) -> InstantAgents:
        """Nothing is remembered."""
        return self

    async def about(self, asked: str, *, project: str | None = None) -> list[Any]:
        return []

    async def forgotten(self, ids: Any) -> frozenset[str]:
        return frozenset()

    async def near(self, text: str) -> list[Any]:
        return []

    async def keys(self) -> list[str]:
        return []

    async def keep(self, judged: Any) -> None:
        raise LookupError("nothing is proposed")

    @property
    def sources(self) -> InstantAgents:
        """Nothing was given from outside."""
        return self

    async def named(self, run_id: str, names: Any) -> list[Any]:
        return []

    async def listed(self, run_id: str) -> list[Any]:
        return []

    async def get_memory(self, agent: str) -> list[Any]:
        return []

    def hosting(self, run_id: str, guests: Any) -> InstantAgents:
        return self

    async def dismiss(self, run_id: str, *, ended: bool) -> bool:
        return True

    def session(self, agent: AgentSpec, run: Any, turn: Any = None) -> Any:
        return NoTools()

    def lacks(self, agent: AgentSpec) -> list[Any]:
        return []

    async def take_turn(self, agent: str, message: str, *, key: str, asked_by: tuple[str, str], **_: Any) -> TurnResult:
        self.turns += 1
        reply = self.replies[asked_by[0]]
        return TurnResult(turn_id=key, agent=agent, conversation=agent, reply=reply, usage=Usage(turns=1))


class NoTools:
    """No tools."""

    specs = ()
    turn = ToolTurn()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        raise LookupError(name)


class Bare(TypedDict):
    """The peer's state."""

    texts: Annotated[list[str], operator.add]


def bare_graph(saver: Any) -> Any:
    """Plan, delegate, three workers, merge: nothing else."""
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import Send

    async def one(state: Any) -> dict[str, Any]:
        return {"texts": ["done"]}

    graph: Any = StateGraph(Bare)
    for name in ("plan", "delegate", "work", "merge"):
        graph.add_node(name, one)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "delegate")
    graph.add_conditional_edges("delegate", lambda s: [Send("work", s) for _ in WORKERS], ["work"])
    graph.add_edge("work", "merge")
    graph.add_edge("merge", END)
    return graph.compile(checkpointer=saver)


async def measure(tasks: int, folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds from claim to final event, from submission to the end as seen, and of the bare graph."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    home, agents, caller = open_home(folder / "home"), InstantAgents(), Caller(id="local:bench")
    claimed: list[float] = []
    seen: list[float] = []
    bare: list[float] = []
    async with open_record(home.path) as record, AsyncSqliteSaver.from_conn_string(str(folder / "peer.db")) as saver:

        async def execute(run: RunContext) -> RunOutcome:
            begun = time.perf_counter()
            outcome = await run_team_task(run, agents, TeamTask.model_validate(run.input))
            claimed.append((time.perf_counter() - begun) * 1000)
            return outcome

        async with open_runs(home, record, Locks(home.locks), {"team_task": execute}) as runs:
            graph = bare_graph(saver)
            for n in range(tasks + 3):
                begun = time.perf_counter()
                run_id = await runs.submit(caller, "team_task", TASK.goal, TASK.model_dump(mode="json"))
                async for _ in runs.follow(run_id):
                    pass
                seen.append((time.perf_counter() - begun) * 1000)
                begun = time.perf_counter()
                config = {"configurable": {"thread_id": f"bare-{n}"}}
                await graph.ainvoke({"texts": []}, config, durability="sync")
                bare.append((time.perf_counter() - begun) * 1000)
    assert agents.turns == TURNS * (tasks + 3)
    return claimed[3:], seen[3:], bare[3:]  # the first ones import and warm up


def main() -> None:
    """Print the figures."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as folder:
        claimed, seen, bare = anyio.run(measure, tasks, Path(folder))
    print(machine_line())
    print(f"team task, claim to final event:  {summary(claimed)}")
    print(f"  of that for each agent turn:    {summary([ms / TURNS for ms in claimed])}")
    print(f"team task, submit to end seen:    {summary(seen)}")
    print(f"plain LangGraph, SQLite saver:    {summary(bare)}")
    print(f"  of that for each node:          {summary([ms / TURNS for ms in bare])}")


if __name__ == "__main__":
    main()
