"""What a block was before: every change with its author, and any of them taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.constellation.names import tags
from atlas_mcp.errors import LettaUnavailable, OverLimit, UnknownBlock, UnknownRevision
from atlas_mcp.letta.faults import LettaRefused
from atlas_mcp.model.caller import Caller
from tests.constellation.test_keeper import with_limits, with_persona

if TYPE_CHECKING:
    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.letta.states import BlockState
    from atlas_mcp.model.memory import BlockRevision
    from tests.constellation.conftest import World

pytestmark = pytest.mark.anyio
ME = Caller(id="local:me")


async def in_letta(world: World, label: str, agent: str = "librarian") -> BlockState:
    (state,) = await world.letta.find_agents(tags(ME, agent))
    return next(b for b in state.blocks if b.label == label)


async def history(me: Constellation, label: str, agent: str = "librarian") -> list[BlockRevision]:
    """Oldest first."""
    (block,) = await me.get_memory(agent, label, history=True)
    assert block.history
    return block.history[::-1]


async def test_every_change_stays_with_its_author_its_time_and_what_it_replaced(world: World) -> None:
    me = world.of()
    await me.update_memory("librarian", "human", value="likes tea")
    asked = '@tool memory_replace {"label": "human", "old_string": "tea", "new_string": "milk"}'
    turn = await me.take_turn("librarian", asked, conversation=None, key="k")
    await world.letta.set_block((await in_letta(world, "human")).id, "by somebody else")
    await me.update_memory("librarian", "human", append="and cake", author="atlas")
    told = await history(me, "human")
    assert [(r.revision, r.operation, r.author, r.tool, r.value) for r in told] == [
        (1, "created", "roster", None, ""),
        (2, "value", "caller", None, "likes tea"),
        (3, "replace", "agent:librarian", "memory_replace", "likes milk"),
        (4, "elsewhere", "elsewhere", None, "by somebody else"),
        (5, "append", "atlas", None, "by somebody else\nand cake"),
    ]
    assert [r.turn_id for r in told] == [None, None, turn.turn_id, None, None]
    assert [r.at for r in told] == sorted(r.at for r in told)


async def test_memory_is_shown_without_its_history_unless_that_is_asked_for(world: World) -> None:
    assert all(block.history is None for block in await world.of().get_memory("librarian"))
    shown = await world.of().get_memory("librarian", history=True)
    assert [len(block.history or ()) for block in shown] == [1] * len(shown)


async def test_any_revision_is_restored_as_a_new_one(world: World) -> None:
    me = world.of()
    for value in ("one", "two", "three"):
        await me.update_memory("librarian", "human", value=value)
    undone = await me.undo_memory("librarian", "human", 2)
    assert (undone.value, undone.revision, undone.author) == ("one", 5, "caller")
    assert (await in_letta(world, "human")).value == "one"
    last = (await history(me, "human"))[-1]
    assert (last.operation, last.restores) == ("undo", 2)
    assert (await me.undo_memory("librarian", "human", 4)).value == "three"  # an undo is undone like all else


async def test_to_undo_what_is_so_already_is_no_revision(world: World) -> None:
    me = world.of()
    await me.update_memory("librarian", "human", value="one")
    assert (await me.undo_memory("librarian", "human", 2)).revision == 2


async def test_what_an_agent_wrote_and_what_was_written_elsewhere_is_taken_back_too(world: World) -> None:
    me = world.of()
    asked = '@tool memory_insert {"label": "human", "new_string": "likes tea"}'
    await me.take_turn("librarian", asked, conversation=None, key="k")
    assert (await me.undo_memory("librarian", "human", 1)).value == ""
    await world.letta.set_block((await in_letta(world, "human")).id, "by somebody else")
    assert (await me.undo_memory("librarian", "human", 2)).value == "likes tea"
    assert [r.value for r in await history(me, "human")] == ["", "likes tea", "", "by somebody else", "likes tea"]


async def test_a_shared_block_is_restored_for_all(world: World) -> None:
    me = world.of()
    await me.update_memory("librarian", "team_notes", value="one")
    await me.update_memory("strategist", "team_notes", value="two")
    await me.undo_memory("data_scientist", "team_notes", 2)
    assert (await me.get_memory("strategist", "team_notes"))[0].value == "one"


async def test_a_revision_that_never_was_is_answered_with_those_there_are(world: World) -> None:
    me = world.of()
    await me.update_memory("librarian", "human", value="one")
    with pytest.raises(UnknownRevision, match="it has 1 to 2"):
        await me.undo_memory("librarian", "human", 3)
    with pytest.raises(UnknownBlock):
        await me.undo_memory("librarian", "diary", 1)
    assert (await me.get_memory("librarian", "human"))[0].revision == 2


async def test_another_callers_revisions_are_none_of_mine(world: World) -> None:
    for value in ("one", "two", "three"):
        await world.of("local:other").update_memory("librarian", "human", value=value)
    with pytest.raises(UnknownRevision, match="1 to 1"):
        await world.of().undo_memory("librarian", "human", 2)


async def test_what_no_longer_fits_into_the_block_is_not_restored(world: World) -> None:
    await world.of().update_memory("librarian", "human", value="x" * 50)
    await world.of().update_memory("librarian", "human", value="short")
    small = world.of(roster=with_limits(world.roster, {"human": 20}))
    with pytest.raises(OverLimit, match="50 characters is too long: the limit is 20"):
        await small.undo_memory("librarian", "human", 2)


async def test_the_history_goes_on_when_letta_lost_the_agent_and_its_blocks(world: World) -> None:
    me = world.of()
    await me.update_memory("librarian", "human", value="one")
    await me.update_memory("librarian", "human", value="two")
    await me.update_memory("librarian", "team_notes", value="notes")
    (agent,) = await world.letta.find_agents(tags(ME, "librarian"))
    await world.letta.delete_agent(agent.id)
    for block in agent.blocks:
        await world.letta._client.blocks.delete(block.id)  # the test plays the server's owner
    assert [(r.operation, r.author, r.value) for r in await history(me, "human")] == [
        ("created", "roster", ""),
        ("value", "caller", "one"),
        ("value", "caller", "two"),
        ("created", "atlas", "two"),
    ]
    assert (await me.undo_memory("librarian", "human", 2)).value == "one"
    assert [r.value for r in await history(me, "team_notes")] == ["", "notes", "notes"]


async def test_a_persona_edited_before_the_agent_was_lost_is_not_taken_for_the_rosters(world: World) -> None:
    me = world.of()
    await me.update_memory("librarian", "persona", append="I collect stamps.")
    (edited,) = await me.get_memory("librarian", "persona")
    (agent,) = await world.letta.find_agents(tags(ME, "librarian"))
    await world.letta.delete_agent(agent.id)
    await me.take_turn("librarian", "hello", conversation=None, key="1")
    other = world.of(roster=with_limits(world.roster, {"human": 90}))  # brings the agent up to date
    assert (await other.get_memory("librarian", "persona"))[0].value == edited.value


async def test_a_new_persona_of_the_roster_takes_nothing_away_unrecorded(world: World) -> None:
    await world.of().get_memory("librarian")
    await world.letta.set_block((await in_letta(world, "persona")).id, "I was written elsewhere.")
    changed = world.of(roster=with_persona(world.roster, "librarian", "I am new here."))
    told = await history(changed, "persona")
    assert [(r.author, r.value) for r in told[1:]] == [
        ("elsewhere", "I was written elsewhere."),
        ("roster", "I am new here."),
    ]


async def test_a_conflict_that_letta_reports_is_met_by_changing_the_new_value(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = world.of()
    await me.get_memory("librarian")
    human, write = await in_letta(world, "human"), world.letta.set_block
    others = [f"other {n}" for n in range(3)]

    async def meanwhile(block_id: str, value: str, *, version: int | None = None) -> BlockState:
        if others:  # somebody is quicker each time, in Letta's own interface
            await write(block_id, others.pop(0))
        return await write(block_id, value, version=version)

    monkeypatch.setattr(world.letta, "set_block", meanwhile)
    block = await me.update_memory("librarian", "human", append="mine")
    assert (block.value, block.revision, block.author) == ("other 2\nmine", 5, "caller")
    assert (await world.letta.block(human.id)).value == block.value
    assert [r.value for r in await history(me, "human")] == ["", "other 0", "other 1", "other 2", "other 2\nmine"]


async def test_conflicts_without_end_are_given_up_and_nothing_is_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = world.of()
    await me.get_memory("librarian")

    async def refused(*_: object, **__: object) -> BlockState:
        raise LettaRefused("CONFLICT", 409)

    with monkeypatch.context() as patched:
        patched.setattr(world.letta, "set_block", refused)
        with pytest.raises(LettaUnavailable, match="being changed elsewhere"), anyio.fail_after(60):
            await me.update_memory("librarian", "human", append="mine")
    assert (await me.get_memory("librarian", "human"))[0].revision == 1


async def test_a_change_whose_answer_was_lost_is_known_to_be_made_and_made_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = world.of()
    await me.update_memory("librarian", "human", value="one")
    write = world.letta.set_block

    async def unheard(block_id: str, value: str, *, version: int | None = None) -> BlockState:
        await write(block_id, value, version=version)
        raise LettaUnavailable("cut off")

    with monkeypatch.context() as patched:
        patched.setattr(world.letta, "set_block", unheard)
        block = await me.update_memory("librarian", "human", append="two")
    assert (block.value, block.author, block.revision) == ("one\ntwo", "caller", 3)
