"""AutoGen: a selector group chat in which each of three workers speaks once, one after the other."""

import logging
from typing import Any

from _harness import measure
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import SelectorGroupChat
from autogen_core.models import ChatCompletionClient, CreateResult, ModelInfo, RequestUsage

logging.disable(logging.CRITICAL)
made = 0


class Instant(ChatCompletionClient):
    component_type = "model"
    component_config_schema = None  # type: ignore[assignment]

    def __init__(self, selects: bool) -> None:
        self.selects, self.turn = selects, 0

    async def create(self, messages: Any, **_: Any) -> CreateResult:
        global made
        made += 1
        text = "worker result"
        if self.selects:
            text, self.turn = f"w{self.turn % 3}", self.turn + 1
        return CreateResult(finish_reason="stop", content=text, usage=RequestUsage(0, 0), cached=False)

    async def create_stream(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        return

    def actual_usage(self) -> RequestUsage:
        return RequestUsage(0, 0)

    def total_usage(self) -> RequestUsage:
        return RequestUsage(0, 0)

    def count_tokens(self, *_: Any, **__: Any) -> int:
        return 0

    def remaining_tokens(self, *_: Any, **__: Any) -> int:
        return 10_000

    @property
    def capabilities(self) -> Any:
        return self.model_info

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(
            vision=False, function_calling=True, json_output=False, family="unknown", structured_output=False
        )


async def task() -> None:
    workers: Any = [AssistantAgent(f"w{n}", model_client=Instant(False), description="a worker") for n in range(3)]
    ends = MaxMessageTermination(4)
    team = SelectorGroupChat(
        workers, model_client=Instant(True), termination_condition=ends, allow_repeated_speaker=True
    )
    assert len((await team.run(task="do it")).messages) == 4


measure("AutoGen, selector group chat", task, lambda: made)
