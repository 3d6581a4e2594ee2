"""Core memory on both Lettas: blocks of an agent's own, shared ones, their limits, and two who write at once."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from letta_client import ConflictError

from atlas_mcp.errors import LettaLost, LettaUnavailable, OverLimit
from atlas_mcp.letta.states import NewBlock
from tests.contract.conftest import House, said
from tests.scripted_model import system_text

pytestmark = pytest.mark.anyio


def shared(value: str = "one", limit: int = 40) -> NewBlock:
    return NewBlock("shared", value, limit, "What all know.")


async def test_a_block_is_read_back_as_it_was_made_and_changed(house: House) -> None:
    made = await house.door.create_block(shared(), tags=["mine"])
    assert (made.label, made.value, made.limit, made.description) == ("shared", "one", 40, "What all know.")
    changed = await house.door.set_block(made.id, "two")
    assert (changed.value, changed.limit) == ("two", 40)
    assert (await house.door.set_block(made.id, "")).value == ""
    reshaped = await house.door.reshape_block(made.id, limit=80, description="Else.", read_only=True)
    assert (reshaped.limit, reshaped.description, reshaped.value, reshaped.read_only) == (80, "Else.", "", True)
    assert await house.door.block(made.id) == reshaped


async def test_a_shared_block_is_one_for_all_who_carry_it(house: House) -> None:
    ada, bob = await house.agent(), await house.agent(name="bob")
    block = await house.door.create_block(shared())
    for agent in (ada, bob, ada):  # twice is harmless
        await house.door.attach_block(agent.id, block.id)
    await house.door.set_block(block.id, "for both")
    for agent in (ada, bob):
        assert {b.label: b.value for b in await house.door.blocks(agent.id)}["shared"] == "for both"
    carriers = [a.id async for a in house.client.blocks.agents.list(block.id)]
    assert sorted(carriers) == sorted([ada.id, bob.id])
    await house.door.detach_block(ada.id, block.id)
    assert [b.label for b in await house.door.blocks(ada.id)] == ["human"]
    assert (await house.door.block(block.id)).value == "for both"


async def test_a_block_is_reached_by_its_label_at_its_agent(house: House) -> None:
    agent = await house.agent()
    read = await house.client.agents.blocks.retrieve("human", agent_id=agent.id)
    assert read.value == "likes tea"
    await house.client.agents.blocks.update("human", agent_id=agent.id, value="likes milk")
    (block,) = await house.door.blocks(agent.id)
    assert (block.id, block.value) == (read.id, "likes milk")


async def test_a_second_block_of_the_same_label_is_refused(house: House) -> None:
    agent = await house.agent()
    block = await house.door.create_block(NewBlock("human", "other", 40))
    with pytest.raises(LettaUnavailable, match="409") as refused:
        await house.door.attach_block(agent.id, block.id)
    assert "SQL" not in str(refused.value)
    assert [b.value for b in await house.door.blocks(agent.id)] == ["likes tea"]


async def test_a_block_that_is_gone_is_lost(house: House) -> None:
    agent = await house.agent()
    block = await house.door.create_block(shared())
    await house.client.blocks.delete(block.id)
    with pytest.raises(LettaLost):
        await house.door.block(block.id)
    with pytest.raises(LettaLost):
        await house.door.set_block(block.id, "x")
    with pytest.raises(LettaLost):
        await house.door.attach_block(agent.id, block.id)
    with pytest.raises(LettaLost):
        await house.door.detach_block(agent.id, block.id)


async def test_of_many_who_write_at_once_each_is_done_or_refused_with_409(house: House) -> None:
    block = await house.door.create_block(shared())
    outcomes: list[Any] = []

    async def write(number: int) -> None:
        try:
            outcomes.append((await house.client.blocks.update(block.id, value=str(number))).value)
        except ConflictError as error:
            outcomes.append(json.dumps(error.body))

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(write, number)
    done = [o for o in outcomes if o.isdigit()]
    assert len(outcomes) == 8
    assert (await house.door.block(block.id)).value in done
    assert all("CONFLICT" in o for o in outcomes if o not in done)


async def test_the_agents_own_memory_tool_changes_the_block(house: House) -> None:
    agent = await house.agent(tools=["memory_insert"])
    thread = await house.thread(agent)
    insert = {"tool": "memory_insert", "args": {"label": "human", "new_string": "has a cat"}}
    house.scripted.script([insert, "noted"])
    assert said(await house.send(thread, "I have a cat")) == "noted"
    assert [b.value for b in await house.door.blocks(agent.id)] == ["likes tea\nhas a cat"]


async def test_a_new_thread_sees_the_agents_present_memory_and_system_text(house: House) -> None:
    agent = await house.agent()
    await house.client.agents.update(agent.id, system="You are Eve.")
    await house.door.set_block(agent.blocks[0].id, "likes milk")
    await house.send(await house.thread(agent), "hello")
    told = system_text(house.scripted.last)
    assert "likes milk" in told
    assert "You are Eve." in told


async def test_an_old_thread_sees_memory_changed_since_once_it_is_recompiled(house: House) -> None:
    agent = await house.agent()
    thread = await house.thread(agent)
    await house.send(thread, "hello")
    await house.door.set_block(agent.blocks[0].id, "likes milk")
    await house.door.recompile(thread)
    await house.send(thread, "and now?")
    assert "likes milk" in system_text(house.scripted.last)
    assert len(await house.listed(thread)) == 4  # nothing of the thread was lost


async def test_on_purpose_a_servers_thread_keeps_the_memory_of_its_opening_and_the_embedded_reads_it_anew(
    house: House,
) -> None:
    agent = await house.agent()
    thread = await house.thread(agent)
    await house.send(thread, "hello")
    await house.door.set_block(agent.blocks[0].id, "likes milk")
    await house.send(thread, "and now?")
    assert ("likes tea" if house.real else "likes milk") in system_text(house.scripted.last)


async def test_on_purpose_the_embedded_enforces_limits_and_the_server_does_not(house: House) -> None:
    block = await house.door.create_block(shared(limit=10))
    if house.real:
        assert len((await house.door.set_block(block.id, "x" * 50)).value) == 50
        return
    with pytest.raises(OverLimit) as refused:
        await house.door.set_block(block.id, "x" * 50)
    assert "10" in str(refused.value)
    assert (await house.door.block(block.id)).value == "one"
