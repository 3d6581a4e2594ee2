"""deepagents: a supervisor that gives three sub-agents work at once."""

import uuid
from typing import Any

from _harness import measure
from _langchain_model import Instant, made, worker
from deepagents import create_deep_agent
from langchain_core.messages import AIMessage, ToolMessage


def route(messages: Any) -> AIMessage:
    if any(isinstance(m, ToolMessage) for m in messages):
        return AIMessage("final")
    asked = [{"description": "go", "subagent_type": f"w{n}"} for n in range(3)]
    return AIMessage("", tool_calls=[{"name": "task", "args": a, "id": uuid.uuid4().hex} for a in asked])


workers: Any = [
    {"name": f"w{n}", "description": "a worker", "system_prompt": "work", "model": Instant(answer=worker), "tools": []}
    for n in range(3)
]
app = create_deep_agent(model=Instant(answer=route), subagents=workers)


async def task() -> None:
    result = await app.ainvoke({"messages": [("user", "do it")]})
    assert result["messages"][-1].content == "final"
    assert sum(isinstance(m, ToolMessage) for m in result["messages"]) == 3


measure("deepagents, parallel", task, lambda: made[0])
