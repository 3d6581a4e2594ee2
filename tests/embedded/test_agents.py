from __future__ import annotations

from typing import Any

import pytest
from letta_client import ConflictError, NotFoundError, UnprocessableEntityError

pytestmark = pytest.mark.anyio


async def test_health_and_models_answer(letta: Any) -> None:
    assert (await letta.health()).status == "ok"
    assert [model.handle for model in await letta.models.list()] == ["test/scripted", "test/other"]
    assert await letta.models.embeddings.list() == []


async def test_an_agent_is_created_with_its_blocks_tools_and_tags(letta: Any) -> None:
    shared = await letta.blocks.create(label="team", value="us")
    created = await letta.agents.create(
        name="ada",
        model="test/other",
        system="Be brief.",
        description="a tester",
        memory_blocks=[{"label": "persona", "value": "I am Ada."}],
        block_ids=[shared.id],
        tags=["b", "a"],
        metadata={"k": 1},
    )
    agent = await letta.agents.retrieve(created.id)
    assert (agent.name, agent.system, agent.description, agent.metadata) == ("ada", "Be brief.", "a tester", {"k": 1})
    assert agent.llm_config.handle == "test/other"
    assert sorted(agent.tags) == ["a", "b"]
    assert [block.label for block in agent.memory.blocks] == ["persona", "team"]
    assert {tool.name for tool in agent.tools} >= {"memory_insert", "memory_replace", "conversation_search"}


async def test_base_tools_can_be_left_out_and_named_again(letta: Any) -> None:
    bare = await letta.agents.create(name="bare", model="test/scripted", include_base_tools=False)
    assert bare.tools == []
    named = await letta.agents.create(
        name="named", model="test/scripted", include_base_tools=False, tools=["memory_insert"]
    )
    assert [tool.name for tool in named.tools] == ["memory_insert"]


async def test_an_unknown_model_is_refused_with_the_handles_there_are(letta: Any) -> None:
    with pytest.raises(NotFoundError, match="test/scripted"):
        await letta.agents.create(name="x", model="nope/nope")
    agent = await letta.agents.create(name="x")
    assert agent.llm_config.handle == "test/scripted"
    with pytest.raises(NotFoundError, match=r"must be one of \['test/scripted', 'test/other'\]"):
        await letta.agents.update(agent.id, model="nope/nope")


async def test_names_may_repeat_and_tags_select(letta: Any) -> None:
    first = await letta.agents.create(name="same", model="test/scripted", tags=["x", "y"])
    second = await letta.agents.create(name="same", model="test/scripted", tags=["x"])

    async def ids(**query: Any) -> set[str]:
        return {agent.id async for agent in letta.agents.list(**query)}

    assert await ids(name="same") == {first.id, second.id}
    assert await ids(tags=["y", "z"]) == {first.id}
    assert await ids(tags=["x", "y"]) == {first.id, second.id}
    assert await ids(tags=["x", "y"], match_all_tags=True) == {first.id}
    assert await ids(name="other") == set()


async def test_paging_through_agents_visits_each_once_and_ends(letta: Any) -> None:
    made = [(await letta.agents.create(name=f"a{i}", model="test/scripted")).id for i in range(7)]
    assert [agent.id async for agent in letta.agents.list(limit=2)] == made[::-1]
    assert [agent.id async for agent in letta.agents.list(limit=3, order="asc")] == made


async def test_an_update_changes_what_it_names_and_nothing_else(letta: Any) -> None:
    block = await letta.blocks.create(label="new", value="v")
    agent = await letta.agents.create(
        name="a", model="test/scripted", system="s", memory_blocks=[{"label": "old", "value": "o"}], tags=["t"]
    )
    changed = await letta.agents.update(agent.id, name="b", metadata={"n": 2})
    assert (changed.name, changed.system, changed.tags, changed.metadata) == ("b", "s", ["t"], {"n": 2})
    changed = await letta.agents.update(
        agent.id, system="s2", description="d", tags=["u"], block_ids=[block.id], tool_ids=[], model="test/other"
    )
    assert (changed.system, changed.description, changed.tags) == ("s2", "d", ["u"])
    assert [b.label for b in changed.blocks] == ["new"]
    assert changed.tools == []
    assert changed.llm_config.handle == "test/other"


async def test_a_deleted_agent_is_gone_with_its_messages_but_its_blocks_stay(letta: Any, agent: Any) -> None:
    await letta.agents.messages.create(agent.id, messages=[{"role": "user", "content": "hi"}])
    conversation = await letta.conversations.create(agent_id=agent.id)
    await letta.agents.delete(agent.id)
    with pytest.raises(NotFoundError, match=agent.id):
        await letta.agents.retrieve(agent.id)
    with pytest.raises(NotFoundError):
        await letta.agents.delete(agent.id)
    with pytest.raises(NotFoundError):
        await letta.conversations.retrieve(conversation.id)
    assert {block.label async for block in letta.blocks.list()} == {"persona", "human"}


async def test_two_blocks_of_one_label_leave_no_half_made_agent(letta: Any) -> None:
    twice = [{"label": "same", "value": "1"}, {"label": "same", "value": "2"}]
    with pytest.raises(ConflictError, match="same"):
        await letta.agents.create(name="x", model="test/scripted", memory_blocks=twice)
    assert [a async for a in letta.agents.list()] == []
    assert [b async for b in letta.blocks.list()] == []


async def test_a_body_that_makes_no_sense_names_the_field(letta: Any) -> None:
    with pytest.raises(UnprocessableEntityError, match="memory_blocks"):
        await letta.agents.create(name="x", model="test/scripted", memory_blocks=[{"value": "no label"}])  # type: ignore[list-item]
