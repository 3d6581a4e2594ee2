"""What things cost in requests to Letta: what is known to be unchanged costs none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_mcp.constellation.names import tags
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.model.caller import Caller
from tests.constellation.conftest import open_world
from tests.constellation.test_keeper import with_persona

if TYPE_CHECKING:
    from pathlib import Path

    from tests.constellation.conftest import World

pytestmark = pytest.mark.anyio
ME = Caller(id="local:me")
TEA = '@tool memory_insert {"label": "human", "new_string": "likes tea"}'


class Counted:
    """Requests since the last look, without the ids in them."""

    def __init__(self, world: World) -> None:
        self._requests = world.wire.requests
        self._seen = len(self._requests)

    def __call__(self) -> list[str]:
        new, self._seen = self._requests[self._seen :], len(self._requests)
        return ["/".join(part for part in line.split("/") if "-" not in part or part == "core-memory") for line in new]


async def say(world: World, message: str, key: str, agent: str = "librarian") -> None:
    await world.of(client="test").take_turn(agent, message, conversation=None, key=key)


async def test_a_warm_turn_costs_the_message_alone(world: World) -> None:
    await say(world, "hello", "1")
    requests = Counted(world)
    await say(world, "hello again", "2")
    assert requests() == ["POST /v1/conversations/messages"]


async def test_so_does_the_first_turn_after_a_restart_with_every_tool_there(home: Path) -> None:
    async with open_world(home, toolbox=Toolbox()) as world:
        await say(world, "hello", "1", "strategist")
    async with open_world(home, toolbox=Toolbox()) as world:
        requests = Counted(world)
        await say(world, "hello again", "2", "strategist")
        assert requests() == ["POST /v1/conversations/messages"]


async def test_a_turn_that_changed_memory_reads_it_once(world: World) -> None:
    await say(world, "hello", "1")
    requests = Counted(world)
    await say(world, TEA, "2")
    assert requests() == ["POST /v1/conversations/messages", "GET /v1/agents/core-memory/blocks"]


async def test_a_turn_after_memory_was_changed_costs_the_message_alone(world: World) -> None:
    await say(world, TEA, "1")
    await world.of().update_memory("librarian", "human", append="and cake")
    requests = Counted(world)
    await say(world, "hello", "2")
    assert requests() == ["POST /v1/conversations/messages"]


async def test_memory_is_read_by_one_request_and_changed_by_two(world: World) -> None:
    me = world.of()
    await me.get_memory("librarian")
    requests = Counted(world)
    await me.get_memory("librarian", history=True)
    assert requests() == ["GET /v1/agents/core-memory/blocks"]
    await me.update_memory("librarian", "human", append="likes tea")
    assert requests() == ["GET /v1/blocks", "PATCH /v1/blocks"]
    await me.undo_memory("librarian", "human", 1)
    assert requests() == ["GET /v1/blocks", "PATCH /v1/blocks"]


async def test_a_new_thread_with_an_agent_that_is_there_costs_its_opening_and_the_message(world: World) -> None:
    await say(world, "hello", "1")
    requests = Counted(world)
    await world.of().take_turn("librarian", "hello", conversation="new", key="2")
    assert requests() == ["POST /v1/conversations/", "POST /v1/conversations/messages"]


async def test_a_persona_that_changed_in_the_roster_is_brought_to_letta_once(world: World) -> None:
    await say(world, "hello", "1")
    roster = with_persona(world.roster, "librarian", "I am new here.")
    requests = Counted(world)
    for key in ("2", "3"):
        await world.of(client="test", roster=roster).take_turn("librarian", "hello", conversation=None, key=key)
    told = requests()
    assert told.count("PATCH /v1/agents") == 1
    assert told.count("PATCH /v1/blocks") == 1
    assert told[-2:] == ["POST /v1/conversations/messages"] * 2


async def test_warming_creates_all_that_is_missing_and_says_what_it_did(world: World) -> None:
    me = world.of()
    assert await me.warm("librarian") == "created"
    assert await me.warm("librarian") == "ready"
    other = world.of(roster=with_persona(world.roster, "librarian", "I am new here."))
    assert await other.warm("librarian") == "brought up to date"
    (agent,) = await world.letta.find_agents(tags(ME, "librarian"))
    await world.letta.delete_agent(agent.id)
    assert await other.warm("librarian") == "created anew"
    requests = Counted(world)
    assert await other.warm("librarian") == "ready"
    assert requests() == ["GET /v1/agents"]
