"""A host that shows pages: the protocol's own AppBridge, with the page in a sandboxed frame as hosts have it.

The bridge comes from npm and is bundled for the browser; the host's page is handed to the browser without any network.
"""

from __future__ import annotations

import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.npm import MODULES, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from playwright.async_api import FrameLocator, Page

    from tests.board.browser import Browser, Seen

    Call = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]

PACKAGES = ("@modelcontextprotocol/ext-apps", "rolldown")
_ADDRESS = "http://host.test/"
_POLICY = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"  # for the frame too
_ENTRY = 'export { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";'
_PAGE = """<!doctype html><meta charset="utf-8"><style>body { margin: 0 } iframe { border: 0; width: 100% }</style>
<iframe id="app" sandbox="allow-scripts" title="app"></iframe><script src="bridge.js"></script><script>
const frame = document.getElementById("app"), told = { heights: [] };
const bridge = new mcpApps.AppBridge(null, { name: "host", version: "1" }, { serverTools: {} },
  { hostContext: { theme: "light", displayMode: "inline", platform: "desktop" } });
bridge.oncalltool = (params) => callTool(params.name, params.arguments ?? {});
bridge.onsizechange = ({ height }) => { told.heights.push(height); frame.style.height = `${height}px`; };
const show = (html) => new Promise((ready) => {
  bridge.oninitialized = () => ready();
  const within = frame.contentWindow;
  bridge.connect(new mcpApps.PostMessageTransport(within, within)).then(() => { frame.srcdoc = html; });
});
</script>"""


def bundled(folder: Path) -> str:
    """The AppBridge and what it needs, as one script that defines `mcpApps`."""
    entry = folder / "entry.mjs"
    entry.write_text(_ENTRY, encoding="utf-8")
    (folder / "node_modules").symlink_to(MODULES)
    options = ["--platform", "browser", "--format", "iife", "--name", "mcpApps", "--file", str(folder / "bridge.js")]
    subprocess.run(
        [*program("rolldown", "rolldown"), str(entry), *options], check=True, capture_output=True, cwd=folder
    )
    return (folder / "bridge.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Host:
    """The host's page, with ours in its frame."""

    page: Page
    seen: Seen
    app: FrameLocator

    async def say(self, what: str, told: dict[str, Any]) -> None:
        """Have the bridge say something to the page: sendToolInput, sendToolResult, sendHostContextChange."""
        await self.page.evaluate(f"(told) => bridge.{what}(told)", told)

    async def within(self, expression: str) -> Any:
        """What an expression gives within the frame."""
        return await self.app.locator(":root").evaluate(f"() => {expression}")


@asynccontextmanager
async def hosted(browser: Browser, bridge: str, html: str, call: Call, **options: Any) -> AsyncIterator[Host]:
    """A host that shows `html`, and answers its calls of tools with `call`."""
    async with browser.page(**options) as (page, seen):

        async def answer(route: Any) -> None:
            if route.request.url == _ADDRESS:
                headers = {"Content-Security-Policy": _POLICY}
                await route.fulfill(body=_PAGE, content_type="text/html", headers=headers)
            elif route.request.url == f"{_ADDRESS}bridge.js":
                await route.fulfill(body=bridge, content_type="text/javascript")
            else:
                await route.abort()

        await page.context.route("**/*", answer)
        await page.expose_function("callTool", call)
        await page.goto(_ADDRESS)
        seen.asked.clear()
        await page.evaluate("(html) => show(html)", html)
        yield Host(page, seen, page.frame_locator("#app"))
