"""langgraph-supervisor as it is shipped: its hand-offs are one after the other.

With parallel hand-offs only one of three workers runs (its issue 230), so that there is nothing to compare.
"""

import uuid
from typing import Any

from _harness import measure
from _langchain_model import Instant, made, worker
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.prebuilt import create_react_agent
from langgraph_supervisor import create_supervisor


def route(messages: Any) -> AIMessage:
    done = sum(isinstance(m, ToolMessage) and (m.name or "").startswith("transfer_to_w") for m in messages)
    if done == 3:
        return AIMessage("final")
    return AIMessage("", tool_calls=[{"name": f"transfer_to_w{done}", "args": {}, "id": uuid.uuid4().hex}])


workers = [create_react_agent(Instant(answer=worker), tools=[], name=f"w{n}") for n in range(3)]
app = create_supervisor(workers, model=Instant(answer=route), prompt="route").compile()


async def task() -> None:
    result = await app.ainvoke({"messages": [("user", "do it")]})
    assert result["messages"][-1].content == "final"
    assert sum(m.content == "worker result" for m in result["messages"]) == 3


measure("langgraph-supervisor, sequential", task, lambda: made[0])
