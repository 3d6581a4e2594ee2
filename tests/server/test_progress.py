"""What a client hears while it waits: one line an event, with how far the run is and what it has cost."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client

from atlas_mcp.model.plan import Plan
from atlas_mcp.model.run import Event, Run
from atlas_mcp.model.usage import Usage
from atlas_mcp.server import create_server, progress
from atlas_mcp.server.narration import LONGEST_LINE, Narration
from tests.server.doors import ERAS

if TYPE_CHECKING:
    from atlas_mcp.atlas import Atlas
    from tests.scripted_model import ScriptedModel

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLAN = Plan.model_validate({"parts": [{"id": str(n), "team": f"team{n}", "task": "work"} for n in range(4)]})


def run(*events: tuple[str, str], first: int = 1, plan: Plan | None = PLAN, **usage: Any) -> Run:
    told = [
        Event(seq=seq, at=NOW, actor="a", type=kind, text=text) for seq, (kind, text) in enumerate(events, start=first)
    ]
    return Run(
        run_id="r",
        status="working",
        goal="g",
        plan=plan,
        events=told,
        usage=Usage(**usage),
        created_at=NOW,
        updated_at=NOW,
    )


def test_a_line_says_what_happened_how_far_it_is_and_what_it_cost() -> None:
    narration = Narration()
    told = narration.lines(run(("planned", "Four teams."), ("part_finished", "team1 is done"), cost_usd=0.03))
    assert told == ["Four teams; 0 of 4 teams done; $0.03", "team1 is done; 1 of 4 teams done; $0.03"]
    more = [("part_finished", "team2 is done"), ("turn_finished", "web_researcher found 3 sources.")]
    told = narration.lines(run(*more, first=3, cost_usd=0.1249))
    assert told[1] == "web_researcher found 3 sources; 2 of 4 teams done; $0.12"


def test_what_has_no_price_is_counted_in_tokens_and_what_is_not_known_is_left_out() -> None:
    told = Narration().lines(run(("turn_finished", "done"), plan=None, input_tokens=1_000, output_tokens=234))
    assert told == ["done; 1,234 tokens"]
    assert Narration().lines(run(("asked", "begun"), plan=None)) == ["begun"]
    assert Narration().lines(run(("asked", "begun"), plan=None, cost_usd=0.001)) == ["begun; less than $0.01"]
    one = Plan.model_validate({"parts": [{"id": "a", "team": "t", "task": "w"}]})
    assert Narration().lines(run(("asked", "begun"), plan=one)) == ["begun"]


def test_who_comes_later_is_told_nothing_wrong() -> None:
    assert Narration().lines(run(("part_finished", "team2 is done"), first=9)) == ["team2 is done"]


def test_a_long_text_of_many_lines_becomes_one_line() -> None:
    [line] = Narration().lines(run(("said", "word\n\tword " * 200), plan=None))
    assert "\n" not in line
    assert len(line) <= LONGEST_LINE
    assert line.startswith("word word word")


@pytest.mark.parametrize("era", list(ERAS))
async def test_a_waiting_client_hears_the_story_and_signs_of_life(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch, era: str
) -> None:
    heard: list[tuple[float, str]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message or ""))

    async with Client(create_server(atlas, transport="stdio"), mode=ERAS[era]) as client:
        arguments = {"goal": "Where is tea grown?", "materials": [{"name": "tea", "text": "Tea grows in Assam."}]}
        result = await client.call_tool("run_team_task", arguments, progress_callback=hear)
        assert not result.is_error
    assert [number for number, _ in heard] == sorted({number for number, _ in heard})
    said = [text for _, text in heard]
    assert any(re.fullmatch(r"document_researcher found .*; [\d,]+ tokens", text) for text in said), said


async def test_while_nothing_happens_there_are_signs_of_life(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.05)
    scripted_model.hold()
    beats = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        if re.search(r"librarian is thinking \(still working, \d+ s\)", message or ""):
            beats.set()

    async with (
        open_atlas(load_settings()) as atlas,
        Client(create_server(atlas, transport="stdio")) as client,
        anyio.create_task_group() as group,
    ):
        chat = {"agent": "librarian", "message": "Hello?"}
        group.start_soon(lambda: client.call_tool("chat_with_agent", chat, progress_callback=hear))
        with anyio.fail_after(90):
            await beats.wait()
        scripted_model.release()


def test_there_is_a_sign_of_life_at_least_every_ten_seconds() -> None:
    assert progress.HEARTBEAT_SECONDS < 10
