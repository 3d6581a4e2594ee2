"""The team task as a LangGraph graph: which node follows which. What the nodes do stands in the other modules.

    plan -> approve (where somebody is to be asked)
    plan, approve, dispatch -> team (one for each part that can start, all at once) -> dispatch -> ... -> write
    write -> rate (one for each rater, all at once) -> judge -> write | finish
    debate (in the place of teams): open -> argue (all sides at once) -> moderate -> argue | conclude
    team:   delegate -> work, or a team of its own (one for each assignment, all at once) -> merge

LangGraph is imported when a graph is first built. Where the ways part the node itself says where to go: edges that
decide would have the whole state read once more for them, which is a tenth of what a task costs. What a node came to is
kept by `replay`, and by nobody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.model.plan import MAX_DEBATE_ROUNDS, MAX_PARTS
from atlas_mcp.teamwork.approval import approve
from atlas_mcp.teamwork.closing import finish, keep_best
from atlas_mcp.teamwork.debate import argue, conclude, moderate, open_debate
from atlas_mcp.teamwork.job import Job
from atlas_mcp.teamwork.planning import make_plan
from atlas_mcp.teamwork.rating import judge, rate
from atlas_mcp.teamwork.replay import once
from atlas_mcp.teamwork.state import (
    DEBATE,
    DebaterState,
    DebateState,
    RaterState,
    State,
    TeamOutput,
    TeamState,
    WorkerState,
    merge,
)
from atlas_mcp.teamwork.team import delegate, part_of, work
from atlas_mcp.teamwork.team import merge as merge_reports
from atlas_mcp.teamwork.writing import write
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph  # pyright: ignore[reportMissingTypeStubs]  # inline types, but no py.typed

_JUDGING = frozenset({"rate", "judge"})
Node = Callable[[Job, str, Any], Awaitable[dict[str, Any]]]
Way = Callable[[Any], "list[Any] | str"]


def steps(max_rounds: int) -> int:
    """More steps than any task of so many rounds can take; reaching it is a fault in the graph."""
    return 2 * MAX_PARTS + 3 * max_rounds + 2 * MAX_DEBATE_ROUNDS + 10


def build(levels: int = 1) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph, for teams that stand in each other so deep."""
    from langgraph.graph import END, START, StateGraph  # pyright: ignore[reportMissingTypeStubs]  # inline types, but no py.typed

    graph: Any = StateGraph(State, context_schema=Job)
    ready = ("team", "debate", "write")
    graph.add_node("plan", _node("plan", make_plan, after_plan), destinations=("approve", *ready))
    graph.add_node("approve", _node("approve", approve, next_parts), destinations=ready)
    graph.add_node("dispatch", _node("dispatch", dispatch, next_parts), destinations=ready)
    graph.add_node("team", _draw_team(levels))
    graph.add_node("debate", _draw_debate())
    graph.add_node("write", _node("write", write, after_write), destinations=("rate", "judge", "finish"))
    graph.add_node("rate", _node("rate", rate), input_schema=RaterState)
    graph.add_node("judge", _node("judge", _judge, after_judge), destinations=("write", "finish"))
    graph.add_node("finish", _node("finish", finish, last=True))
    graph.add_edge(START, "plan")
    graph.add_edge("team", "dispatch")
    graph.add_edge("debate", "dispatch")
    graph.add_edge("rate", "judge")
    graph.add_edge("finish", END)
    return graph.compile(name="team_task")


def _draw_team(levels: int) -> Any:
    from langgraph.graph import END, START, StateGraph  # pyright: ignore[reportMissingTypeStubs]  # inline types, but no py.typed

    team: Any = StateGraph(TeamState, context_schema=Job, output_schema=TeamOutput)
    given = ("work", *(["nested"] if levels > 1 else []), END)
    team.add_node("delegate", _node("delegate", delegate, after_delegate), destinations=given)
    team.add_node("work", _node("work", work), input_schema=WorkerState)
    team.add_node("merge", _node("merge", merge_reports))
    team.add_edge(START, "delegate")
    team.add_edge("work", "merge")
    if levels > 1:
        team.add_node("nested", _draw_team(levels - 1))
        team.add_edge("nested", "merge")
    team.add_edge("merge", END)
    return team.compile(name="team")


def _draw_debate() -> Any:
    from langgraph.graph import END, START, StateGraph  # pyright: ignore[reportMissingTypeStubs]  # inline types, but no py.typed

    debate: Any = StateGraph(DebateState, context_schema=Job, output_schema=TeamOutput)
    further = ("argue", "conclude")
    debate.add_node("open", _node("open", open_debate, next_round), destinations=further)
    debate.add_node("argue", _node("argue", argue), input_schema=DebaterState)
    debate.add_node("moderate", _node("moderate", moderate, next_round), destinations=further)
    debate.add_node("conclude", _node("conclude", conclude))
    debate.add_edge(START, "open")
    debate.add_edge("argue", "moderate")
    debate.add_edge("conclude", END)
    return debate.compile(name="debate")


def _node(name: str, do: Node, way: Way | None = None, *, last: bool = False) -> Any:
    """The function as LangGraph calls it: with the job, and with the key that is the same when it runs again.

    `way` says where to go, by the state as it was with what the node came to put in the place of what was there. What
    the last one came to is not kept: nothing comes after it but the end of the run.
    """

    async def node(state: Any) -> Any:
        from langgraph.runtime import get_runtime
        from langgraph.types import Command

        job = get_runtime(Job).context
        place = _place(name, state)
        kind = "EVALUATOR" if name in _JUDGING else "TASK"
        marks = {"atlas.node": name, "atlas.team": cast("dict[str, Any]", state.get("part") or {}).get("team")}
        with span(_title(name, state), kind, _shown(state), **marks) as opened:
            doing = partial(do, job, f"{job.run.run_id}:{place}", state)
            update, known = (await doing(), False) if last else await once(job.run, place, doing)
            if known:  # an earlier attempt did it
                opened.set_attribute("atlas.known", True)
                job.catch_up(update.get("turns", {}))
            outputs(opened, update)
        return Command(update=update, goto=way({**state, **update})) if way else update

    return node


def _place(name: str, state: dict[str, Any]) -> str:
    """Where in the work the node stands: the same in every attempt, and no other's."""
    part = cast("dict[str, Any]", state.get("part") or {})
    marks = [part.get("id"), *(state.get(mark) for mark in ("index", "round", "rater", "debater"))]
    if name == "dispatch":
        marks.append(len(state.get("done", {})))
    return ":".join(str(mark) for mark in (name, *marks) if mark is not None)


def _title(name: str, state: dict[str, Any]) -> str:
    """The node's name, and whose work it is where several do the same."""
    part = cast("dict[str, Any]", state.get("part") or {})
    whose = state.get("worker") or state.get("rater") or state.get("debater") or part.get("id")
    return f"{name} {whose}" if whose else name


def _shown(state: dict[str, Any]) -> dict[str, Any]:
    """What of the state tells the node's work."""
    return {k: state[k] for k in ("part", "worker", "rater", "debater", "round", "done") if k in state}


async def dispatch(job: Job, node: str, state: State) -> dict[str, Any]:
    """Between the waves: what is done so far is kept for whoever cancels."""
    await keep_best(job, state)
    return {}


async def _judge(job: Job, node: str, state: State) -> dict[str, Any]:
    update = await judge(job, node, state)
    seen = {key: merge(cast("Any", state.get(key)), update.get(key)) for key in ("means", "rated", "unfit")}
    missing = [*state.get("missing", []), *update["missing"]]
    await keep_best(job, cast("State", {**state, **seen, "missing": missing}))
    return update


def after_plan(state: State) -> list[Any] | str:
    """The approval, where the plan is to be approved or its planner asked something; else the work."""
    return "approve" if state["planning"]["to_ask"] else next_parts(state)


def next_parts(state: State) -> list[Any] | str:
    """The teams whose parts can start; the writing when none is left."""
    from langgraph.types import Send

    done = state.get("done", {})
    ready = [p for p in state["parts"] if p["id"] not in done and all(d in done for d in p["depends_on"])]
    return [Send("debate" if part["team"] == DEBATE else "team", {"part": part}) for part in ready] or "write"


def next_round(state: DebateState) -> list[Any] | str:
    """All who are seated speak, or the debate is over."""
    from langgraph.types import Send

    if state["over"]:
        return "conclude"
    seated, threads = state["seated"], state.get("threads", {})
    each = [DebaterState(debater=d, round=state["round"], seated=seated, threads=threads) for d in seated]
    return [Send("argue", one) for one in each]


def after_delegate(state: TeamState) -> list[Any] | str:
    """The workers and teams with an assignment; the end for a part that was not delegated."""
    from langgraph.graph import END  # pyright: ignore[reportMissingTypeStubs]  # inline types, but no py.typed
    from langgraph.types import Send

    part, nested = state["part"], state.get("nested", [])
    given = enumerate(state.get("assigned", []))
    return [
        Send("nested", {"part": part_of(part, i, who)})
        if i in nested
        else Send("work", WorkerState(part=part, index=i, worker=who))
        for i, who in given
    ] or END


def after_judge(state: State) -> str:
    """Another round, or the end."""
    return "write" if state["again"] else "finish"


def after_write(state: State) -> list[Any] | str:
    """The raters; the judgement without any; the end when a revision changed nothing."""
    from langgraph.types import Send

    if not state["again"]:
        return "finish"
    number, parts, done = state["round"], state["parts"], state.get("done", {})
    return [Send("rate", RaterState(rater=r, round=number, parts=parts, done=done)) for r in state["raters"]] or "judge"
