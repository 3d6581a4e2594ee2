"""The same constellation on a Letta at an address: over a socket, with a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from sqlalchemy import select

from atlas_mcp.errors import LettaUnavailable
from atlas_mcp.letta.connect import open_server
from atlas_mcp.model.sections import sections
from atlas_mcp.store.tables import turn as turn_table
from tests.constellation.conftest import open_world_over_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.constellation.conftest import Echo, World

pytestmark = pytest.mark.anyio
KEY = "the-key"


@pytest.fixture
async def world(home: Path) -> AsyncIterator[World]:
    async with open_world_over_http(home, KEY) as opened:
        yield opened


async def test_a_turn_with_tools_and_memory_works_over_a_socket(world: World, echo: Echo) -> None:
    me = world.of()
    asked = '@tool echo {"text": "hi"}\n@tool memory_insert {"label": "human", "new_string": "likes tea"}'
    turn = await me.take_turn("librarian", asked, conversation=None, key="k", tools=echo)
    assert [one.body for one in sections(turn.reply, "result")][:1] == ["echo hi"]
    assert [c.author for c in turn.memory_changes] == ["agent:librarian"]
    assert world.letta.kind == "server"
    async with world.record.read() as db:
        kept = (await db.execute(select(turn_table.c.letta_run))).scalar_one()
    assert kept.startswith("run-")


async def test_a_cancelled_turn_stops_on_the_server_and_its_key_may_be_used_again(world: World) -> None:
    me, script = world.of(), world.script
    thread = await me.open_conversation("librarian")
    script.gate = anyio.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                await me.take_turn("librarian", "hello", conversation=thread, key="k")

            tasks.start_soon(send)
            await script.at_gate.wait()
            tasks.cancel_scope.cancel()
        script.gate = None
        turn = await me.take_turn("librarian", "hello", conversation=thread, key="k")
    assert turn.reply == "ok: hello"
    assert [m.text for m in script.seen[-1] if m.type == "human"] == ["hello"]


async def test_a_wrong_key_is_said(world: World) -> None:
    async with open_server(str(world.letta._client.base_url), key="wrong") as letta:
        with pytest.raises(LettaUnavailable, match="Set the key"):
            await letta.find_agents(["atlas"])
