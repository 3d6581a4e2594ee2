"""A group's talk as a LangGraph graph, one for each kind of manager. What the nodes do stands in `nodes`.

    round_robin   open -> speak -> speak -> ... -> end
    dynamic       open -> choose -> speak -> choose -> ... -> end
    supervisor    open -> broadcast -> reply (all agents at once) -> answer -> end
    sleeptime     open -> answer -> end; the background agents' turns are a run of their own

LangGraph is imported when a graph is first built. Each node is one turn: what is finished is never done again.
Where the ways part is decided in coroutines: what is no coroutine would be sent to a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from atlas_mcp.teamwork.groups import nodes
from atlas_mcp.teamwork.groups.job import GroupJob
from atlas_mcp.teamwork.groups.state import Asked, State
from atlas_mcp.teamwork.replay import once
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph  # pyright: ignore[reportMissingTypeStubs]  # inline types, but no py.typed

    from atlas_mcp.model.group import ManagerType

Node = Callable[[GroupJob, Any], Awaitable[dict[str, Any]]]

STEPS = 100
"""More steps than any talk can take; reaching it is a fault in the graph."""


@cache  # compiling takes as long as several turns of agents that answer at once
def build(manager: ManagerType) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph for that kind of manager."""
    from langgraph.graph import END, START, StateGraph  # pyright: ignore[reportMissingTypeStubs]  # inline types, but no py.typed

    graph: Any = StateGraph(State, context_schema=GroupJob)
    graph.add_node("open", _node("open", nodes.open_floor))
    graph.add_edge(START, "open")
    if manager == "round_robin":
        graph.add_node("speak", _node("speak", nodes.take_floor))
        graph.add_edge("open", "speak")
        graph.add_conditional_edges("speak", _unless_over("speak"), ["speak", END])
    elif manager == "dynamic":
        graph.add_node("choose", _node("choose", nodes.choose))
        graph.add_node("speak", _node("speak", nodes.take_floor))
        graph.add_edge("open", "choose")
        graph.add_conditional_edges("choose", _unless_over("speak"), ["speak", END])
        graph.add_conditional_edges("speak", _unless_over("choose"), ["choose", END])
    else:
        graph.add_node("answer", _node("answer", nodes.answer_caller))
        graph.add_edge("answer", END)
        if manager == "sleeptime":
            graph.add_edge("open", "answer")
        else:
            graph.add_node("broadcast", _node("broadcast", nodes.broadcast))
            graph.add_node("reply", _node("reply", nodes.answer_supervisor), input_schema=Asked)
            graph.add_edge("open", "broadcast")
            graph.add_conditional_edges("broadcast", _everyone, ["reply"])
            graph.add_edge("reply", "answer")
    return graph.compile(name=f"group_{manager}")


def _node(name: str, do: Node) -> Any:
    """The function as LangGraph calls it: with the job of this run."""

    async def node(state: Any) -> dict[str, Any]:
        from langgraph.runtime import get_runtime

        job = get_runtime(GroupJob).context
        who = state.get("agent")
        title = f"{name} {who}" if who else name
        place = f"{name}:{who or state['turns']}"
        with span(title, "TASK", dict(state), atlas__node=name, atlas__agent=who) as opened:
            update, _ = await once(job.run, place, partial(do, job, state))
            outputs(opened, update)
        return update

    return node


def _unless_over(following: str) -> Callable[[State], Awaitable[str]]:
    from langgraph.graph import END  # pyright: ignore[reportMissingTypeStubs]  # inline types, but no py.typed
    from langgraph.runtime import get_runtime

    async def route(state: State) -> str:
        job = get_runtime(GroupJob).context
        return END if state["stop"] or state["turns"] >= nodes.most_turns(job) else following

    return route


async def _everyone(state: State) -> list[Any]:
    from langgraph.runtime import get_runtime
    from langgraph.types import Send

    job = get_runtime(GroupJob).context
    return [Send("reply", Asked(agent=agent, last=state["last"])) for agent in job.members]
