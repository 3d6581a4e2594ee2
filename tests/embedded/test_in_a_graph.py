"""A program whose own LangGraph graph talks to the embedded Letta, in the same process."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from tests.embedded.conftest import listed, say

pytestmark = pytest.mark.anyio


class State(TypedDict, total=False):
    said: str
    tries: int


async def test_a_turn_inside_of_another_graph_is_whole_and_leaves_nothing_in_it(letta: Any, agent: Any) -> None:
    tries: list[str] = []

    async def ask(state: State) -> State:
        reply = await say(letta, agent.id, f"try {len(tries)}")
        tries.append(reply.messages[-1].content)
        if len(tries) == 1:
            raise ConnectionAbortedError("after the turn")
        return {"said": reply.messages[-1].content}

    graph: Any = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    saver = InMemorySaver()
    compiled = graph.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "t"}}
    with pytest.raises(ConnectionAbortedError):
        await compiled.ainvoke({"tries": 0}, config)
    assert (await compiled.ainvoke(None, config))["said"] == "ok: try 1"
    assert tries == ["ok: try 0", "ok: try 1"]
    assert [text for _, text in await listed(letta, agent.id)] == ["try 0", "ok: try 0", "try 1", "ok: try 1"]
    namespaces = {c.config.get("configurable", {})["checkpoint_ns"] for c in saver.list(config)}
    assert namespaces == {""}
