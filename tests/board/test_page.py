"""The board over HTTP in a real browser: a real server, a real team at work."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.browser import NOTE_WORK, SEEN_AT_WORK, needs_chromium, overflow, sign_in
from tests.board.keys import keys
from tests.server.doors import MODERN, call, over_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.client import Client
    from playwright.async_api import Page

    from tests.board.browser import Board, Browser

pytestmark = [pytest.mark.anyio, needs_chromium]

TEA = {"name": "tea.txt", "text": "Tea is grown in Assam. It came to Europe in 1610. Assam lies in India."}
TABS = ("At work", "Result", "Ratings", "Cost", "Timeline")


@asynccontextmanager
async def client_of(server: Board, key: str | None = None) -> AsyncIterator[Client]:
    async with over_http(server.address, key or server.key, "/mcp", MODERN) as client:
        yield client


async def begin(server: Board, goal: str, key: str | None = None, **more: Any) -> str:
    """A team task that has been set to work: its id."""
    async with client_of(server, key) as client:
        return (await call(client, "run_team_task", goal=goal, materials=[TEA], wait_seconds=0, **more))["run_id"]


async def found(server: Board, run_id: str) -> dict[str, Any]:
    async with client_of(server) as client:
        return await call(client, "get_run", run_id=run_id, wait_seconds=0)


async def text_of(page: Page, tab: str) -> str:
    """What stands behind a tab, once it is shown."""
    await page.get_by_role("tab", name=tab).click()
    return await page.get_by_role("tabpanel", name=tab).inner_text()


async def test_a_wrong_key_is_told_so_and_a_right_one_is_never_kept_in_the_browser(
    server: Board, browser: Browser
) -> None:
    async with browser.page() as (page, _):
        await page.goto(f"{server.address}/board")
        await page.get_by_label("Key").fill("wrong")
        await page.keyboard.press("Enter")
        assert "no such key" in await page.get_by_role("alert").inner_text()
        await sign_in(page, server)
        assert page.url == f"{server.address}/board"
        stored = await page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]")
        assert stored == ["", 0, 0]
        assert server.key not in await page.content()
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_label("Key").wait_for()
        await page.goto(f"{server.address}/board")
        assert await page.get_by_label("Key").is_visible()


async def test_a_run_is_answered_and_followed_to_its_end_without_reloading(server: Board, browser: Browser) -> None:
    async with browser.page() as (page, seen):
        await sign_in(page, server)
        await page.evaluate("window.neverReloaded = true")
        run_id = await begin(server, "Where is tea grown?", approve_plan=True, budget_tokens=900_000)
        await page.get_by_role("button", name="Where is tea grown?").click()  # it appears by itself
        card = page.get_by_role("group", name="ATLAS asks")
        assert "Shall it be carried out?" in await card.inner_text()
        assert await page.get_by_role("button", name="Plan, waits for an answer").is_visible()
        await page.evaluate(NOTE_WORK)
        await card.get_by_role("button", name="approve").click()
        await card.wait_for(state="detached")
        await page.locator(".pill.completed").wait_for()
        assert await page.evaluate(SEEN_AT_WORK) == [".agent.busy", ".step.working"]
        run = await found(server, run_id)
        result = page.get_by_role("tabpanel", name="Result")  # it is shown when there is one
        assert "Tea is grown in Assam." in await result.inner_text()
        quotes = await result.locator(".evidence blockquote").all_inner_texts()
        assert quotes == [one["quote"] for one in run["result"]["evidence"]]
        await shown_as_it_is(page, run)
        assert await page.evaluate("window.neverReloaded")
        assert seen.errors == []
        assert seen.hosts == {server.address.removeprefix("http://")}


async def shown_as_it_is(page: Page, run: dict[str, Any]) -> None:
    """Plan, ratings, cost and timeline as the tool tells them."""
    await page.get_by_role("tab", name="At work").click()
    steps = await page.locator(".step").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    for part in run["plan"]["parts"]:
        assert any(step.lower().startswith(f"{part['id']}, done") for step in steps), steps
    assert await page.locator(".step.working, .step.waiting").count() == 0
    assert await page.locator("path.wire").count() >= len(steps) - 1
    ratings = await text_of(page, "Ratings")
    for one in run["result"]["compared"]:
        for criterion, mean in one["criteria"].items():
            assert criterion in ratings
            assert f"{mean:.1f}" in ratings
    cost = await text_of(page, "Cost")
    spent = run["usage"]["input_tokens"] + run["usage"]["output_tokens"]
    assert f"{spent / 1000:.0f}k of 900k" in cost
    assert str(run["usage"]["turns"]) in cost
    await page.get_by_role("tab", name="Timeline").click()
    assert await page.locator(".event").count() == len(run["events"])


async def test_a_run_is_cancelled_once_one_is_sure(server: Board, browser: Browser) -> None:
    run_id = await begin(server, "Stop this one.", approve_plan=True)
    async with browser.page() as (page, seen):
        await sign_in(page, server)
        await page.get_by_role("button", name="Stop this one.").click()
        await page.get_by_role("button", name="Cancel the run").click()
        await page.get_by_role("button", name="Let it go on").click()
        assert (await found(server, run_id))["status"] != "cancelled"
        await page.get_by_role("button", name="Cancel the run").click()
        await page.get_by_role("alertdialog").get_by_role("button", name="Cancel the run").click()
        await page.locator(".pill.cancelled").wait_for()
        assert (await found(server, run_id))["status"] == "cancelled"
        assert await page.get_by_role("button", name="Cancel the run").count() == 0
        assert seen.errors == []


async def test_everything_can_be_done_by_keyboard(server: Board, browser: Browser) -> None:
    first, second = (
        await begin(server, "Keys one", approve_plan=True),
        await begin(server, "Keys two", approve_plan=True),
    )
    async with browser.page() as (page, _):

        async def focused() -> str:
            told = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
            return (await page.evaluate(told)).partition("\n")[0]

        async def tab_to(name: str) -> None:
            for _ in range(40):
                if (await focused()).startswith(name):
                    return
                await page.keyboard.press("Tab")
            raise AssertionError(f"{name} is not reached")

        await page.goto(f"{server.address}/board")
        await page.locator("input:focus").wait_for()  # by itself, but only when the page has been drawn
        await page.keyboard.type(server.key)
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Keys two").wait_for()
        await tab_to("Keys two")
        await page.keyboard.press("ArrowDown")
        assert await focused() == "Keys one"
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Keys one").wait_for()
        assert await focused() == "Keys one"
        await page.get_by_role("button", name="approve").wait_for()
        await tab_to("At work")
        for name in (*TABS[1:], TABS[-1]):  # at the last one it stays
            await page.keyboard.press("ArrowRight")
            assert await focused() == name
            assert await page.get_by_role("tabpanel", name=name).is_visible()
        await page.keyboard.press("Home")
        await tab_to("Plan, waits for an answer")
        await page.keyboard.press("ArrowRight")
        assert (await focused()).endswith(", waiting")
        await page.keyboard.press("Escape")
        await page.get_by_role("heading", name="Runs", exact=True).wait_for()
        assert await focused() == "Keys one"
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="approve").wait_for()
        await tab_to("reject")
        await page.keyboard.press("Enter")
        await page.locator(".pill.cancelled, .pill.completed, .pill.failed").wait_for()
        assert "reject" in str((await found(server, first))["events"])
        async with client_of(server) as client:
            await call(client, "cancel_run", run_id=second)


async def test_who_may_only_look_is_offered_nothing_else(
    server: Board, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_HOME", str(server.home))
    owner = await keys("create", "owner", "--scope", "read,chat")
    looker = await keys("create", "looker", "--scope", "read", "--for", "owner")
    run_id = await begin(server, "Look at this.", owner, approve_plan=True)
    async with browser.page() as (page, _):
        await sign_in(page, server, looker)
        await page.get_by_role("button", name="Look at this.").click()
        await page.get_by_text("Your key may look but not answer.").wait_for()
        assert await page.get_by_role("button", name="approve").count() == 0
        assert await page.get_by_role("button", name="Cancel the run").count() == 0
    async with client_of(server, owner) as client:
        await call(client, "cancel_run", run_id=run_id)


CONTRAST = """() => {
  const luminance = (colour) => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    const colour = node && getComputedStyle(node).backgroundColor;
    return !node ? 'white' : colour === 'rgba(0, 0, 0, 0)' ? behind(node.parentElement) : colour;
  };
  return [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility() && !node.closest('.sr, svg')
      && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())).map((node) => {
    const [a, b] = [luminance(getComputedStyle(node).color), luminance(behind(node))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), node.className, node.textContent.slice(0, 40)];
  }).filter(([ratio]) => ratio < 4.5);
}"""


async def test_light_and_dark_differ_and_can_both_be_read_also_in_a_narrow_window(
    server: Board, browser: Browser
) -> None:
    run_id = await begin(server, "Where is tea grown, in a window of any kind? " + "x" * 300)
    async with client_of(server) as client:
        while (await call(client, "get_run", run_id=run_id, wait_seconds=20, since=9_999))["status"] != "completed":
            pass
    grounds: set[str] = set()
    for scheme in ("light", "dark"):
        async with browser.page(color_scheme=scheme, viewport={"width": 360, "height": 740}) as (page, seen):
            await page.goto(f"{server.address}/board")
            assert await page.evaluate(CONTRAST) == []
            await sign_in(page, server)
            await page.get_by_role("button", name="Where is tea grown, in a window").wait_for()
            assert (await page.evaluate(CONTRAST), await overflow(page)) == ([], 0)
            await page.goto(f"{server.address}/board#{run_id}")
            await page.locator(".pill.completed").wait_for()
            for tab in TABS:
                await page.get_by_role("tab", name=tab).click()
                assert (await page.evaluate(CONTRAST), await overflow(page)) == ([], 0), tab
            grounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert seen.errors == []
    assert len(grounds) == 2


async def test_a_session_that_has_ended_is_told_with_the_way_back_in(server: Board, browser: Browser) -> None:
    async with browser.page() as (page, _):
        await sign_in(page, server)
        await page.context.clear_cookies()
        notice = page.get_by_role("alert").filter(has_text="Your session has ended.")
        await notice.wait_for()
        await notice.get_by_role("link", name="Sign in again").click()
        await page.get_by_label("Key").wait_for()
