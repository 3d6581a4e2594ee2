"""Plain LangGraph: a supervisor, three workers by Send, a synthesis; without a saver, or on SQLite as ATLAS sets it."""

import operator
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Annotated, Any, TypedDict

from _harness import measure
from langgraph.graph import START, StateGraph
from langgraph.types import Send

made = 0


class Work(TypedDict, total=False):
    texts: Annotated[list[str], operator.add]
    final: str


async def model(text: str) -> str:
    global made
    made += 1
    return f"ok {text}"


async def supervise(_: Work) -> Work:
    await model("plan")
    return {}


async def work(state: Any) -> Work:
    return {"texts": [await model(state["worker"])]}


async def merge(state: Work) -> Work:
    return {"final": await model(" ".join(state["texts"]))}


async def everyone(_: Work) -> list[Send]:
    return [Send("work", {"worker": f"w{n}"}) for n in range(3)]


graph = StateGraph(Work).add_node("supervise", supervise).add_node("work", work).add_node("merge", merge, defer=True)
graph.add_edge(START, "supervise").add_conditional_edges("supervise", everyone, ["work"]).add_edge("work", "merge")
kept: dict[str, Any] = {}


async def task() -> None:
    if "app" not in kept:
        kept["app"] = graph.compile(checkpointer=await saver() if "sqlite" in sys.argv else None)
    config = {"configurable": {"thread_id": uuid.uuid4().hex}}
    durability: Any = {"durability": "sync"} if "sqlite" in sys.argv else {}
    result = await kept["app"].ainvoke({"texts": []}, config, **durability)
    assert len(result["texts"]) == 3


async def saver() -> Any:
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    connection = await aiosqlite.connect(Path(tempfile.mkdtemp()) / "peer.db")
    made_of = AsyncSqliteSaver(connection)
    await made_of.setup()
    await connection.execute("PRAGMA synchronous=NORMAL")
    return made_of


measure("plain LangGraph, " + ("SQLite" if "sqlite" in sys.argv else "nothing kept"), task, lambda: made)
