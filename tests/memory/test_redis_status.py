"""What a client sees of a Redis: `get_status` tells of it, and no call fails for its sake."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp.client import Client

from atlas_mcp.atlas import open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.redis_server import running_redis
from tests.server.doors import call

pytestmark = pytest.mark.anyio
PATIENCE = 120
TEXT = "The heron of Overijssel nests in the alders by the old lock."


async def room(client: Client, health: str) -> dict[str, Any]:
    """What `get_status` says of the Redis once that is its health."""
    while True:
        status = await call(client, "get_status")
        said = next(room for room in status["rooms"] if room["name"] == "redis")
        if said["health"] == health:
            return said
        await anyio.sleep(0.05)


async def test_an_outage_of_redis_is_told_and_nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_redis() as redis:
        monkeypatch.setenv("ATLAS_REDIS_URL", redis.url)
        async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
            with anyio.fail_after(PATIENCE):
                await call(client, "share_knowledge", name="herons", text=TEXT)
                assert "working memory" in (await room(client, "ok"))["text"]
                redis.kill()
                gone = await room(client, "warning")
                assert "The record answers: nothing is forgotten." in gone["text"]
                assert "ATLAS_REDIS_URL" in gone["next_step"]
                found = await call(client, "search_memory", query="heron alders")
                assert [hit["text"] for hit in found["hits"]] == [TEXT]
                answer = await call(client, "chat_with_agent", agent="librarian", message="Hello.")
                assert answer["status"] == "completed"
                redis.start()
                await room(client, "ok")


async def test_what_happens_to_a_run_rings_in_every_process_that_has_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running_redis() as redis:
        monkeypatch.setenv("ATLAS_REDIS_URL", redis.url)
        async with open_atlas(load_settings()) as here, open_atlas(load_settings()) as there:
            with anyio.fail_after(PATIENCE):
                far = (await there._keeper.rooms()).memory.redis
                near = (await here._keeper.rooms()).memory.redis
                assert far
                assert near
                passed_on, heard, rung = far.bells.heard, list[str](), anyio.Event()
                assert passed_on

                def listen(run_id: str) -> None:
                    passed_on(run_id)
                    heard.append(run_id)
                    rung.set()

                far.bells.heard = listen
                await near.link.until(answers=True)
                while not rung.is_set():  # until the other listens, a ring is lost, as the promise says
                    await here.chat(here.local_caller(), "librarian", "Hello.")
                assert heard[0].startswith("run_")
