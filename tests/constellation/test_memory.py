"""Core memory: changes that lose nothing, and who made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.constellation.names import tags
from atlas_mcp.errors import InvalidInput, OverLimit, StaleRevision, UnknownAgent, UnknownBlock
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.memory import Replacement

if TYPE_CHECKING:
    from tests.constellation.conftest import World

pytestmark = pytest.mark.anyio
ME = Caller(id="local:me")


async def test_a_block_is_set_added_to_and_corrected(world: World) -> None:
    me = world.of()
    first = await me.update_memory("librarian", "human", value="name: Ada")
    assert (first.value, first.revision, first.author, first.chars, first.limit) == ("name: Ada", 2, "caller", 9, 2000)
    second = await me.update_memory("librarian", "human", append="likes tea")
    assert second.value == "name: Ada\nlikes tea"
    third = await me.update_memory("librarian", "human", replace=Replacement(old="tea", new="coffee"))
    assert (third.value, third.revision) == ("name: Ada\nlikes coffee", 4)
    assert (await me.get_memory("librarian", "human")) == [third]


async def test_appending_to_an_empty_block_adds_no_empty_line(world: World) -> None:
    assert (await world.of().update_memory("librarian", "human", append="first")).value == "first"


async def test_a_change_that_changes_nothing_is_no_revision(world: World) -> None:
    await world.of().update_memory("librarian", "human", value="x")
    assert (await world.of().update_memory("librarian", "human", value="x")).revision == 2


async def test_a_shared_block_names_the_others_and_changes_for_all(world: World) -> None:
    me = world.of()
    await me.update_memory("librarian", "team_notes", value="hello all")
    (block,) = await me.get_memory("strategist", "team_notes")
    assert block.value == "hello all"
    assert "librarian" in block.shared_with
    assert "strategist" not in block.shared_with
    assert len(block.shared_with) == 18
    assert (await me.get_memory("strategist", "persona"))[0].shared_with == []


async def test_twenty_additions_at_once_lose_nothing(world: World) -> None:
    me = world.of()
    agents = ["librarian", "strategist"]
    async with anyio.create_task_group() as tasks:
        for n in range(20):

            async def add(n: int = n) -> None:
                await me.update_memory(agents[n % 2], "team_notes", append=f"line {n}")

            tasks.start_soon(add)
    (block,) = await me.get_memory("librarian", "team_notes")
    assert sorted(block.value.splitlines()) == sorted(f"line {n}" for n in range(20))
    assert block.revision == 21


async def test_a_stale_revision_is_refused_and_says_which_it_is(world: World) -> None:
    me = world.of()
    (read,) = await me.get_memory("librarian", "human")
    await me.update_memory("librarian", "human", value="newer")
    with pytest.raises(StaleRevision, match="at revision 2, not 1") as caught:
        await me.update_memory("librarian", "human", value="mine", expected_revision=read.revision)
    assert caught.value.actual == 2
    assert (await me.get_memory("librarian", "human"))[0].value == "newer"
    assert (await me.update_memory("librarian", "human", value="mine", expected_revision=2)).revision == 3


async def test_a_value_over_the_limit_is_refused_with_both_lengths(world: World) -> None:
    me = world.of()
    with pytest.raises(OverLimit, match="201 characters is too long: the limit is 200") as caught:
        await me.update_memory("librarian", "current_state", value="x" * 201)
    assert (caught.value.length, caught.value.limit) == (201, 200)
    await me.update_memory("librarian", "current_state", value="x" * 200)
    with pytest.raises(OverLimit, match="202"):
        await me.update_memory("librarian", "current_state", append="y")
    assert (await me.get_memory("librarian", "current_state"))[0].revision == 2


async def test_what_is_to_be_replaced_must_occur_exactly_once(world: World) -> None:
    me = world.of()
    await me.update_memory("librarian", "human", value="tea and tea")
    with pytest.raises(InvalidInput, match="occurs 2 times"):
        await me.update_memory("librarian", "human", replace=Replacement(old="tea", new="coffee"))
    with pytest.raises(InvalidInput, match="does not occur"):
        await me.update_memory("librarian", "human", replace=Replacement(old="milk", new="coffee"))


async def test_exactly_one_change_must_be_given(world: World) -> None:
    with pytest.raises(InvalidInput, match="not value and append"):
        await world.of().update_memory("librarian", "human", value="a", append="b")
    with pytest.raises(InvalidInput, match="not none"):
        await world.of().update_memory("librarian", "human")


async def test_an_unknown_block_or_agent_is_answered_with_those_there_are(world: World) -> None:
    with pytest.raises(UnknownBlock, match=r"Did you mean 'human'.*persona, human, current_state"):
        await world.of().update_memory("librarian", "humann", value="x")
    with pytest.raises(UnknownBlock):
        await world.of().get_memory("librarian", "diary")
    with pytest.raises(UnknownAgent):
        await world.of().get_memory("nobody")
    assert world.wire.requests == []


async def test_what_an_agent_changes_by_its_own_tool_is_a_revision_of_its_own(world: World) -> None:
    me = world.of()
    asked = '@tool memory_insert {"label": "human", "new_string": "likes tea"}'
    turn = await me.take_turn("librarian", asked, conversation=None, key="k")
    (change,) = turn.memory_changes
    assert (change.agent, change.label, change.author) == ("librarian", "human", "agent:librarian")
    assert (change.operation, change.revision, change.before) == ("append", 2, "")
    assert "likes tea" in change.after
    (block,) = await me.get_memory("librarian", "human")
    assert (block.author, block.revision) == ("agent:librarian", 2)
    assert "likes tea" in block.value


async def test_agents_that_write_into_a_shared_block_at_once_are_both_recorded(world: World) -> None:
    me = world.of()
    changes: dict[str, list[str]] = {}

    async def note(agent: str) -> None:
        asked = f'@tool memory_insert {{"label": "team_notes", "new_string": "by {agent}"}}'
        turn = await me.take_turn(agent, asked, conversation=None, key=agent)
        changes[agent] = [c.author for c in turn.memory_changes]

    async with anyio.create_task_group() as tasks:
        for agent in ("librarian", "strategist", "data_scientist"):
            tasks.start_soon(note, agent)
    assert changes == {a: [f"agent:{a}"] for a in ("librarian", "strategist", "data_scientist")}
    (block,) = await me.get_memory("librarian", "team_notes")
    for agent in changes:
        assert f"by {agent}" in block.value
    assert block.author.startswith("agent:")


async def test_a_turn_that_only_talks_changes_no_memory(world: World) -> None:
    turn = await world.of().take_turn("librarian", "hello", conversation=None, key="k")
    assert turn.memory_changes == []
    assert {b.revision for b in await world.of().get_memory("librarian")} == {1}


async def test_a_value_changed_elsewhere_is_recorded_before_anything_is_done_to_it(world: World) -> None:
    me = world.of()
    await me.get_memory("librarian")
    (agent,) = await world.letta.find_agents(tags(ME, "librarian"))
    human = next(b for b in agent.blocks if b.label == "human")
    await world.letta.set_block(human.id, "by somebody else")
    with pytest.raises(StaleRevision):
        await me.update_memory("librarian", "human", value="mine", expected_revision=1)
    (block,) = await me.get_memory("librarian", "human")
    assert (block.value, block.author, block.revision) == ("by somebody else", "elsewhere", 2)
    assert (await me.update_memory("librarian", "human", value="mine")).revision == 3


async def test_what_changed_elsewhere_before_a_turn_is_not_the_agents_doing(world: World) -> None:
    me = world.of()
    await me.get_memory("librarian")
    (agent,) = await world.letta.find_agents(tags(ME, "librarian"))
    human = next(b for b in agent.blocks if b.label == "human")
    await world.letta.set_block(human.id, "by somebody else")
    asked = '@tool memory_insert {"label": "human", "new_string": "by me"}'
    turn = await me.take_turn("librarian", asked, conversation=None, key="k")
    (change,) = turn.memory_changes
    assert change.before == "by somebody else"
    assert change.revision == 3


async def test_the_callers_change_in_the_middle_of_a_turn_and_the_agents_own_both_stay(world: World) -> None:
    me, script = world.of(), world.script
    await me.get_memory("librarian")
    script.gate = anyio.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def turn() -> None:
                asked = '@tool memory_insert {"label": "human", "new_string": "by the agent"}'
                await me.take_turn("librarian", asked, conversation=None, key="k")

            tasks.start_soon(turn)
            await script.at_gate.wait()
            await me.update_memory("librarian", "human", append="by the caller")
            script.gate.set()
    (block,) = await me.get_memory("librarian", "human")
    assert "by the caller" in block.value
    assert "by the agent" in block.value
    assert (block.revision, block.author) == (3, "agent:librarian")
