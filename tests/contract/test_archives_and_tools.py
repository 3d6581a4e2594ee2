"""Archives, tools and runs on both Lettas: what an agent keeps beside its core memory, and what it can do."""

from __future__ import annotations

import inspect
from typing import Any
from uuid import uuid4

import pytest
from letta_client import APIStatusError, NotFoundError

from atlas_mcp.embedded import create_app
from atlas_mcp.letta.states import NewTool
from atlas_mcp.model.turn import ToolSpec
from tests.contract.conftest import House, said

pytestmark = pytest.mark.anyio

SOURCE = '''def plus(first: int, second: int) -> str:
    """Adds two numbers.

    Args:
        first (int): A number.
        second (int): Another.
    """
    return str(first + second)
'''


def plus(name: str) -> NewTool:
    """A pure tool under a name of its own, as ATLAS puts it there."""
    numbers = {"first": {"type": "integer"}, "second": {"type": "integer"}}
    parameters = {"type": "object", "properties": numbers, "required": ["first", "second"]}
    spec = ToolSpec(name=name, description="Adds two numbers.", parameters=parameters)
    return NewTool(spec=spec, source=SOURCE.replace("plus", name), mark=f"mark-{name}")


async def test_passages_are_added_found_listed_and_deleted(house: House) -> None:
    agent = await house.agent()
    passages: Any = house.client.agents.passages
    (sky,) = await passages.create(agent.id, text="the sky is blue", tags=["seen"])
    (grass,) = await passages.create(agent.id, text="grass is green", created_at="2020-01-01T00:00:00Z")
    found = await passages.search(agent.id, query="blue sky", top_k=1)
    assert [(hit.id, hit.content) for hit in found.results] == [(sky.id, "the sky is blue")]
    assert [hit.id for hit in (await passages.search(agent.id, query="is", tags=["seen"])).results] == [sky.id]
    listed: Any = await passages.list(agent.id)
    assert sorted(p.text for p in getattr(listed, "items", listed)) == ["grass is green", "the sky is blue"]
    assert grass.created_at
    assert grass.created_at.year == 2020
    await passages.delete(grass.id, agent_id=agent.id)
    with pytest.raises(NotFoundError):
        await passages.delete(grass.id, agent_id=agent.id)


async def test_one_agents_archive_is_not_anothers(house: House) -> None:
    ada, bob = await house.agent(), await house.agent(name="bob")
    await house.client.agents.passages.create(ada.id, text="a secret of Ada's")
    assert (await house.client.agents.passages.search(bob.id, query="secret")).results == []


async def test_the_agents_own_archival_tools_write_and_search_its_archive(house: House) -> None:
    agent = await house.agent(tools=["archival_memory_insert", "archival_memory_search"])
    thread = await house.thread(agent)
    house.scripted.script([{"tool": "archival_memory_insert", "args": {"content": "Ada sailed to Malta."}}, "kept"])
    assert said(await house.send(thread, "keep it")) == "kept"
    found = await house.client.agents.passages.search(agent.id, query="Malta")
    assert [hit.content for hit in found.results] == ["Ada sailed to Malta."]
    house.scripted.script([{"tool": "archival_memory_search", "args": {"query": "Malta"}}, "found"])
    assert said(await house.send(thread, "where to?")) == "found"
    assert "Ada sailed to Malta." in str(house.scripted.last["messages"][-1])


async def test_the_agent_searches_what_was_said_before(house: House) -> None:
    agent = await house.agent(tools=["conversation_search"])
    thread = await house.thread(agent)
    await house.send(thread, "the word is juniper")
    house.scripted.script([{"tool": "conversation_search", "args": {"query": "juniper"}}, "found"])
    assert said(await house.send(thread, "which word?")) == "found"
    assert "juniper" in str(house.scripted.last["messages"][-1]["content"])


async def test_an_unknown_tool_of_the_model_is_no_end_of_the_turn(house: House) -> None:
    house.scripted.script([{"tool": "no_such_tool", "args": {}}, "then without"])
    thread = await house.thread(await house.agent(tools=["conversation_search"]))
    assert said(await house.send(thread, "go")) == "then without"


async def test_a_server_takes_a_tool_s_source_once_gives_it_to_agents_and_runs_it(house: House) -> None:
    if not house.real:
        return await _embedded_takes_none(house)
    agent, tool = await house.agent(), plus(f"plus_{uuid4().hex[:8]}")
    await house.door.tools.attach(agent.id, tool)
    await house.door.tools.attach(agent.id, tool)
    (given,) = (await house.door.agent(agent.id)).tools
    assert (given.name, given.ours) == (tool.spec.name, True)
    house.scripted.script([{"tool": tool.spec.name, "args": {"first": 20, "second": 22}}, "done"])
    assert said(await house.send(await house.thread(agent), "add")) == "done"
    assert "42" in str(house.scripted.last["messages"][-1]["content"])
    await house.door.tools.detach(agent.id, given.id)
    assert (await house.door.agent(agent.id)).tools == ()
    return None


async def _embedded_takes_none(house: House) -> None:
    """On purpose: it runs tools of others only where it was given something to run them in."""
    assert inspect.signature(create_app).parameters["run_tool"].default is None
    tool = plus("plus")
    assert await house.door.tools.register(tool) is None
    assert house.door.tools.refuses(tool)


async def test_source_that_is_no_python_is_refused(house: House) -> None:
    with pytest.raises(APIStatusError) as refused:
        await house.client.tools.upsert(source_code="def (")
    assert refused.value.status_code == (400 if house.real else 403)
