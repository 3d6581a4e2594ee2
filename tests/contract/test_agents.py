"""Agents on both Lettas: made, found, changed and deleted, and what is said of what is not there."""

from __future__ import annotations

from uuid import uuid4

import pytest
from letta_client import APIStatusError, BadRequestError, NotFoundError

from atlas_mcp.errors import LettaLost, UnknownModel
from atlas_mcp.letta.states import AgentChange, NewAgent, NewBlock
from tests.contract.conftest import House

pytestmark = pytest.mark.anyio

NO_AGENT = "agent-00000000-0000-4000-8000-000000000000"
NO_BLOCK = "block-00000000-0000-4000-8000-000000000000"


def spec(house: House, **more: object) -> NewAgent:
    blocks = (NewBlock("persona", "I am Ada.", 200, "Who I am."), NewBlock("human", "", 100, "Whom I serve."))
    fields = {"name": "ada", "description": "A test.", "model": house.model, "system": "Be kind.", "blocks": blocks}
    return NewAgent(**{**fields, "tags": ("one", "two"), **more})  # type: ignore[arg-type]


async def test_the_version_is_told(house: House) -> None:
    assert (await house.door.health()).startswith("0.16.8")


async def test_an_agent_is_read_back_as_it_was_made_with_its_blocks_tags_and_tools(house: House) -> None:
    made = await house.door.create_agent(spec(house, tools=("archival_memory_search", "conversation_search")))
    read = await house.door.agent(made.id)
    assert read == made
    assert (read.name, read.description, read.system, read.model) == ("ada", "A test.", "Be kind.", house.model)
    assert [(b.label, b.value, b.limit, b.description) for b in sorted(read.blocks, key=lambda b: b.label)] == [
        ("human", "", 100, "Whom I serve."),
        ("persona", "I am Ada.", 200, "Who I am."),
    ]
    assert sorted(read.tags) == ["one", "two"]
    assert sorted(t.name for t in read.tools) == ["archival_memory_search", "conversation_search"]


async def test_agents_are_found_by_all_of_their_tags_oldest_first_and_whole(house: House) -> None:
    mark = f"mark-{uuid4()}"
    first = await house.door.create_agent(spec(house, tags=(mark, "a")))
    await house.door.create_agent(spec(house, tags=(mark,)))
    third = await house.door.create_agent(spec(house, tags=("a", mark)))
    assert await house.door.find_agents([mark, "a"]) == [first, third]


async def test_more_agents_than_a_page_holds_are_all_listed_once(house: House) -> None:
    mark = f"mark-{uuid4()}"
    made = [(await house.agent(tags=[mark])).id for _ in range(5)]
    listed = [a.id async for a in house.client.agents.list(tags=[mark], limit=2, order="asc")]
    assert listed == made


async def test_an_agent_is_changed_in_what_is_given_only(house: House) -> None:
    made = await house.door.create_agent(spec(house))
    changed = await house.door.update_agent(made.id, AgentChange(system="Be brief."))
    assert (changed.system, changed.description, changed.model) == ("Be brief.", "A test.", house.model)
    assert await house.door.agent(made.id) == changed
    assert len(changed.blocks) == 2


async def test_a_deleted_agent_is_lost_and_deleting_it_again_is_harmless(house: House) -> None:
    made = await house.door.create_agent(spec(house))
    await house.door.delete_agent(made.id)
    await house.door.delete_agent(made.id)
    with pytest.raises(LettaLost):
        await house.door.agent(made.id)
    with pytest.raises(LettaLost):
        await house.door.open_conversation(made.id)


async def test_an_agent_with_a_shared_block_that_is_gone_is_refused_and_not_left_half_made(house: House) -> None:
    mark = f"mark-{uuid4()}"
    with pytest.raises(LettaLost):
        await house.door.create_agent(spec(house, shared=(NO_BLOCK,), tags=(mark,)))
    assert await house.door.find_agents([mark]) == []


@pytest.mark.parametrize("handle", ["openai/gpt-nobody", "without-provider"])
async def test_an_unknown_model_gives_the_handles_that_there_are(house: House, handle: str) -> None:
    with pytest.raises(UnknownModel) as refused:
        await house.door.create_agent(spec(house, model=handle))
    assert house.model in str(refused.value)
    assert refused.value.argument == ("LETTA_MODEL" if house.real else "ATLAS_MODEL")
    made = await house.door.create_agent(spec(house))
    with pytest.raises(UnknownModel, match=house.model):
        await house.door.update_agent(made.id, AgentChange(model=handle))


async def test_the_models_of_the_server_are_listed_by_handle(house: House) -> None:
    assert house.model in [m.handle for m in await house.client.models.list()]
    assert (house.embedding in [m.handle for m in await house.client.models.embeddings.list()]) == house.real


async def test_what_is_not_there_is_a_404_and_what_is_no_id_is_refused(house: House) -> None:
    with pytest.raises(NotFoundError):
        await house.client.agents.retrieve(NO_AGENT)
    with pytest.raises(NotFoundError):
        await house.client.conversations.create(agent_id=NO_AGENT)
    with pytest.raises(NotFoundError):
        await house.client.runs.retrieve("run-00000000-0000-4000-8000-000000000000")
    with pytest.raises(APIStatusError) as refused:
        await house.client.agents.retrieve("nonsense")
    assert refused.value.status_code == (422 if house.real else 404)


async def test_a_refusal_tells_nothing_of_the_servers_innards(house: House) -> None:
    with pytest.raises(LettaLost) as lost:
        await house.door.send(
            "conv-00000000-0000-4000-8000-000000000000", "hi", otid="t", run_tool=_no_tool, on_run=_no_run
        )
    assert "actor" not in str(lost.value)
    assert "conv-00000000" in str(lost.value)


async def test_on_purpose_a_server_leaves_blocks_out_unless_asked_and_the_embedded_never(
    house: House,
) -> None:
    agent = await house.agent()
    assert len(agent.blocks) == 1
    assert len((await house.client.agents.retrieve(agent.id)).blocks) == (0 if house.real else 1)


async def test_on_purpose_an_unknown_tool_is_a_400_of_the_server_and_a_404_of_the_embedded(house: House) -> None:
    with pytest.raises(BadRequestError if house.real else NotFoundError):
        await house.agent(tools=["no_such_tool"])


async def _no_tool(name: str, arguments: object) -> str:
    raise AssertionError(name)


async def _no_run(run_id: str) -> None:
    return
