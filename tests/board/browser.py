"""A real browser, as the machine has it: nothing is ever downloaded. Without one these suites are skipped by name."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser as Chromium
    from playwright.async_api import BrowserContext, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",  # the tests may run as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 180_000
"""Milliseconds until a test gives up waiting for what it waits for."""

NOTE_WORK = """(() => {
  window.seenAtWork = new Set();
  const note = () => ['.agent.busy', '.step.working'].forEach((one) => {
    if (document.querySelector(one)) window.seenAtWork.add(one);
  });
  new MutationObserver(note).observe(document.body, {subtree: true, childList: true, attributes: true});
})()"""
"""Has the page note what it shows while agents are at work: that is over sooner than a busy machine looks."""
SEEN_AT_WORK = "[...window.seenAtWork].sort()"

CHROMIUM = os.environ.get("ATLAS_TEST_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="board: Chromium is not installed")


@dataclass(frozen=True)
class Board:
    """Where a board is served, its key, and its home."""

    address: str
    key: str
    home: Path


@dataclass
class Seen:
    """What a page complained of, and whom it asked."""

    errors: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])

    @property
    def hosts(self) -> set[str]:
        """The hosts that were asked; what stands in the page itself is asked of nobody."""
        return {urlsplit(url).netloc for url in self.asked if not url.startswith(("data:", "blob:", "about:"))}


@dataclass(frozen=True)
class Browser:
    """Gives pages, each in a profile of its own."""

    chromium: Chromium

    @asynccontextmanager
    async def page(self, **options: Any) -> AsyncIterator[tuple[Page, Seen]]:
        """A page, and what is seen of it; `options` are those of a browser context."""
        options = {"viewport": {"width": 1180, "height": 860}, "locale": "en-GB", "timezone_id": "UTC", **options}
        context = await self.chromium.new_context(**options)
        context.set_default_timeout(PATIENCE)
        try:
            yield await _watched(context)
        finally:
            await context.close()


async def _watched(context: BrowserContext) -> tuple[Page, Seen]:
    page, seen = await context.new_page(), Seen()
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("console", lambda told: seen.errors.append(told.text) if told.type in {"error", "warning"} else None)
    context.on("request", lambda request: seen.asked.append(request.url))
    return page, seen


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Chromium without a window, until the block is left."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        try:
            yield Browser(chromium)
        finally:
            await chromium.close()


async def sign_in(page: Page, board: Board, key: str | None = None) -> None:
    """Come in by the front door, with a key that opens it; then the runs are shown."""
    await page.goto(f"{board.address}/board")
    await page.get_by_label("Key").fill(key or board.key)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Runs", exact=True).wait_for()


async def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
