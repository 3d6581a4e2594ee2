"""The board in hosts that show pages: what the server offers them, and the page in the protocol's own bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.extension import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

from atlas_mcp.atlas import open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.server.board.page import board_page
from atlas_mcp.settings import load_settings
from tests.board.browser import NOTE_WORK, SEEN_AT_WORK, needs_chromium
from tests.board.host import PACKAGES, hosted
from tests.npm import needs
from tests.server.doors import ERAS, call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_mcp.atlas import Atlas
    from tests.board.browser import Browser

pytestmark = pytest.mark.anyio

BOARD = "ui://atlas/board.html"
TEA = {"name": "tea.txt", "text": "Tea is grown in Assam. It came to Europe in 1610."}
SHOWS_PAGES = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})


def in_a_real_host(test: Any) -> Any:
    """Marks what needs a browser, and the bridge from npm."""
    for mark in (needs_chromium, *map(needs, PACKAGES)):
        test = mark(test)
    return test


@pytest.fixture
async def atlas(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Atlas]:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "0.8")  # so long that a busy browser sees an agent at work, too
    async with open_atlas(load_settings()) as opened:
        yield opened


@pytest.mark.parametrize("era", list(ERAS))
async def test_only_a_client_that_shows_pages_hears_which_tools_have_one(atlas: Atlas, era: str) -> None:
    server = create_server(atlas, transport="stdio")
    async with Client(server, mode=ERAS[era], extensions=[SHOWS_PAGES]) as client:
        named = {tool.name: tool.meta["ui"] for tool in (await client.list_tools()).tools if tool.meta}
        assert named == {"run_team_task": {"resourceUri": BOARD}, "get_run": {"resourceUri": BOARD}}
        [page] = (await client.read_resource(BOARD)).contents
        assert page.mime_type == APP_MIME_TYPE
        assert page.model_dump()["text"] == board_page()
    for extensions in ([], [advertise(EXTENSION_ID, {"mimeTypes": ["text/html"]})]):
        async with Client(server, mode=ERAS[era], extensions=extensions) as client:
            assert [tool.name for tool in (await client.list_tools()).tools if tool.meta] == []


async def test_the_page_says_of_itself_that_it_asks_nobody(atlas: Atlas) -> None:
    async with Client(create_server(atlas, transport="stdio"), extensions=[SHOWS_PAGES]) as client:
        [listed] = [one for one in (await client.list_resources()).resources if one.uri == BOARD]
        assert listed.meta == {"ui": {"csp": {"connectDomains": [], "resourceDomains": []}, "prefersBorder": True}}
        assert "http://" not in board_page().replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in board_page()


@in_a_real_host
async def test_a_host_sees_its_team_at_work_before_the_call_has_ended(
    atlas: Atlas, browser: Browser, bridge: str
) -> None:
    async with (
        Client(create_server(atlas, transport="stdio"), extensions=[SHOWS_PAGES]) as client,
        anyio.create_task_group() as tasks,
    ):
        [page] = (await client.read_resource(BOARD)).contents

        async def proxied(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            return (await client.call_tool(name, arguments)).model_dump(mode="json", by_alias=True, exclude_none=True)

        async with hosted(browser, bridge, page.model_dump()["text"], proxied) as host:
            arguments = {"goal": "Where is tea grown?", "materials": [TEA], "approve_plan": True, "wait_seconds": 40}
            results, ended = list[dict[str, Any]](), anyio.Event()

            async def work() -> None:
                results.append(await proxied("run_team_task", arguments))
                ended.set()

            await host.say("sendToolInput", {"arguments": arguments})
            tasks.start_soon(work)
            await host.app.get_by_role("heading", name="Where is tea grown?").wait_for()
            await host.within(NOTE_WORK)
            await host.app.get_by_role("button", name="approve").click()
            await host.app.locator(".pill.completed").wait_for()
            assert ".agent.busy" in await host.within(SEEN_AT_WORK)
            assert "Tea is grown in Assam." in await host.app.get_by_role("tabpanel", name="Result").inner_text()
            with anyio.fail_after(60):
                await ended.wait()
            await host.say("sendToolResult", results[0])

            light = await host.within("getComputedStyle(document.body).backgroundColor")
            await host.say("sendHostContextChange", {"theme": "dark"})
            await host.app.locator(":root[data-theme=dark]").wait_for()
            assert await host.within("getComputedStyle(document.body).backgroundColor") != light
            styles = {"variables": {"--color-background-primary": "rgb(1, 2, 3)", "--font-sans": "Host Font"}}
            await host.say("sendHostContextChange", {"styles": styles})
            await host.app.locator(":root[style*='Host Font']").wait_for()
            assert await host.within("getComputedStyle(document.body).backgroundColor") == "rgb(1, 2, 3)"
            height = await host.within("Math.ceil(document.body.getBoundingClientRect().height)")
            await host.page.wait_for_function("(height) => told.heights.includes(height)", arg=height)
            await host.page.evaluate("() => bridge.teardownResource({})")
            assert host.seen.errors == []
            assert host.seen.hosts == set()  # nothing was asked of anybody


@in_a_real_host
async def test_the_result_of_get_run_opens_that_run_and_all_others_are_a_key_away(
    atlas: Atlas, browser: Browser, bridge: str
) -> None:
    async with Client(create_server(atlas, transport="stdio")) as client:
        runs = [
            (await call(client, "run_team_task", goal=f"Goal {n}", materials=[TEA], wait_seconds=40))["run_id"]
            for n in (1, 2)
        ]

        async def proxied(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            return (await client.call_tool(name, arguments)).model_dump(mode="json", by_alias=True, exclude_none=True)

        async with hosted(browser, bridge, board_page(), proxied) as host:
            await host.say("sendToolResult", await proxied("get_run", {"run_id": runs[0]}))
            await host.app.get_by_role("heading", name="Goal 1", level=1).wait_for()
            await host.app.get_by_role("tab", name="Result").focus()
            await host.page.keyboard.press("Escape")
            await host.app.get_by_role("button", name="Goal 2").click()
            await host.app.get_by_role("heading", name="Goal 2", level=1).wait_for()
            assert host.seen.errors == []
