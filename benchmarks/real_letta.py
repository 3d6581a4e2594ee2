"""What ATLAS adds to a turn on a real Letta server, over calling letta-client directly in the same form of sending.

    python benchmarks/real_letta.py [turns]

Starts Letta 0.16.8 with PostgreSQL and a scripted model, as the tests do. The same agent is spoken to in turn by
letta-client in a stream with the same client tools, by letta-client in its plain form, by `Atlas.chat`, and through an
MCP client: each in a conversation of its own, all of which grow alike. Target: the median of a chat at most 5 % above
that of the stream.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
from _machine import machine_line
from letta_client import AsyncLetta
from mcp.client import Client

sys.path.insert(0, str(Path(__file__).parents[1]))
from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.server.loop import loop_options
from atlas_mcp.settings import load_settings
from tests.real_letta import RealLetta, real_letta

AGENT, MESSAGE = "strategist", "hello"
WARM = 4
IDLE_SECONDS = 0.2
Speak = Callable[[], Awaitable[Any]]


class Requests:
    """The requests that this process sends to Letta, as httpx sends them."""

    def __init__(self) -> None:
        self.sent: list[httpx.Request] = []
        send = httpx.AsyncClient.send

        async def noting(client: httpx.AsyncClient, request: httpx.Request, **more: Any) -> httpx.Response:
            self.sent.append(request)
            return await send(client, request, **more)

        setattr(httpx.AsyncClient, "send", noting)  # noqa: B010 - the one place that every client passes


async def of_one_chat(atlas: Atlas, requests: Requests) -> tuple[str, list[Any], list[str]]:
    """The conversation in Letta, the client tools of a turn, and the requests of a warm one, after WARM turns."""
    me = atlas.local_caller()
    for _ in range(WARM - 1):
        await atlas.chat(me, AGENT, MESSAGE)
    requests.sent.clear()
    await atlas.chat(me, AGENT, MESSAGE)
    [posted] = [r for r in requests.sent if r.url.path.endswith("/messages")]
    conversation = posted.url.path.split("/")[-2]
    told = [f"{r.method} {r.url.path.replace(conversation, 'ID')}" for r in requests.sent]
    return conversation, json.loads(posted.content).get("client_tools") or [], told


async def measure(turns: int, speakers: dict[str, Speak]) -> dict[str, list[float]]:
    """Milliseconds of each speaker's turns. They take turns in changing order, so that all meet the same moods of the
    machine, and each waits until the server is done with what it still does after the end of a stream."""
    took: dict[str, list[float]] = {name: [] for name in speakers}
    shuffled = random.Random(0)
    for number in range(turns + 3):
        for name, speak in shuffled.sample([*speakers.items()], len(speakers)):
            await anyio.sleep(IDLE_SECONDS)
            begun = time.perf_counter()
            await speak()
            if number >= 3:
                took[name].append((time.perf_counter() - begun) * 1e3)
    return took


async def main(letta: RealLetta, turns: int) -> None:
    requests = Requests()
    async with open_atlas(load_settings()) as atlas, AsyncLetta(base_url=letta.url, api_key="none") as client:
        conversation, tools, sent = await of_one_chat(atlas, requests)
        agent = (await client.conversations.retrieve(conversation)).agent_id
        streamed = (await client.conversations.create(agent_id=agent)).id
        plain = (await client.conversations.create(agent_id=agent)).id
        message: Any = {"type": "message", "role": "user", "content": MESSAGE}
        me = atlas.local_caller()

        async def stream() -> None:
            events = await client.conversations.messages.create(
                streamed, messages=[message], client_tools=tools, streaming=True, stream_tokens=False
            )
            async with events:
                async for _ in events:
                    pass

        async def whole() -> None:
            await client.conversations.messages.create(plain, messages=[message], client_tools=tools, streaming=False)

        async with Client(create_server(atlas, transport="stdio")) as host:

            async def called() -> None:
                await host.call_tool("chat_with_agent", {"agent": AGENT, "message": MESSAGE})

            for _ in range(WARM):  # each turn costs the server more than the one before: all must have the same number
                for speak in (stream, whole, called):
                    await speak()
            took = await measure(
                turns,
                {
                    "letta-client, in a stream": stream,
                    "letta-client, plain": whole,
                    "Atlas.chat": lambda: atlas.chat(me, AGENT, MESSAGE),
                    "chat_with_agent by an MCP client": called,
                },
            )
    floor = statistics.median(took["letta-client, in a stream"])
    for name, samples in took.items():
        middle = statistics.median(samples)
        print(f"{name:36s} median {middle:7.1f} ms   best {min(samples):7.1f}   {middle / floor - 1:+7.1%}")
    print(f"requests to Letta of a warm chat: {len(sent)} ({', '.join(sent)})")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    print(machine_line())
    with real_letta() as running, tempfile.TemporaryDirectory() as home:
        os.environ |= {
            "ATLAS_HOME": home,
            "LETTA_BASE_URL": running.url,
            "LETTA_MODEL": running.model,
            "LETTA_EMBEDDING_MODEL": running.embedding,
        }
        print("Letta", httpx.get(f"{running.url}/v1/health/").json()["version"])
        anyio.run(main, running, count, backend_options=loop_options())
