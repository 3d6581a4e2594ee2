"""The OpenAI Agents SDK: a supervisor with three agents as tools, all called at once."""

import json
import uuid
from typing import Any

from _harness import measure
from agents import Agent, Runner, set_tracing_disabled
from agents.items import ModelResponse
from agents.models.interface import Model
from agents.usage import Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

set_tracing_disabled(True)
made = 0


def said(text: str) -> ResponseOutputMessage:
    content = [ResponseOutputText(text=text, type="output_text", annotations=[])]
    return ResponseOutputMessage(
        id=uuid.uuid4().hex, type="message", role="assistant", status="completed", content=content
    )


def called(name: str) -> ResponseFunctionToolCall:
    arguments = json.dumps({"input": "go"})
    return ResponseFunctionToolCall(
        id=uuid.uuid4().hex, call_id=uuid.uuid4().hex, type="function_call", name=name, arguments=arguments
    )


class Instant(Model):
    def __init__(self, role: str) -> None:
        self.role = role

    async def get_response(self, system_instructions: Any, input: Any, *_: Any, **__: Any) -> ModelResponse:
        global made
        made += 1
        output: list[Any] = [said("worker result")]
        if self.role == "supervisor":
            items = input if isinstance(input, list) else []
            done = any(isinstance(i, dict) and i.get("type") == "function_call_output" for i in items)
            output = [said("final")] if done else [called(f"w{n}") for n in range(3)]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


workers = [Agent(name=f"w{n}", instructions="work", model=Instant("worker")) for n in range(3)]
tools: Any = [w.as_tool(tool_name=w.name, tool_description="a worker") for w in workers]
supervisor = Agent(name="supervisor", instructions="route", model=Instant("supervisor"), tools=tools)


async def task() -> None:
    assert (await Runner.run(supervisor, "do it")).final_output == "final"


measure("OpenAI Agents, agents as tools", task, lambda: made)
