"""`atlas-mcp report`: the state of the house, on the terminal, as HTML and as Markdown, from the record alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import anyio
import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from atlas_mcp.atlas import open_atlas
from atlas_mcp.cli.app import app, run
from atlas_mcp.cli.plot import Plot, blocks, svg
from atlas_mcp.cli.report_html import as_html
from atlas_mcp.cli.report_markdown import as_markdown
from atlas_mcp.cli.state_report import state_report
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.house_state import HouseState
from atlas_mcp.model.task import TeamTask
from atlas_mcp.settings import load_settings
from atlas_mcp.store.quality_tables import sample
from atlas_mcp.store.record import Record
from atlas_mcp.watch.alerts import rows
from atlas_mcp.watch.alerts.rules import Finding
from atlas_mcp.watch.house_state import house_state
from tests.health.conftest import NOON, add_task, add_turns, rated, spend

pytestmark = pytest.mark.anyio
ME = Caller(id="local:me")
SECONDS = 200
HOSTILE = "<script>alert(1)</script> | a *goal* \u202e of `mine`"


async def a_busy_day(record: Record) -> HouseState:
    """What happened until noon, and what is not of the day."""
    await add_task(record, "run_mine", at=NOON - timedelta(hours=3), status="completed", result=rated(4.2),
                   updated_at=NOON - timedelta(hours=2), goal=HOSTILE)  # fmt: skip
    await add_task(record, "run_yours", at=NOON - timedelta(hours=2), caller="local:you")
    await add_task(record, "run_old", at=NOON - timedelta(days=2), status="failed")
    await add_turns(record, ["done", "done", "failed"], at=NOON - timedelta(hours=2), run_id="run_mine", seconds=4)
    await add_turns(record, ["done"], at=NOON - timedelta(hours=1), agent="content_writer")
    await add_turns(record, ["done"], at=NOON - timedelta(days=2), agent="nobody_lately")
    started = NOON - timedelta(hours=2)
    for number, usd in ((0, 0.25), (1, 0.5)):
        await spend(record, usd, run_id="run_mine", turn=f"turn-{started:%d%H%M%S}-{number}-run_mine")
    later = NOON - timedelta(hours=1)
    await spend(record, None, turn=f"turn-{later:%d%H%M%S}-0-None", model="ollama/unpriced", tokens=70)  # pyright: ignore[reportArgumentType]
    figures = [
        {"at": NOON - timedelta(minutes=number), "process": process, "name": name, "value": value}
        for number in range(1, 300)
        for process, name, value in (
            ("one", "memory_bytes", 100.0 * (1 << 20)),
            ("two", "memory_bytes", 50.0 * (1 << 20)),
            ("one", "error_rate", 0.25),
            ("two", "error_rate", 0.25),
        )
    ]
    async with record.write() as db:
        await db.execute(insert(sample), figures)
    found = [
        Finding("quality", "run_mine", "Team task run_mine was rated low.", 3.0, 3.5, "local:me", "run_mine", "tr-1")
    ]
    await rows.settle(record, found, {"quality"}, NOON - timedelta(minutes=5))
    return await house_state(record, ME, NOON - timedelta(days=1), NOON)


async def test_the_state_of_a_day_is_what_was_recorded_in_it(record: Record) -> None:
    state = await a_busy_day(record)
    assert {(one.kind, one.status): one.runs for one in state.runs} == {
        ("team_task", "completed"): 1,
        ("team_task", "working"): 1,
    }
    mine = next(one for one in state.tasks if one.run_id == "run_mine")
    yours = next(one for one in state.tasks if one.run_id == "run_yours")
    assert (mine.goal, mine.seconds, mine.usd, mine.turns, mine.rating) == (HOSTILE, 3600, 0.75, 2, 4.2)
    assert (yours.goal, yours.seconds, yours.rating) == (None, 7200, None)
    librarian, writer = state.agents
    assert (librarian.agent, librarian.turns, librarian.failed, librarian.median) == ("librarian", 3, 1, 4.0)
    assert (librarian.usd, librarian.tokens, librarian.unpriced_tokens) == (0.75, 200, 0)
    assert (writer.usd, writer.tokens, writer.unpriced_tokens) == (0, 70, 70)
    priced = {one.model: (one.usd, one.tokens, one.unpriced_tokens) for one in state.models}
    assert priced == {"openai/scripted-1": (0.75, 200, 0), "ollama/unpriced": (0.0, 70, 70)}
    assert [one.run_id for one in state.alerts] == ["run_mine"]
    memory = next(one for one in state.health if one.name == "memory_bytes")
    assert {round(point.value / (1 << 20)) for point in memory.points} == {150}, "two processes' memory is their sum"
    errors = next(one for one in state.health if one.name == "error_rate")
    assert {point.value for point in errors.points} == {0.25}, "of what they both see it is the mean"
    assert len(errors.points) <= 121
    assert state.record_bytes > 0


class _Tags(HTMLParser):
    """Checks that every element is closed in its order, and keeps which there are."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_is_whole_and_runs_nothing_that_a_caller_wrote(record: Record) -> None:
    page = as_html(state_report(await a_busy_day(record)))
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in page
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawn) == 2
    for image in drawn:
        root = ET.fromstring(image)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        [line] = [part for part in root if part.tag == "polyline"]
        for x, y in (pair.split(",") for pair in line.attrib["points"].split()):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height


async def test_markdown_has_the_same_parts_and_its_tables_stay_tables(record: Record) -> None:
    told = state_report(await a_busy_day(record))
    text = as_markdown(told)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "At a glance",
        "Runs",
        "Team tasks",
        "Agents",
        "Models",
        "Alerts",
        "Memory",
        "Turns of the last hour that failed",
        "Memory of the processes",
    ]
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table
    assert "<script>" not in text
    assert "\u202e" not in text
    assert "150 MB to 150 MB" in text


def test_a_plot_shows_gaps_and_keeps_to_its_scale() -> None:
    points = [(NOON + timedelta(minutes=m), float(m % 7)) for m in range(60) if not 20 <= m < 40]
    plot = Plot(NOON, NOON + timedelta(hours=1), tuple(points))
    assert plot.most == 10.0
    root = ET.fromstring(svg(plot, "What & why"))
    assert len([part for part in root if part.tag == "polyline"]) == 2, "the line is broken where nothing was measured"
    assert blocks(plot, width=6)[2:4] == "  "
    alone = ET.fromstring(svg(Plot(NOON, NOON + timedelta(hours=1), ((NOON, 0.0),)), "one"))
    assert [part.tag for part in alone].count("circle") == 1


@pytest.mark.parametrize(
    ("highest", "most"), [(0.0, 1.0), (0.03, 0.05), (1.0, 1.0), (1.5, 2.0), (7.0, 10.0), (200.0, 200.0), (201.0, 500.0)]
)
def test_a_scale_ends_at_a_round_number(highest: float, most: float) -> None:
    assert Plot(NOON, NOON + timedelta(hours=1), ((NOON, highest),)).most == pytest.approx(most)


async def test_the_command_tells_a_house_that_is_at_work_and_writes_what_it_is_told_to(
    home: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with open_atlas(load_settings()) as atlas:
            run = await atlas.run_team_task(atlas.local_caller(), TeamTask(goal="How was the light kept?"))
            page, notes = tmp_path / "state.html", tmp_path / "state.md"
            arguments = ["report", "--since", "1d", "--html", str(page), "--markdown", str(notes)]
            done = await anyio.to_thread.run_sync(CliRunner().invoke, app, arguments)
            told = await anyio.to_thread.run_sync(CliRunner().invoke, app, ["report"])
    assert done.exit_code == 0, done.output
    for text in (page.read_text(encoding="utf-8"), notes.read_text(encoding="utf-8").replace("\\", ""), told.output):
        assert run.run_id in text
        assert "How was the light kept?" in text
        assert "research_supervisor" in text


def test_an_empty_house_has_a_report_too(home: Path) -> None:
    told = CliRunner().invoke(app, ["report", "--since", "7d"])
    assert told.exit_code == 0, told.output
    assert "the last 7 days" in told.output
    assert "no task was rated" in told.output


@pytest.mark.parametrize("since", ["", "d", "7", "0d", "-1d", "1y", "400d", "1.5d", "\u0663d"])
def test_what_is_no_length_of_time_is_refused_with_what_would_be(since: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["report", f"--since={since}"]) == 2
    assert "--since" in (said := capfd.readouterr().err)
    assert "12h, 30d" in said


def test_a_file_that_cannot_be_written_is_told(home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "--html", str(tmp_path / "nowhere" / "state.html")]) == 2
    assert "--html" in capfd.readouterr().err


async def test_what_is_shown_of_a_moment_is_the_moment_it_is_asked_for(home: Path) -> None:
    async with open_atlas(load_settings()) as atlas:
        await atlas.chat(atlas.local_caller(), "librarian", "Good day")
        await atlas._keeper.gate.empty()  # pyright: ignore[reportPrivateUsage]  # its turn is written down by then
        rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
        now = datetime.now(UTC)
        state = await house_state(rooms.record, atlas.local_caller(), now - timedelta(hours=1), now)
    assert [(one.agent, one.turns) for one in state.agents] == [("librarian", 1)]
