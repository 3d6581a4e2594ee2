"""What a run may contain must not harm the page: markup, endless words, other scripts, very much of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.server.board.page import board_page
from tests.board.browser import needs_chromium
from tests.board.host import PACKAGES, Host, hosted
from tests.npm import needs

if TYPE_CHECKING:
    from tests.board.browser import Browser

pytestmark = [pytest.mark.anyio, needs_chromium, *map(needs, PACKAGES)]

EVIL = "<img src=x onerror=\"window.owned=1\"><script>window.owned=1</script></style><b id='injected'>javascript:x()"
WORD = "W" * 4_000
ARABIC = "ما هي أفضل قاعدة بيانات؟ \u202e<script>owned=1</script>"
AT = "2026-11-22T03:00:00Z"
TABS = ("At work", "Result", "Ratings", "Cost", "Timeline")


def hostile_run(text: str, *, parts: int = 3, events: int = 6, **more: Any) -> dict[str, Any]:
    """A run of which every text is `text`; each part depends on three before it, on one that is not there, and on
    itself."""
    plan = [
        {"id": f"{text}{n}", "team": text, "task": text, "depends_on": [f"{text}{k}" for k in (n // 2, n - 5, n, -7)]}
        for n in range(parts)
    ]
    told = [
        {
            "seq": n + 1,
            "at": AT,
            "actor": text,
            "type": kind,
            "text": f"{text} {n}",
            "turn_id": f"t{n // 2}",
            "data": {},
        }
        for n in range(events)
        for kind in [("turn_started", "turn_finished", "part_started", "rated", text)[n % 5]]
    ]
    rating = {
        "criterion": text,
        "score": 4.5,
        "reason": text,
        "rater": text,
        "round": 1,
        "section": text,
        "quote": text,
    }
    result = {
        "output": f"# {text}\n\n{text}\n\n- {text}\n\n```\n{text}\n```\n\n> {text}\n\n**{text}** `{text}` [{text}]",
        "evidence": [{"claim": text, "source": text, "quote": text}],
        "ratings": [rating],
        "compared": [{"round": 1, "mean": 4.5, "criteria": {text: 4.5}, "changed": text}],
        "checks": [{"name": text, "passed": False, "text": text}],
        "missing": [{"agent": text, "what": text, "why": text}],
        **{name: [text] for name in ("disagreements", "unmet", "notes")},
        "learned": [{"text": text}],
        "rounds": 1,
        "best_round": 1,
        "passed": True,
        "stopped": text,
    }
    question = {
        "id": "q",
        "asked_by": text,
        "kind": "text",
        "text": text,
        "options": [text],
        "words": text,
        "safe": text,
    }
    return {
        "run_id": "run_1",
        "kind": "team_task",
        "status": "awaiting_answer",
        "goal": text,
        "plan": {"summary": text, "mode": "hierarchy", "complexity": text, "parts": plan, "debaters": []},
        "progress": {"done": 1, "total": 2, "text": text},
        "events": told,
        "question": question | {"deadline": AT},
        "result": result,
        "reply": text,
        "usage": {"turns": 1, "input_tokens": 1, "output_tokens": 1, "cost_usd": None},
        "budget": {"usd": 0, "tokens": 10, "turns": None, "seconds": 5},
        "error": text,
        "note": text,
        "created_at": AT,
        "updated_at": AT,
        **more,
    }


async def shown(host: Host, run: dict[str, Any]) -> None:
    """The page with that run, opened."""
    await host.say("sendToolResult", {"content": [], "structuredContent": run})
    await host.app.locator(".run .goal").wait_for()
    await host.app.locator(".pill").first.wait_for()


def answering(run: dict[str, Any]) -> Any:
    """A server that has this one run; it has no news after the first time."""

    async def answer(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        told = {**run, "events": [event for event in run["events"] if event["seq"] > arguments.get("since", 0)]}
        given = {"list_runs": {"runs": [{**run, "events": []}], "next_cursor": None}, "get_run": told}
        agents = [{"name": run["goal"], "team": run["goal"]}]
        return {"content": [], "structuredContent": given.get(name, {"agents": agents})}

    return answer


@pytest.mark.parametrize("text", [EVIL, WORD, ARABIC], ids=["markup", "a long word", "right to left"])
async def test_a_text_stays_a_text_wherever_it_stands(browser: Browser, bridge: str, text: str) -> None:
    ended = hostile_run(text, status="completed", question=None)
    small = {"width": 360, "height": 740}
    for run in (hostile_run(text), ended):
        async with hosted(browser, bridge, board_page(), answering(run), viewport=small) as host:
            await host.app.locator(".run-row").wait_for()
            assert await _wider(host) == 0
            await shown(host, run)
            for tab in TABS:
                await host.app.get_by_role("tab", name=tab).click()
                for voices in await host.app.locator("summary:visible").all():
                    await voices.click()
                assert await _wider(host) == 0, tab
                foreign = "document.querySelector('.run img, .run script, .run #injected, .run a')"
                assert await host.within(f"[window.owned, {foreign}]") == [None, None]
            assert host.seen.errors == []
            assert host.seen.hosts == set()


async def _wider(host: Host) -> int:
    return await host.within("document.documentElement.scrollWidth - document.documentElement.clientWidth")


BOXES = """[...document.querySelectorAll('.step')].map((step) => {
  const box = step.querySelector('.box'), [x, y] = step.getAttribute('transform').match(/[-\\d.]+/g).map(Number);
  return [x, y, x + Number(box.getAttribute('width')), y + Number(box.getAttribute('height'))];
})"""


@pytest.mark.parametrize("width", [1180, 360])
async def test_a_plan_of_200_parts_is_drawn_without_two_boxes_on_each_other(
    browser: Browser, bridge: str, width: int
) -> None:
    run = hostile_run("part", parts=200)
    async with hosted(browser, bridge, board_page(), answering(run), viewport={"width": width, "height": 800}) as host:
        await shown(host, run)
        await host.app.locator(".step").nth(200).wait_for()
        boxes: list[list[float]] = await host.within(BOXES)
        assert len(boxes) > 200
        for n, (left, top, right, bottom) in enumerate(boxes):
            for other in boxes[n + 1 :]:
                assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
        assert await _wider(host) == 0
        assert host.seen.errors == []


async def test_a_journal_of_500_events_is_told_whole_and_only_once(browser: Browser, bridge: str) -> None:
    run = hostile_run("agent", events=500)
    async with hosted(browser, bridge, board_page(), answering(run)) as host:
        await shown(host, run)
        await host.app.get_by_role("tab", name="Timeline").click()
        await host.app.locator(".event").nth(499).wait_for()
        assert await host.app.locator(".event").count() == 500
        first = await host.app.locator(".event-text").first.inner_text()
        assert first.endswith("499")
