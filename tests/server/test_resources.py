"""Resources: read by their caller alone, and heard of when they change, in each protocol era."""

from __future__ import annotations

import json
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from mcp import MCPError
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.subscriptions import ResourceUpdated
from mcp.types import ResourceUpdatedNotification, TextResourceContents

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.server import create_server, subscriptions
from atlas_mcp.settings import load_settings
from tests.server.doors import ERAS, LEGACY, MODERN, call, http_server, over_http, over_stdio, until_ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed:mcp.MCPDeprecationWarning"),
]

TEXT = "Tea is grown in Assam. It came to Europe in 1610. It was dear at first."
TASK: dict[str, Any] = {"goal": "Where is tea grown?", "materials": [{"name": "tea.txt", "text": TEXT}]}
NOT_FOUND = -32602


def addresses(run: dict[str, Any]) -> tuple[str, str]:
    return f"atlas://runs/{run['run_id']}", f"atlas://runs/{run['run_id']}/result"


async def asking(client: Client) -> dict[str, Any]:
    """A run that waits for its plan's approval: nothing happens to it until somebody is listening."""
    run = await call(client, "run_team_task", **TASK, approve_plan=True)
    with anyio.fail_after(90):
        while run["status"] != "awaiting_answer":
            run = await call(client, "get_run", run_id=run["run_id"], since=9_999, wait_seconds=10)
    return run


async def approve(client: Client, run: dict[str, Any]) -> None:
    await call(client, "answer_run", run_id=run["run_id"], answer="approve")


async def read(client: Client, address: str) -> dict[str, Any]:
    [content] = (await client.read_resource(address)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    return json.loads(content.text)


class Heard:
    """What a client of the older era hears of, and a way to wait for it."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._news = anyio.Event()

    async def __call__(self, message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self.addresses.append(str(message.params.uri))
            self._news.set()

    async def until(self, address: str, times: int = 1) -> None:
        with anyio.fail_after(60):
            while self.addresses.count(address) < times:
                await self._news.wait()
                self._news = anyio.Event()


async def subscribe(client: Client, address: str) -> None:
    await client.session.subscribe_resource(address)  # pyright: ignore[reportDeprecated]


@asynccontextmanager
async def older(atlas: Atlas, heard: Heard) -> AsyncIterator[Client]:
    server = create_server(atlas, transport="stdio")
    async with Client(server, mode=ERAS[LEGACY], message_handler=heard) as client:
        yield client


def followers(atlas: Atlas) -> int:
    """How many wait for news of runs in this process."""
    rooms = atlas._keeper.opened  # pyright: ignore[reportPrivateUsage]
    assert rooms is not None
    return sum(map(len, rooms.runs._bells._listening.values()))  # pyright: ignore[reportPrivateUsage]


async def test_a_run_and_its_result_are_read_as_json(client_of_each_era: Client) -> None:
    client = client_of_each_era
    templates = (await client.list_resource_templates()).resource_templates
    assert {t.uri_template for t in templates} >= {"atlas://runs/{run_id}", "atlas://runs/{run_id}/result"}
    run = await asking(client)
    whole, result = addresses(run)
    assert (await read(client, result))["result"] is None
    await approve(client, run)
    ended = await until_ended(client, run)
    assert await read(client, whole) == await call(client, "get_run", run_id=run["run_id"])
    assert await read(client, result) == {key: ended[key] for key in ("run_id", "status", "result", "reply", "error")}


async def test_a_run_of_another_caller_is_no_resource(client: Client, atlas: Atlas) -> None:
    run = await call(client, "run_team_task", **TASK)
    async with Client(create_server(atlas, transport="http")) as other:  # the key's holder
        for address in (*addresses(run), "atlas://runs/run_of_nobody"):
            with pytest.raises(MCPError) as refused:
                await other.read_resource(address)
            assert refused.value.code == NOT_FOUND
            assert "there is no run" in refused.value.message


async def test_a_listening_client_hears_until_the_run_has_ended(client: Client) -> None:
    run = await asking(client)
    whole, result = addresses(run)
    heard: list[str] = []
    async with client.listen(resource_subscriptions=[whole, result]) as stream:
        await approve(client, run)
        with anyio.fail_after(90):
            async for event in stream:
                assert isinstance(event, ResourceUpdated)
                heard.append(str(event.uri))
                # Each is told of the end, in no order: whoever reads after the first may see a run that has ended.
                if {*heard} >= {whole, result} and (await read(client, result))["status"] == "completed":
                    break
    assert {*heard} == {whole, result}


async def test_who_listens_goes_on_hearing_after_the_record_was_gone_for_a_moment(
    atlas: Atlas, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "AGAIN_SECONDS", 0.01)
    run, there, gone = await asking(client), atlas.get_run, anyio.Event()

    async def get_run(*given: Any, **more: Any) -> Any:
        if more["wait_seconds"] and not gone.is_set():
            gone.set()
            raise StoreUnavailable("the record does not answer.")
        return await there(*given, **more)

    monkeypatch.setattr(atlas, "get_run", get_run)
    async with client.listen(resource_subscriptions=[addresses(run)[0]]) as stream:
        with anyio.fail_after(90):
            await gone.wait()
            await approve(client, run)
            assert isinstance(await anext(stream), ResourceUpdated)
    await call(client, "cancel_run", run_id=run["run_id"])


async def test_a_subscribed_client_of_the_older_era_hears_too(atlas: Atlas) -> None:
    heard = Heard()
    async with older(atlas, heard) as client:
        run = await asking(client)
        whole, result = addresses(run)
        await subscribe(client, whole)
        await subscribe(client, result)
        await subscribe(client, result)  # once is enough
        await call(client, "answer_run", run_id=run["run_id"], answer="take less time for it")
        await heard.until(whole)  # what happens at once may be told at once: so one change is heard before the next
        with anyio.fail_after(90):
            while run["question"] is None or "made anew" not in run["question"]["text"]:
                run = await call(client, "get_run", run_id=run["run_id"], since=9_999, wait_seconds=1)
        await approve(client, run)
        await until_ended(client, run)
        await heard.until(whole, times=2)
        await heard.until(result)


async def test_what_ended_or_is_none_of_yours_is_never_heard_of(client: Client, atlas: Atlas) -> None:
    done = await until_ended(client, await call(client, "run_team_task", **TASK))
    run = await asking(client)
    strange = [*addresses(run), "atlas://runs/run_of_nobody", "atlas://agents/nobody"]
    async with (
        Client(create_server(atlas, transport="http")) as other,  # the key's holder
        other.listen(resource_subscriptions=strange) as silent,
        client.listen(resource_subscriptions=[*addresses(done), *addresses(run)]) as telling,
    ):
        await approve(client, run)
        with anyio.fail_after(90):
            async for event in telling:
                assert isinstance(event, ResourceUpdated)
                assert str(event.uri) in addresses(run)
                if (await read(client, addresses(run)[0]))["status"] == "completed":
                    break
        with anyio.move_on_after(0.2) as nothing:
            await anext(silent)
        assert nothing.cancelled_caught
    async with Client(create_server(atlas, transport="http"), mode=ERAS[LEGACY]) as other:
        for address in strange:
            with pytest.raises(MCPError) as refused:
                await subscribe(other, address)
            assert refused.value.code == NOT_FOUND


@pytest.mark.parametrize("era", list(ERAS))
async def test_nobody_listens_any_more_when_the_client_has_gone(monkeypatch: pytest.MonkeyPatch, era: str) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "60")
    async with open_atlas(load_settings()) as slow, Client(create_server(slow, transport="stdio")) as client:
        run = await call(client, "run_team_task", **TASK, wait_seconds=0)
        whole, result = addresses(run)
        if era == MODERN:
            async with client.listen(resource_subscriptions=[whole, result]):
                await _until(slow, 2)
        else:
            async with older(slow, Heard()) as listening:
                await subscribe(listening, whole)
                await subscribe(listening, result)
                await _until(slow, 2)
                await listening.session.unsubscribe_resource(whole)  # pyright: ignore[reportDeprecated]
                await _until(slow, 1)
        await _until(slow, 0)
        await call(client, "cancel_run", run_id=run["run_id"])


async def _until(atlas: Atlas, count: int) -> None:
    with anyio.fail_after(60):
        while followers(atlas) != count:  # noqa: ASYNC110  # nothing tells when somebody has stopped listening
            await anyio.sleep(0.01)


async def test_listeners_hear_over_stdio() -> None:
    async with over_stdio(MODERN) as client:
        run = await asking(client)
        async with client.listen(resource_subscriptions=[addresses(run)[0]]) as stream:
            await approve(client, run)
            with anyio.fail_after(60):
                event = await anext(stream)
        assert isinstance(event, ResourceUpdated)
        await until_ended(client, run)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes")
async def test_who_listens_is_told_that_the_server_stops() -> None:
    with http_server() as (address, key, process):
        async with (
            over_http(address, key, "/mcp", MODERN) as client,
            client.listen(resource_subscriptions=["atlas://runs/run_of_nobody"]) as stream,
        ):
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(60):
                assert [event async for event in stream] == []  # the stream was ended, and not lost
        assert process.wait(60) == 0


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_a_client_of_the_older_era_hears_over_http(path: str) -> None:
    heard = Heard()
    with http_server() as (address, key, _):
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            streamable = streamable_http_client(f"{address}/mcp", http_client=http)
            transport = streamable if path == "/mcp" else sse_client(f"{address}/sse", headers=headers)
            async with Client(transport, mode=ERAS[LEGACY], message_handler=heard) as client:
                run = await asking(client)
                await subscribe(client, addresses(run)[0])
                await approve(client, run)
                await until_ended(client, run)
                await heard.until(addresses(run)[0])


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_listeners_hear_over_http(path: str) -> None:
    with http_server() as (address, key, _):
        async with over_http(address, key, path, MODERN) as client:
            run = await asking(client)
            async with client.listen(resource_subscriptions=[addresses(run)[0]]) as stream:
                await approve(client, run)
                with anyio.fail_after(60):
                    assert isinstance(await anext(stream), ResourceUpdated)
            await until_ended(client, run)
