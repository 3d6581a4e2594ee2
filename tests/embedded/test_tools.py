from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from letta_client import BadRequestError, ConflictError, NotFoundError, PermissionDeniedError

from tests.embedded.conftest import open_letta, say
from tests.embedded.scripted_chat import ScriptedChat, Source

pytestmark = pytest.mark.anyio

SOURCE = '''
from typing import Literal, Optional


def _helper(x):
    return x


def roll(sides: int, times: Optional[int] = 1, names: list[str] | None = None, how: Literal["a", "b"] = "a") -> str:
    """Roll a die.

    It is fair.

    Args:
        sides (int): How many sides: at least two,
            at most a hundred.
        times: How often.

    Returns:
        str: The sum.
    """
    return str(sides)
'''


async def run(source: str, name: str, arguments: dict[str, Any]) -> str:
    if arguments.get("sides") == 0:
        raise ValueError("a die needs sides")
    return f"{name} of {len(source)} with {arguments}"


@pytest.fixture
async def letta(database: Path, chat: ScriptedChat) -> Any:
    async with open_letta(database, Source(chat), run_tool=run) as client:
        yield client


async def test_the_schema_follows_from_hints_and_docstring(letta: Any) -> None:
    tool: Any = await letta.tools.upsert(source_code=SOURCE)
    assert tool.json_schema == {
        "name": "roll",
        "description": "Roll a die.\n\nIt is fair.",
        "parameters": {
            "type": "object",
            "properties": {
                "sides": {"type": "integer", "description": "How many sides: at least two, at most a hundred."},
                "times": {"type": "integer", "description": "How often."},
                "names": {"type": "array", "items": {"type": "string"}},
                "how": {"enum": ["a", "b"], "type": "string"},
            },
            "required": ["sides"],
        },
    }


async def test_an_upsert_replaces_the_tool_of_that_name(letta: Any) -> None:
    first = await letta.tools.upsert(source_code=SOURCE)
    second = await letta.tools.upsert(source_code=SOURCE, description="Rolls.", tags=["x"])
    assert first.id == second.id
    assert (await letta.tools.retrieve(first.id)).description == "Rolls."
    assert [t.id async for t in letta.tools.list(name="roll")] == [first.id]
    assert {t.name async for t in letta.tools.list(limit=2)} == {
        "roll",
        "memory_insert",
        "memory_replace",
        "archival_memory_insert",
        "archival_memory_search",
        "conversation_search",
    }
    await letta.tools.delete(first.id)
    with pytest.raises(NotFoundError):
        await letta.tools.retrieve(first.id)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:", "not Python"),
        ("x = 1", "no public function"),
        ("def f(x: int) -> str:\n    return ''", "docstring"),
        ('def f(x) -> str:\n    """F."""', "type hint"),
        ('def f(*x: int) -> str:\n    """F."""', "named arguments"),
    ],
)
async def test_source_that_cannot_be_a_tool_is_refused_with_the_reason(letta: Any, source: str, said: str) -> None:
    with pytest.raises(BadRequestError, match=said):
        await letta.tools.upsert(source_code=source)


async def test_a_given_schema_is_kept_and_must_name_a_function_of_the_source(letta: Any) -> None:
    schema = {"name": "roll", "description": "d", "parameters": {"type": "object", "properties": {}}}
    tool: Any = await letta.tools.upsert(source_code=SOURCE, json_schema=schema)
    assert tool.json_schema == schema
    with pytest.raises(BadRequestError, match="other"):
        await letta.tools.upsert(source_code=SOURCE, json_schema=schema | {"name": "other"})
    with pytest.raises(ConflictError, match="memory_insert"):
        await letta.tools.upsert(source_code=SOURCE.replace("def roll", "def memory_insert"))


async def test_an_attached_tool_is_run_by_the_given_runner(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    tool = await letta.tools.upsert(source_code=SOURCE)
    await letta.agents.tools.attach(tool.id, agent_id=agent.id)
    assert "roll" in [t.name async for t in letta.agents.tools.list(agent.id)]
    reply = await say(letta, agent.id, 'call roll {"sides": 6}')
    assert reply.messages[-1].content == f"tools said: roll of {len(SOURCE)} with {{'sides': 6}}"
    reply = await say(letta, agent.id, 'call roll {"sides": 0}')
    assert (reply.messages[1].status, reply.messages[1].tool_return) == ("error", "a die needs sides")
    await letta.agents.tools.detach(tool.id, agent_id=agent.id)
    await say(letta, agent.id, "hi")
    assert "roll" not in [t.name for t in chat.tools]


async def test_a_long_return_is_cut_at_the_tools_limit(letta: Any, agent: Any) -> None:
    tool = await letta.tools.upsert(source_code=SOURCE, return_char_limit=5)
    await letta.agents.tools.attach(tool.id, agent_id=agent.id)
    reply = await say(letta, agent.id, 'call roll {"sides": 6}')
    assert reply.messages[1].tool_return == "roll "


async def test_without_a_runner_source_is_refused_and_says_what_to_do(database: Path, tmp_path: Path) -> None:
    async with open_letta(tmp_path / "other.db", Source()) as letta:
        with pytest.raises(PermissionDeniedError, match="client_tools"):
            await letta.tools.upsert(source_code=SOURCE)


async def test_a_tool_uploaded_earlier_does_not_run_without_a_runner(database: Path, chat: ScriptedChat) -> None:
    async with open_letta(database, Source(chat), run_tool=run) as letta:
        tool = await letta.tools.upsert(source_code=SOURCE)
        agent = await letta.agents.create(name="a", tool_ids=[tool.id])
    async with open_letta(database, Source(chat)) as letta:
        reply = await say(letta, agent.id, 'call roll {"sides": 6}')
    assert "runs no tool source" in reply.messages[-1].content
