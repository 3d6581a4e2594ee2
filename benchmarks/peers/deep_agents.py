"""deepagents: a supervisor that gives three sub-agents work at once."""

import uuid
from typing import Any

from _harness import measure
from deepagents import create_deep_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

made = 0


class Instant(BaseChatModel):
    role: str

    @property
    def _llm_type(self) -> str:
        return "instant"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        global made
        made += 1
        answer = AIMessage("final")
        if self.role == "supervisor" and not any(isinstance(m, ToolMessage) for m in messages):
            asked = [{"description": "go", "subagent_type": f"w{n}"} for n in range(3)]
            answer = AIMessage("", tool_calls=[{"name": "task", "args": a, "id": uuid.uuid4().hex} for a in asked])
        return ChatResult(generations=[ChatGeneration(message=answer)])


workers: Any = [
    {"name": f"w{n}", "description": "a worker", "system_prompt": "work", "model": Instant(role="worker"), "tools": []}
    for n in range(3)
]
app = create_deep_agent(model=Instant(role="supervisor"), subagents=workers)


async def task() -> None:
    result = await app.ainvoke({"messages": [("user", "do it")]})
    assert result["messages"][-1].content == "final"
    assert sum(isinstance(m, ToolMessage) for m in result["messages"]) == 3


measure("deepagents, parallel", task, lambda: made)
