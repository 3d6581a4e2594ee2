"""Microsoft's Agent Framework: a supervisor, three agents at once by ConcurrentBuilder, and their aggregation."""

import logging
from typing import Any

from _harness import measure
from agent_framework import Agent, BaseChatClient, ChatResponse, ChatResponseUpdate, Content, Message, ResponseStream
from agent_framework_orchestrations import ConcurrentBuilder

logging.disable(logging.CRITICAL)
made = 0


class Instant(BaseChatClient):
    def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **_: Any) -> Any:
        global made
        made += 1

        async def events() -> Any:
            yield ChatResponseUpdate(role="assistant", contents=[Content.from_text("ok")])

        async def whole() -> ChatResponse:
            return ChatResponse(messages=[Message("assistant", ["ok"])])

        return ResponseStream(events(), finalizer=ChatResponse.from_updates) if stream else whole()


def agent(name: str) -> Agent:
    return Agent(client=Instant(), name=name, instructions="work")


async def task() -> None:
    supervisor, workers = agent("supervisor"), [agent(f"w{n}") for n in range(3)]
    await supervisor.run("plan")

    async def merge(results: Any) -> str:
        return (await supervisor.run(" | ".join(r.agent_response.text for r in results))).text

    result = await ConcurrentBuilder(participants=workers).with_aggregator(merge).build().run("do it")
    assert result.get_outputs()


measure("MS Agent Framework, concurrent", task, lambda: made)
