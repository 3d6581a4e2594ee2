"""What a turn on the embedded Letta costs, through letta-client, with a model in the process that costs nothing.

    python benchmarks/embedded_turn.py

Targets: one turn under 4 ms (median), 32 agents at once over 250 turns a second, a block update under 3 ms. The load
is printed with the figures, and what LangChain's loop and a call of the client cost alone in the same run: on a busy
machine compare with those.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
from _machine import machine_line
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from letta_client import AsyncLetta

from atlas_mcp.embedded import StreamingASGITransport, create_app, running
from atlas_mcp.server.loop import loop_options

AGENTS, TURNS, HISTORY = 32, 300, 10


class FreeModel(BaseChatModel):
    """Answers at once; with `tool` in the message it calls a memory tool first."""

    @property
    def _llm_type(self) -> str:
        return "free"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        last = messages[-1]
        wants_tool = isinstance(last, HumanMessage) and "tool" in str(last.content)
        call = {"name": "memory_replace", "args": MEMORY, "id": "call_1", "type": "tool_call"}
        answer = AIMessage("" if wants_tool else "A short answer.", tool_calls=[call] if wants_tool else [])
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return self._generate(messages)


MEMORY = {"label": "human", "old_string": "likes", "new_string": "likes"}


class Source:
    model = FreeModel()

    def handles(self) -> list[str]:
        return ["free/model"]

    async def chat(self, handle: str) -> Any:
        return self.model


async def median(name: str, target_ms: float | None, act: Callable[[], Awaitable[Any]], times: int = TURNS) -> None:
    for _ in range(20):
        await act()
    took: list[float] = []
    cpu = time.process_time()
    for _ in range(times):
        begun = time.perf_counter()
        await act()
        took.append((time.perf_counter() - begun) * 1e3)
    cpu = (time.process_time() - cpu) / times * 1e3
    line = f"{name:44s} median {statistics.median(took):6.2f} ms   best {min(took):6.2f}   CPU {cpu:6.2f} ms"
    print(line + (f"   (target < {target_ms:g} ms)" if target_ms else ""))


async def at_once(letta: AsyncLetta, agents: list[str], rounds: int = 20) -> None:
    async def one(agent_id: str) -> None:
        for _ in range(rounds):
            await say(letta, agent_id)

    begun, cpu = time.perf_counter(), time.process_time()
    async with anyio.create_task_group() as tasks:
        for agent_id in agents:
            tasks.start_soon(one, agent_id)
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    turns = len(agents) * rounds
    print(
        f"{f'{len(agents)} agents at once':44s} {turns / took:13.0f} turns/s   CPU {cpu / turns * 1e3:6.2f} ms a turn",
        end="",
    )
    print("   (target > 250 turns/s)")


async def say(letta: AsyncLetta, agent_id: str, text: str = "hello") -> None:
    await letta.agents.messages.create(agent_id, messages=[{"role": "user", "content": text}])


async def bare_loop() -> Callable[[], Awaitable[Any]]:
    """What LangChain's loop alone costs on this machine now: the floor under every turn."""
    from langchain.agents import create_agent

    graph: Any = create_agent(FreeModel(), [])
    history = [HumanMessage("hello"), AIMessage("A short answer.")] * HISTORY
    return lambda: graph.ainvoke({"messages": [*history, HumanMessage("hello")]})


async def stream(letta: AsyncLetta, agent_id: str) -> None:
    message: Any = {"role": "user", "content": "hello"}
    async with await letta.agents.messages.create(agent_id, messages=[message], streaming=True) as events:
        async for _ in events:
            pass


async def main() -> None:
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Path(folder) / "letta.db", Source(), context_tokens=1_000_000)
        async with running(app), httpx.AsyncClient(transport=StreamingASGITransport(app)) as http:
            letta = AsyncLetta(base_url="http://embedded", api_key="x", max_retries=0, http_client=http)
            blocks: Any = [{"label": "persona", "value": "I am quick."}, {"label": "human", "value": "likes tea"}]
            agents = [(await letta.agents.create(name=f"a{i}", memory_blocks=blocks)).id for i in range(AGENTS)]

            async def fresh(act: Callable[[AsyncLetta, str], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
                count = 0

                async def one() -> None:  # every agent in turn, so that histories stay at about twenty messages
                    nonlocal count
                    count += 1
                    await act(letta, agents[count % AGENTS])

                return one

            await median("LangChain's loop alone", None, await bare_loop())
            await median("letta-client's health call alone", None, letta.health)
            await median("a turn", 4, await fresh(say))
            for agent_id in agents:
                await letta.agents.messages.reset(agent_id)
            await at_once(letta, agents)
            await median("a turn in a stream", None, await fresh(stream))
            await median("a turn with one tool call", None, await fresh(lambda c, a: say(c, a, "use the tool")))
            values = iter(range(10**6))
            await median(
                "a block update",
                3,
                lambda: letta.agents.blocks.update("human", agent_id=agents[0], value=f"likes {next(values)}"),
            )


if __name__ == "__main__":
    anyio.run(main, backend_options=loop_options())
