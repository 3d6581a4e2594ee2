from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from atlas_mcp.embedded import StreamingASGITransport

pytestmark = pytest.mark.anyio

START = {"type": "http.response.start", "status": 200, "headers": []}


class Streamer:
    """An ASGI app that sends `pieces`, waiting for `gate` after the first, and notes how it ended."""

    def __init__(self, pieces: list[bytes], *, complete: bool = True) -> None:
        self.pieces, self.complete = pieces, complete
        self.gate, self.ended = anyio.Event(), anyio.Event()
        self.how = "not begun"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await send(START)
            for index, piece in enumerate(self.pieces):
                if index == 1:
                    await self.gate.wait()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if self.complete:
                await send({"type": "http.response.body", "body": b""})
            self.how = "done"
        except BaseException as error:
            self.how = type(error).__name__
            raise
        finally:
            self.ended.set()


def client(app: Any, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=StreamingASGITransport(app), base_url="http://app", **options)


async def test_pieces_arrive_while_the_app_is_still_at_work() -> None:
    app = Streamer([b"one", b"two"])
    with anyio.fail_after(60):
        async with client(app) as http, http.stream("GET", "/") as response:
            pieces = response.aiter_bytes()
            assert await anext(pieces) == b"one"
            assert not app.ended.is_set()
            app.gate.set()
            assert [piece async for piece in pieces] == [b"two"]


async def test_closing_a_response_ends_the_app_before_it_returns() -> None:
    app = Streamer([b"one", b"two"])
    with anyio.fail_after(60):
        async with client(app) as http:
            async with http.stream("GET", "/") as response:
                await anext(response.aiter_bytes())
            assert app.how == "CancelledError"


async def test_a_cancelled_caller_cancels_the_app() -> None:
    begun, how = anyio.Event(), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        except BaseException as error:
            how.append(type(error).__name__)
            raise

    with anyio.fail_after(60):
        async with client(app) as http:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(http.get, "/")
                await begun.wait()
                tasks.cancel_scope.cancel()
            assert how == ["CancelledError"]


async def test_a_read_timeout_is_httpxs_own_and_ends_the_app() -> None:
    app = Streamer([b"one", b"two"])
    with anyio.fail_after(60):
        async with client(app, timeout=0.05) as http:
            with pytest.raises(httpx.ReadTimeout):
                await http.get("/")
            await app.ended.wait()


async def test_an_app_that_fails_before_it_answers_is_a_500_and_later_a_broken_response() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            await send(START)
        raise RuntimeError("broken")

    async with client(fails) as http:
        assert (await http.get("/early")).status_code == 500
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/late")
    async with client(Streamer([b"one"], complete=False)) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")


async def test_leaving_the_client_ends_what_still_runs() -> None:
    app = Streamer([b"one", b"two"])
    with anyio.fail_after(60):
        async with client(app) as http:
            response = await http.send(http.build_request("GET", "/"), stream=True)
            await anext(response.aiter_bytes())
        assert app.ended.is_set()


async def test_without_entering_it_the_transport_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await client(Streamer([])).get("/")


async def test_the_body_headers_and_query_reach_the_app() -> None:
    seen: dict[str, Any] = {}

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope, body=(await receive())["body"])
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"b")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with client(echo) as http:
        response = await http.post("/a%20b?x=1&x=2", content=b"hello", headers={"X-Own": "1"})
    assert (response.status_code, response.headers["x-a"], response.text) == (201, "b", "ok")
    assert (seen["path"], seen["query_string"], seen["body"]) == ("/a b", b"x=1&x=2", b"hello")
    assert (b"x-own", b"1") in seen["headers"]
