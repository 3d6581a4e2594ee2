"""Runs told from their journal: as text, and as one HTML file that nothing can be smuggled into."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from io import StringIO
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from rich.console import Console

from atlas_mcp.atlas import open_atlas
from atlas_mcp.cli.report import report
from atlas_mcp.cli.report_html import as_html
from atlas_mcp.cli.report_text import as_text
from atlas_mcp.cli.turns_done import bars
from atlas_mcp.model.plan import Plan
from atlas_mcp.model.result import Check, Cited, Missing, Rating, Result, Round
from atlas_mcp.model.run import Event, Run
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.model.usage import Usage
from atlas_mcp.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><link rel=stylesheet href=//evil.example>",
    "' onmouseover='alert(1)",
    "<!-- --><iframe src=//evil.example></iframe>",
    "\x1b]0;owned\x07\x1b[2J",
    "safe \u202egnp.exe",
    "[bold red]markup[/]",
]


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def event(seq: int, seconds: float, actor: str, type: str, text: str, turn: str | None = None) -> Event:
    return Event(seq=seq, at=at(seconds), actor=actor, type=type, text=text, turn_id=turn)


def a_run(text: str = "Tea grows in Assam.", **more: Any) -> Run:
    """A run of two workers, one of whom fails, with `text` in every place that somebody else writes."""
    events = [
        event(1, 0, "caller", "run_queued", text),
        event(2, 1, "web_researcher", "turn_started", f"web_researcher works on: {text}", "t1"),
        event(3, 2, "strategist", "turn_started", f"strategist works on: {text}", "t2"),
        event(4, 4, "web_researcher", "turn_finished", f"web_researcher found {text}", "t1"),
        event(5, 6, "strategist", "worker_failed", f"strategist delivered nothing: {text}"),
        event(6, 8, "librarian", "learned", text),
        event(7, 10, "atlas", "run_completed", "Completed."),
    ]
    ratings = [
        Rating(criterion=f"clear {text}", score=score, reason=text, rater=text, round=number)
        for number, score in ((1, 2.0), (1, 3.0), (2, 4.5))
    ]
    result = Result(
        output=text,
        evidence=[Cited(claim=text, source=text, quote=text)],
        ratings=ratings,
        rounds=2,
        best_round=2,
        passed=True,
        missing=[Missing(agent="strategist", what=text, why=text)],
        disagreements=[text],
        checks=[Check(name=text, passed=False, text=text)],
        compared=[Round(round=1, mean=2.5, checks_failed=3), Round(round=2, mean=4.5, changed=text)],
        stopped=text,
        notes=[text],
    )
    plan = Plan.model_validate({"parts": [{"id": "a", "team": "research", "task": text}], "summary": text})
    fields: dict[str, Any] = {
        "run_id": "run_1",
        "status": "completed",
        "goal": text,
        "plan": plan,
        "events": events,
        "result": result,
        "usage": Usage(turns=2, input_tokens=1_200, output_tokens=30, cost_usd=0.1234),
        "note": text,
        "created_at": BEGAN,
        "updated_at": at(10),
    }
    return Run(**{**fields, **more})


def printed(run: Run) -> str:
    out = StringIO()
    Console(file=out, width=160).print(as_text(report(run, at(10))))
    return out.getvalue()


class Page(HTMLParser):
    """What a browser would see of a page: its tags with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_report_says_what_there_was() -> None:
    text = printed(a_run())
    for said in (
        "0.1234",
        "1,200 tokens in",
        "research",
        "round 2 (best)",
        "2.50",
        "4.50",
        "ended early",
        "checks that failed",
    ):
        assert said in text, said
    for title in ("At a glance", "The plan", "Who did what, when", "The evidence", "What was learned", "The journal"):
        assert title in text, title
    assert Page(as_html(report(a_run(), at(10)))).text.count("Tea grows in Assam.") > 10


def test_each_turn_is_a_bar_as_long_as_it_took_and_says_how_it_ended() -> None:
    found = [(bar.actor, bar.start, bar.seconds, bar.outcome) for bar in bars(a_run(), at(10))]
    assert found == [("web_researcher", 1.0, 3.0, "done"), ("strategist", 2.0, 4.0, "failed")]


@pytest.mark.parametrize(("status", "outcome"), [("working", "at work"), ("cancelled", "unfinished")])
def test_a_turn_without_an_end_lasts_as_long_as_the_run(status: str, outcome: str) -> None:
    run = a_run(status=status, events=a_run().events[:3], result=None)
    assert [(bar.seconds, bar.outcome) for bar in bars(run, at(10))] == [(9.0, outcome), (8.0, outcome)]
    assert f"{outcome}: strategist works on" in printed(run)


def test_two_turns_of_one_agent_at_once_are_told_apart() -> None:
    events = [
        event(1, 0, "w", "turn_started", "one", "t1"),
        event(2, 1, "w", "turn_started", "two", "t2"),
        event(3, 2, "w", "turn_finished", "two is done", "t2"),
        event(4, 9, "w", "turn_finished", "one is done", "t1"),
    ]
    assert [(b.start, b.seconds) for b in bars(a_run(events=events), at(10))] == [(0.0, 9.0), (1.0, 1.0)]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_shown_as_text_and_nothing_else(text: str) -> None:
    harmless, page = Page(as_html(report(a_run(), at(10)))), Page(as_html(report(a_run(text), at(10))))
    assert page.tags == harmless.tags
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text
    shown = printed(a_run(text))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    if text.startswith("["):
        assert text in shown


def test_the_page_needs_no_network_and_lets_nothing_run() -> None:
    page = as_html(report(a_run("see https://example.org/x.png"), at(10)))
    tags = Page(page).tags
    assert not [attrs for _, attrs in tags if {"src", "href", "onload", "onclick"} & attrs.keys()]
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in tags}
    assert "url(" not in page
    assert "@import" not in page
    [policy] = [attrs["content"] for _, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in page


# -- from the command line


def runs(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atlas_mcp", "runs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def done() -> Run:
    """A finished team task in the home."""

    async def work() -> Run:
        async with open_atlas(load_settings()) as atlas:
            task = TeamTask(goal="Where is tea grown?", materials=(Material(name="tea", text="Tea grows in Assam."),))
            return await atlas.run_team_task(atlas.local_caller(), task)

    run = anyio.run(work)
    assert run.status == "completed"
    return run


def test_a_finished_run_is_listed_and_told(done: Run, tmp_path: Path) -> None:
    listed = runs("list")
    assert listed.returncode == 0, listed.stderr
    assert done.run_id in listed.stdout
    assert runs("list", "--status", "failed").stdout.strip() == "There are none."

    told = runs("show", done.run_id)
    assert told.returncode == 0, told.stderr
    assert "Assam" in told.stdout
    assert "Who did what, when" in told.stdout
    assert "global_supervisor" in told.stdout

    page = tmp_path / "run.html"
    written = runs("show", done.run_id, "--html", str(page))
    assert written.returncode == 0, written.stderr
    seen = Page(page.read_text(encoding="utf-8"))
    assert "Where is tea grown?" in seen.text
    assert sum(tag == "section" for tag, _ in seen.tags) >= 6


def test_what_cannot_be_shown_is_told_in_one_line(tmp_path: Path, done: Run) -> None:
    for arguments, named in [
        (("show", "run_nothere"), "run_nothere"),
        (("show", done.run_id, "--http"), done.run_id),
        (("list", "--status", "lost"), "lost"),
        (("show", done.run_id, "--html", str(tmp_path / "no" / "run.html")), "--html"),
    ]:
        refused = runs(*arguments)
        assert refused.returncode == 2, arguments
        assert named in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_telling_runs_takes_nobodys_work_over() -> None:
    """A run that waits for another process is listed by this one, and left alone."""

    async def begun() -> str:
        async with open_atlas(load_settings()) as atlas:
            await atlas.drain(0)  # nothing begins here any more, so that it stays queued
            task = TeamTask(goal="Where is tea grown?", materials=(Material(name="tea", text="Tea grows in Assam."),))
            return (await atlas.run_team_task(atlas.local_caller(), task, wait_seconds=0)).run_id

    run_id = anyio.run(begun)
    for _ in range(2):
        listed = runs("list", "--status", "queued")
        assert run_id in listed.stdout, listed.stderr


def test_old_runs_are_thrown_away(done: Run) -> None:
    assert runs("prune").stdout.startswith("0 runs deleted")
    assert runs("prune", "--older-than", "0d", "--keep", "1").stdout.startswith("0 runs deleted")
    gone = runs("prune", "--older-than", "0h")
    assert gone.stdout.startswith("1 runs deleted, which held "), gone.stderr
    assert runs("list").stdout.strip() == "There are none."
    assert runs("show", done.run_id).returncode == 2


@pytest.mark.parametrize("text", ["", "30", "-1d", "1.5d"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    refused = runs("prune", f"--older-than={text}")
    assert refused.returncode == 2
    assert "--older-than" in refused.stderr
    assert "30d" in refused.stderr
