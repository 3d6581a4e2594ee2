"""The loop with a real provider's client over HTTP, against the tests' own OpenAI-compatible server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from letta_client import APIStatusError

from tests.embedded.conftest import open_letta, say
from tests.scripted import scripted_model  # noqa: F401  # a fixture
from tests.scripted_model import ScriptedModel, system_text, tool_names

pytestmark = pytest.mark.anyio


class OpenAISource:
    def __init__(self, url: str) -> None:
        from langchain_openai import ChatOpenAI

        self._model = ChatOpenAI(model="scripted-1", base_url=url, api_key="x", max_retries=0)  # type: ignore[arg-type]

    def handles(self) -> list[str]:
        return ["openai/scripted-1"]

    async def chat(self, handle: str) -> Any:
        return self._model


async def test_a_turn_with_tools_and_tokens_over_http(database: Path, scripted_model: ScriptedModel) -> None:  # noqa: F811
    scripted_model.script(
        [
            {"tool": "memory_insert", "args": {"label": "human", "new_string": "tea"}},
            "noted and done",
            {"status": 429, "message": "slow down"},
        ]
    )
    async with open_letta(database, OpenAISource(scripted_model.url)) as letta:
        agent = await letta.agents.create(name="a", memory_blocks=[{"label": "human", "value": "?"}], system="Be kind.")
        message: Any = {"role": "user", "content": "I like tea"}
        create = letta.agents.messages.create
        async with await create(agent.id, messages=[message], streaming=True, stream_tokens=True) as stream:
            events = [event async for event in stream]
        pieces = [e.content for e in events if e.message_type == "assistant_message"]
        assert "".join(pieces) == "noted and done"
        assert len(pieces) > 1
        assert events[-1].total_tokens > 0
        assert (await letta.agents.blocks.retrieve("human", agent_id=agent.id)).value == "?\ntea"
        assert "Be kind." in system_text(scripted_model.last)
        assert "memory_insert" in tool_names(scripted_model.last)
        with pytest.raises(APIStatusError, match="llm_rate_limit"):
            await say(letta, agent.id, "again")
