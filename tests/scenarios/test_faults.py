"""Faults that are put into a home: they happen as often as is said, and then no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atlas_mcp._faults import FaultyKeeper, in_script
from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.scenario import Fault
from atlas_mcp.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def keeper(home: Path, **fault: Any) -> FaultyKeeper:
    return FaultyKeeper(load_settings(home=home), [Fault(**fault)])


async def letta(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers everything in two pieces."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"first ", "more_body": True})
    await send({"type": "http.response.body", "body": b"last"})


async def send(http: httpx.AsyncClient, heard: list[bytes]) -> None:
    async with http.stream("POST", "/v1/conversations/c/messages") as answer:
        async for words in answer.aiter_bytes():
            heard.append(words)


async def test_the_connection_drops_after_the_first_words_of_an_answer_as_often_as_is_said(home: Path) -> None:
    way = keeper(home, kind="letta", times=2).transport(letta)
    async with httpx.AsyncClient(transport=way, base_url="http://embedded") as http:
        assert (await http.get("/v1/agents/a/messages")).text == "first last"
        assert (await http.post("/v1/agents")).text == "first last"
        for _ in range(2):
            heard: list[bytes] = []
            with pytest.raises(httpx.ReadError, match="the connection dropped"):
                await send(http, heard)
            assert heard == [b"first "]
        assert (await http.post("/v1/conversations/c/messages")).text == "first last"


async def test_without_that_fault_the_way_is_the_usual_one(home: Path) -> None:
    plain = keeper(home, kind="slow")
    assert type(plain.transport(letta)).__name__ == "StreamingASGITransport"
    assert type(plain.toolbox).__name__ == "Toolbox"


async def test_a_tool_fails_for_the_agent_that_is_named_as_often_as_is_said(home: Path) -> None:
    faulty = keeper(home, kind="tool", tool="calculate", agent="data_scientist", times=1)
    mine, other = (
        faulty.toolbox.session(faulty.roster.agent(name), None) for name in ("data_scientist", "financial_analyst")
    )
    sum_of = {"expression": "1 + 1"}
    assert [spec.name for spec in mine.specs] == [spec.name for spec in other.specs]
    assert "2" in await other.call("calculate", sum_of)
    with pytest.raises(ToolFailed, match="calculate failed: the scenario says so"):
        await mine.call("calculate", sum_of)
    assert "2" in await mine.call("calculate", sum_of)


def test_a_models_faults_come_before_its_rules_so_many_times_or_always() -> None:
    once = Fault(kind="outage", agent="ann", part="plan")
    always = Fault(kind="unusable", times="always")
    slow = Fault(kind="slow", seconds=7, times=3)
    rules = in_script([once, Fault(kind="letta"), always, slow])
    assert [(rule.agent, rule.part, len(rule.replies), rule.always) for rule in rules] == [
        ("ann", "plan", 1, False),
        (None, None, 1, True),
        (None, None, 3, False),
    ]
    assert rules[0].replies[0].error == "outage"
    assert rules[1].replies[0].text
    assert rules[2].replies[0].seconds == 7
