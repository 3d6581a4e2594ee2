from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from letta_client import BadRequestError, ConflictError, NotFoundError

pytestmark = pytest.mark.anyio


async def test_a_block_lives_from_create_to_delete(letta: Any) -> None:
    block = await letta.blocks.create(
        label="notes", value="one", limit=50, description="d", metadata={"k": 1}, tags=["t"]
    )
    assert (block.value, block.limit, block.description, block.metadata, block.tags) == (
        "one",
        50,
        "d",
        {"k": 1},
        ["t"],
    )
    assert (await letta.blocks.update(block.id, value="two", label="renamed")).label == "renamed"
    assert (await letta.blocks.retrieve(block.id)).value == "two"
    assert [b.id async for b in letta.blocks.list(label="renamed")] == [block.id]
    assert [b.id async for b in letta.blocks.list(tags=["t"])] == [block.id]
    assert [b.id async for b in letta.blocks.list(label="notes")] == []
    await letta.blocks.delete(block.id)
    with pytest.raises(NotFoundError, match=block.id):
        await letta.blocks.retrieve(block.id)


@pytest.mark.parametrize("door", ["create", "update", "by label", "in an agent", "smaller limit"])
async def test_a_value_over_its_limit_is_refused_and_says_both_lengths(letta: Any, agent: Any, door: str) -> None:
    long: Any = {"label": "c", "value": "x" * 50, "limit": 40}
    block = await letta.blocks.create(label="b", value="ok", limit=40)
    wide = await letta.blocks.create(label="w", value="x" * 50)
    doors: dict[str, Callable[[], Awaitable[Any]]] = {
        "create": lambda: letta.blocks.create(**long),
        "update": lambda: letta.blocks.update(block.id, value="x" * 50),
        "by label": lambda: letta.agents.blocks.update("human", agent_id=agent.id, value="x" * 50),
        "in an agent": lambda: letta.agents.create(name="x", memory_blocks=[long]),
        "smaller limit": lambda: letta.blocks.update(wide.id, limit=40),
    }
    with pytest.raises(BadRequestError, match=r"50 characters.*40 characters"):
        await doors[door]()
    assert (await letta.blocks.retrieve(block.id)).value == "ok"


async def test_a_shared_block_is_one_value_for_all_its_agents(letta: Any, agent: Any) -> None:
    other = await letta.agents.create(name="bob", model="test/scripted")
    shared = await letta.blocks.create(label="team", value="v1")
    for each in (agent, other):
        await letta.agents.blocks.attach(shared.id, agent_id=each.id)
    await letta.agents.blocks.attach(shared.id, agent_id=other.id)  # twice is fine
    await letta.agents.blocks.update("team", agent_id=agent.id, value="v2")
    assert (await letta.agents.blocks.retrieve("team", agent_id=other.id)).value == "v2"
    assert {a.id async for a in letta.blocks.agents.list(shared.id)} == {agent.id, other.id}
    await letta.agents.blocks.detach(shared.id, agent_id=other.id)
    assert [b.label async for b in letta.agents.blocks.list(other.id)] == []
    with pytest.raises(NotFoundError, match="team"):
        await letta.agents.blocks.retrieve("team", agent_id=other.id)


async def test_an_agent_has_at_most_one_block_of_a_label(letta: Any, agent: Any) -> None:
    second = await letta.blocks.create(label="persona", value="another")
    with pytest.raises(ConflictError, match="persona"):
        await letta.agents.blocks.attach(second.id, agent_id=agent.id)
    human = await letta.agents.blocks.retrieve("human", agent_id=agent.id)
    with pytest.raises(ConflictError, match="persona"):
        await letta.blocks.update(human.id, label="persona")


async def test_a_change_made_from_an_old_version_is_a_conflict(letta: Any) -> None:
    block: Any = await letta.blocks.create(label="b", value="1")
    version = {"If-Match": str(block.version)}
    changed: Any = await letta.blocks.update(block.id, value="2", extra_headers=version)
    with pytest.raises(ConflictError, match="version"):
        await letta.blocks.update(block.id, value="3", extra_headers=version)
    await letta.blocks.update(block.id, value="4", extra_headers={"If-Match": f'"{changed.version}"'})
    assert (await letta.blocks.retrieve(block.id)).value == "4"


async def test_read_only_binds_the_agents_tools_but_not_its_owner(letta: Any, agent: Any) -> None:
    human = await letta.agents.blocks.retrieve("human", agent_id=agent.id)
    await letta.blocks.update(human.id, read_only=True)
    text = 'call memory_insert {"label": "human", "new_string": "x"}'
    reply = await letta.agents.messages.create(agent.id, messages=[{"role": "user", "content": text}])
    assert "read-only" in reply.messages[-1].content
    assert (await letta.agents.blocks.update("human", agent_id=agent.id, value="by hand")).value == "by hand"


async def test_paging_through_blocks_ends_on_both_paths(letta: Any) -> None:
    made = [(await letta.blocks.create(label=f"b{i}", value="")).id for i in range(5)]
    assert [b.id async for b in letta.blocks.list(limit=2)] == made
    agent = await letta.agents.create(name="a", model="test/scripted", block_ids=made)
    assert [b.id async for b in letta.agents.blocks.list(agent.id, limit=2)] == made
