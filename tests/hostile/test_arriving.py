"""A request that has begun must arrive; what was answered may go on as long as it likes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import uvicorn

from atlas_mcp.server.arriving import ArrivingProtocol

pytestmark = pytest.mark.anyio
SECONDS = 60


class Hasty(ArrivingProtocol):
    """With a time that a test can wait for."""

    HEAD_SECONDS = 1.0
    BODY_SECONDS = 1.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the length of the body; /first answers before, and goes on for longer than anything may arrive."""
    started = {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]}
    if scope["path"] == "/first":
        await send(started)
        for _ in range(4):
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
            await anyio.sleep(0.6)  # it is the time that is tried here
        await send({"type": "http.response.body", "body": b"end"})
        return
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send(started)
    await send({"type": "http.response.body", "body": str(length).encode()})


@pytest.fixture
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = getattr(request, "param", Hasty)
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server._serve, [listener])
        yield listener.getsockname()[1]
        server.should_exit = True


async def answered(port: int, *parts: bytes) -> bytes:
    """All that comes until the connection is closed by the server."""
    answer = b""
    with anyio.fail_after(SECONDS):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            for part in parts:
                await stream.send(part)
            async for more in stream:
                answer += more
    return answer


async def test_a_connection_on_which_nothing_comes_is_closed(port: int) -> None:
    assert b" 408 " in await answered(port)


async def test_half_a_head_is_given_up(port: int) -> None:
    assert b" 408 " in await answered(port, b"GET / HTTP/1.1\r\nHost: a\r\n")


async def test_half_a_body_is_given_up(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    assert b" 408 " in await answered(port, head, b"abc")


async def test_the_rest_of_a_body_after_the_answer_is_not_waited_for(port: int) -> None:
    head = b"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    assert b" 408 " not in await answered(port, head)


async def test_an_answer_takes_the_time_it_takes(port: int) -> None:
    answer = await answered(port, b"GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.count(b"more") == 4
    assert b"end" in answer


@pytest.mark.parametrize("port", [ArrivingProtocol], indirect=True)
async def test_a_request_whose_parts_come_in_time_is_answered(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
    answer = await answered(port, head[:20], head[20:], b"ab", b"cde")
    assert b"200 OK" in answer
    assert b"\r\n5\r\n" in answer
