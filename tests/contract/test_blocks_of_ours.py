"""Core memory where ATLAS keeps the rules itself: limits, protection, history and undo on servers without them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from letta_client import AsyncLetta

from atlas_mcp.constellation.constellation import Constellation
from atlas_mcp.constellation.names import tags
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.errors import OverLimit, StaleRevision
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.turn import TurnResult
from tests.contract.far import Far, Side, side_of
from tests.contract.proxy import Proxy, Says
from tests.scripted_model import system_text, tool_names

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300), pytest.mark.usefixtures("far")]

AGENT = "strategist"


def insert(label: str, text: str) -> str:
    return f"@@tool memory_insert {json.dumps({'label': label, 'new_string': text})}"


@pytest.fixture
def me(side: Side) -> Constellation:
    """A caller whom the server has never seen, as the home is new: the server is the same one for all tests."""
    side.toolbox = Toolbox()
    return side.of()


async def ask(me: Constellation, message: str, key: str = "k", agent: str = AGENT) -> TurnResult:
    return await me.take_turn(agent, message, conversation=None, key=key)


async def block_id(side: Side, me: Constellation, label: str, agent: str = AGENT) -> str:
    (state,) = await side.letta.find_agents(tags(me.caller, agent))
    return next(b.id for b in state.blocks if b.label == label)


def with_read_only(side: Side, caller: Caller, label: str) -> Constellation:
    roster = load_roster()
    blocks = [b.model_copy(update={"read_only": b.label == label}) for b in roster.blocks]
    models: Any = side
    changed = roster.model_copy(update={"blocks": tuple(blocks)})
    return Constellation(caller, changed, side.letta, side.record, side.locks, models, side.toolbox)


async def test_an_agents_change_is_carried_out_by_atlas_and_seen_by_its_next_turn(
    far: Far, side: Side, me: Constellation
) -> None:
    turn = await ask(me, insert("human", "likes lapsang"), "1")
    (change,) = turn.memory_changes
    assert (change.label, change.author, change.revision) == ("human", f"agent:{AGENT}", 2)
    assert (change.before, change.after) == ("", "likes lapsang")
    offered = tool_names(far.scripted.last)
    assert len(offered) == len(set(offered))
    assert {"memory_insert", "memory_replace", "archival_memory_insert", "calculate"} <= set(offered)
    (state,) = await side.letta.find_agents(tags(me.caller, AGENT))
    assert not {"memory_insert", "memory_replace", "calculate"} & {t.name for t in state.tools}
    await ask(me, "What do I like?", "2")
    assert "likes lapsang" in system_text(far.scripted.last)


async def test_limits_and_protection_hold_where_the_server_keeps_none(side: Side, me: Constellation) -> None:
    me = with_read_only(side, me.caller, "persona")
    assert (await ask(me, insert("current_state", "x" * 201), "1")).memory_changes == []
    assert (await ask(me, insert("persona", "I am the boss."), "2")).memory_changes == []
    blocks = {b.label: b for b in await me.get_memory(AGENT)}
    assert blocks["current_state"].value == ""
    assert "boss" not in blocks["persona"].value
    assert blocks["persona"].read_only
    with pytest.raises(OverLimit, match="the limit is 200"):
        await me.update_memory(AGENT, "current_state", value="x" * 201)
    assert (await me.update_memory(AGENT, "persona", append="I am kind.")).revision == 2


async def test_a_warm_turn_is_one_request(proxy: Proxy, me: Constellation) -> None:
    await ask(me, "hello", "1")
    before = len(proxy.requests)
    await ask(me, "hello again", "2")
    assert [line.split("/")[-1] for line in proxy.requests[before:]] == ["messages"]


async def test_a_turn_that_changes_memory_reads_and_writes_that_block_alone(proxy: Proxy, me: Constellation) -> None:
    await ask(me, "hello", "1")
    before = len(proxy.requests)
    await ask(me, insert("human", "likes tea"), "2")
    told = [(line.split(" ")[0], line.split("/")[2]) for line in proxy.requests[before:]]
    sent = ("POST", "conversations")
    assert told == [sent, ("GET", "blocks"), ("PATCH", "blocks"), sent]


async def test_additions_by_two_processes_at_once_lose_nothing(
    home: Path, far: Far, side: Side, me: Constellation
) -> None:
    await me.get_memory(AGENT)
    async with side_of(home, far, far.url) as second, anyio.create_task_group() as tasks:
        other = second.of()
        assert other.caller == me.caller
        for n in range(12):

            async def add(n: int = n) -> None:
                await (me, other)[n % 2].update_memory(AGENT, "team_notes", append=f"line {n}")

            tasks.start_soon(add)
    (block,) = await me.get_memory(AGENT, "team_notes")
    assert sorted(block.value.splitlines()) == sorted(f"line {n}" for n in range(12))
    assert block.revision == 13


async def test_a_conflict_is_tried_again_and_the_change_made_once(proxy: Proxy, me: Constellation) -> None:
    await me.get_memory(AGENT)
    proxy.fail(lambda line, _: line.startswith("PATCH /v1/blocks/"), Says(409), times=3)
    block = await me.update_memory(AGENT, "human", append="likes tea")
    assert (block.value, block.revision) == ("likes tea", 2)
    assert len([line for line in proxy.requests if line.startswith("PATCH /v1/blocks/")]) == 4


async def test_what_is_written_in_lettas_own_interface_is_noticed_and_not_overwritten(
    far: Far, side: Side, me: Constellation
) -> None:
    (read,) = await me.get_memory(AGENT, "human")
    human = await block_id(side, me, "human")
    async with far.client() as client:
        await client.blocks.update(human, value="by somebody else")
    with pytest.raises(StaleRevision):
        await me.update_memory(AGENT, "human", value="mine", expected_revision=read.revision)
    turn = await ask(me, insert("human", "by the agent"))
    assert [(c.before, c.after) for c in turn.memory_changes] == [
        ("by somebody else", "by somebody else\nby the agent")
    ]
    (block,) = await me.get_memory(AGENT, "human", history=True)
    assert [r.author for r in (block.history or [])[::-1]] == ["roster", "elsewhere", f"agent:{AGENT}"]


async def test_any_change_is_taken_back(far: Far, side: Side, me: Constellation) -> None:
    await me.update_memory(AGENT, "human", value="name: Ada")
    await ask(me, insert("human", "likes tea"), "1")
    block = await me.undo_memory(AGENT, "human", 2)
    assert (block.value, block.revision) == ("name: Ada", 4)
    async with far.client() as client:
        assert (await client.blocks.retrieve(await block_id(side, me, "human"))).value == "name: Ada"
    await ask(me, "Who am I?", "2")
    assert "likes tea" not in system_text(far.scripted.last)


async def test_two_callers_share_nothing(far: Far, side: Side, me: Constellation) -> None:
    you = replace(side, caller=f"{side.caller}-too").of()
    await me.update_memory(AGENT, "team_notes", value="my notes")
    await ask(you, insert("team_notes", "your notes"))
    assert (await me.get_memory(AGENT, "team_notes"))[0].value == "my notes"
    assert (await you.get_memory(AGENT, "team_notes"))[0].value == "your notes"
    async with far.client() as client:
        carriers = [a async for a in client.blocks.agents.list(await block_id(side, me, "team_notes"))]
        marks = [tag for a in carriers for tag in (await _tags(client, a.id)) if tag.startswith("atlas-caller:")]
    assert set(marks) == set(tags(me.caller)[1:2])


async def test_an_agent_deleted_there_is_made_anew_with_its_memory_and_history(
    far: Far, side: Side, me: Constellation
) -> None:
    await me.update_memory(AGENT, "human", value="name: Ada")
    (state,) = await side.letta.find_agents(tags(me.caller, AGENT))
    await ask(me, "hello", "1")
    async with far.client() as client:
        await client.agents.delete(state.id)
    await ask(me, "who am I?", "2")
    assert "name: Ada" in system_text(far.scripted.last)
    (block,) = await me.get_memory(AGENT, "human", history=True)
    assert [r.value for r in (block.history or [])[::-1]] == ["", "name: Ada", "name: Ada"]
    assert (await me.undo_memory(AGENT, "human", 1)).value == ""


async def _tags(client: AsyncLetta, agent_id: str) -> list[str]:
    return list((await client.agents.retrieve(agent_id, include=["agent.tags"])).tags)
