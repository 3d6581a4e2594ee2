"""Which text an agent has: the file's until a version is promoted, and again when that is taken back."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp import _leading
from atlas_mcp.atlas import Prompts, open_atlas, open_prompts
from atlas_mcp.errors import IllegalChange, InvalidInput
from atlas_mcp.home_care import back_up, restore
from atlas_mcp.model.run import ENDED
from atlas_mcp.model.task import TeamTask
from atlas_mcp.settings import load_settings
from atlas_mcp.teamwork import leads
from atlas_mcp.watch.prompts import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.atlas import Atlas

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
NAME, AGENT = "persona.strategist", "strategist"
BETTER = "I plan, and I say by which figures."
ROSTER = Path(leads.__file__).parents[1] / "rosters"


async def proposed(prompts: Prompts, text: str, name: str = NAME) -> int:
    present = await prompts.present(name)
    async with prompts.record.write(rows.WRITER) as db:
        return (await rows.keep(db, name, text, "optimised", parent=present.version))[0].version


async def persona(atlas: Atlas) -> str:
    caller = atlas.local_caller("test")
    await atlas.chat(caller, AGENT, "hello")
    return (await atlas.get_memory(caller, AGENT, "persona"))[0].value


async def task_done(atlas: Atlas) -> None:
    caller = atlas.local_caller("test")
    run = await atlas.run_team_task(caller, TeamTask(goal="Say what tea is.", max_rounds=1))
    while run.status not in ENDED:
        run = await atlas.get_run(caller, run.run_id, since=run.events[-1].seq if run.events else 0)
    assert run.status == "completed"


def of_turns(rows: list[Any]) -> dict[str, list[str]]:
    """The prompts that spans of turns name, by agent."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if str(row.get("name", "")).startswith("turn "):
            named = row["attributes"].get("atlas.prompts", [])
            found.setdefault(row["name"].removeprefix("turn "), []).extend(
                json.loads(named) if isinstance(named, str) else named
            )
    return found


async def test_each_turn_names_its_versions_and_the_registry_is_told_of_them_once(
    home: Path, spooled: Callable[[], list[Any]], told: Callable[[], list[Any]]
) -> None:
    async with open_atlas(load_settings()) as atlas:
        caller = atlas.local_caller("test")
        await atlas.chat(caller, AGENT, "hello")
        await atlas.chat(caller, AGENT, "hello again")
        await task_done(atlas)
        await atlas.groups.chat(caller, "sounding_board", "Is tea good?")
    named = of_turns(spooled())
    assert named[AGENT][:2] == ["persona.strategist/1", "persona.strategist/1"]
    assert {"persona.global_supervisor/1", "task.plan/1"} <= set(named["global_supervisor"])
    every = {name for names in named.values() for name in names}
    assert {"task.delegation/1", "task.findings/1", "task.merging/1", "task.write/1", "task.verdict/1"} <= every
    assert any(name.startswith("task.group_") for name in every), "what opens a question in a group is a version too"
    notes = told()
    assert sorted(f"{note['name']}/{note['version']}" for note in notes) == sorted(every)
    assert next(n["text"] for n in notes if n["name"] == "task.plan") == leads.filed()["task.plan"]


async def test_a_promoted_persona_takes_the_files_place_and_rolling_back_gives_it_again(home: Path) -> None:
    settings = load_settings()
    async with open_atlas(settings) as atlas:
        first = await persona(atlas)
    async with open_prompts(settings) as prompts:
        assert (await prompts.promote(AGENT, await proposed(prompts, BETTER))).leads == "version"
    async with open_atlas(settings) as atlas:
        assert await persona(atlas) == BETTER
        history = (await atlas.get_memory(atlas.local_caller("test"), AGENT, "persona", history=True))[0].history
        assert first in [one.value for one in history or []]
    async with open_prompts(settings) as prompts:
        assert (await prompts.rollback(AGENT)).leads == "file"
    async with open_atlas(settings) as atlas:
        assert await persona(atlas) == first


async def test_a_server_at_work_takes_up_what_another_process_promotes(
    home: Path, spooled: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_leading, "FOLLOW_SECONDS", 0.05)
    settings = load_settings()
    async with open_prompts(settings) as prompts:
        version = await proposed(prompts, BETTER)
    async with open_atlas(settings) as atlas:
        assert await persona(atlas) != BETTER
        command = [sys.executable, "-m", "atlas_mcp", "prompts", "promote", AGENT, str(version)]
        done = await anyio.run_process(command)
        assert b"version 2 leads from now on" in done.stdout
        with anyio.fail_after(120):
            while await persona(atlas) != BETTER:
                pass
    assert of_turns(spooled())[AGENT][-1] == f"{NAME}/{version}"


async def test_a_promoted_opening_is_what_agents_are_asked_with(home: Path, spooled: Callable[[], list[Any]]) -> None:
    settings, name = load_settings(), "task.findings"
    text = leads.filed()[name] + " Be brief above all."
    async with open_prompts(settings) as prompts:
        version = await proposed(prompts, text, name)
        await prompts.promote(name, version)
    async with open_atlas(settings) as atlas:
        await task_done(atlas)
    asked = [r for r in spooled() if f"{name}/{version}" in str(r.get("attributes", {}).get("atlas.prompts"))]
    assert asked
    assert all("Be brief above all." in row["attributes"]["mlflow.spanInputs"] for row in asked)


async def test_an_edited_file_does_not_lead_over_a_promoted_version_and_it_is_said_how_to_change_that(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own"
    shutil.copytree(ROSTER, own)
    monkeypatch.setenv("ATLAS_ROSTER", str(own / "default.toml"))
    settings = load_settings()
    async with open_prompts(settings) as prompts:
        version = await proposed(prompts, BETTER)
        info = await prompts.promote(AGENT, version)
        assert not info.note
    (own / "personas" / "strategist.md").write_text("I am my owner's own words.")
    async with open_atlas(settings) as atlas:
        assert await persona(atlas) == BETTER
    assert "its file was changed since (version 3)" in caplog.text
    async with open_prompts(settings) as prompts:
        found = {one.name: one for one in await prompts.list()}[NAME]
        assert (found.leads, found.version) == ("version", version)
        assert "atlas-mcp prompts promote persona.strategist 3` lets the file lead" in found.note
        after = await prompts.promote(AGENT, 3)
        assert (after.leads, after.version, after.note) == ("file", 3, "")
    (own / "personas" / "strategist.md").write_text("I am my owner's last words.")
    async with open_atlas(settings) as atlas:
        assert await persona(atlas) == "I am my owner's last words."


async def test_what_does_not_fit_is_refused_and_a_promoted_text_that_fits_no_more_does_not_lead(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings()
    async with open_prompts(settings) as prompts:
        long = await proposed(prompts, "x" * 2_001)
        wrong = await proposed(prompts, "Plan it, in {{most}} parts.", "task.plan")
        with pytest.raises(InvalidInput, match=r"2,001 characters, and a persona 2,000 at most"):
            await prompts.promote(AGENT, long)
        with pytest.raises(InvalidInput, match=r"\{\{max_parts\}\}"):
            await prompts.promote("task.plan", wrong)
        with pytest.raises(InvalidInput, match=r"no version 9; it has 1, 2"):
            await prompts.promote(AGENT, 9)
        with pytest.raises(InvalidInput, match=r"Did you mean 'strategist'"):
            await prompts.show("stratgist")
        with pytest.raises(IllegalChange, match="nothing was promoted"):
            await prompts.rollback(AGENT)
        fits = await proposed(prompts, "y" * 1_500)
        await prompts.promote(AGENT, fits)
    own = tmp_path / "own.toml"
    own.write_text('extends = "default"\n[[blocks]]\nlabel = "persona"\nlimit = 1400\n')
    monkeypatch.setenv("ATLAS_ROSTER", str(own))
    async with open_prompts(load_settings()) as prompts:
        found = {one.name: one for one in await prompts.list()}[NAME]
        assert found.leads == "file"
        assert "version 3 was promoted and does not lead: it has 1,500 characters" in found.note
    async with open_atlas(load_settings()) as atlas:
        assert await persona(atlas) == (ROSTER / "personas" / "strategist.md").read_text().strip()


async def test_promoting_twice_is_taken_back_step_by_step_and_the_registry_hears_of_each(
    home: Path, told: Callable[[], list[Any]]
) -> None:
    async with open_prompts(load_settings()) as prompts:
        two, three = await proposed(prompts, BETTER), await proposed(prompts, f"{BETTER} Always.")
        await prompts.promote(AGENT, two)
        await prompts.promote(AGENT, three)
        assert (await prompts.rollback(AGENT)).version == two
        assert (await prompts.rollback(AGENT)).leads == "file"
        assert "+I plan, and I say by which figures. Always." in await prompts.diff(AGENT, two, three)
        assert await prompts.diff(AGENT, two, two) == ""
    led = [note["version"] for note in told() if note.get("promoted")]
    assert led == [2, 3, 2, 1]


async def test_a_backup_has_the_versions_and_what_leads(home: Path, tmp_path: Path) -> None:
    settings = load_settings()
    async with open_prompts(settings) as prompts:
        await prompts.promote(AGENT, await proposed(prompts, BETTER))
    back_up(settings, tmp_path / "backup.zip")
    async with open_prompts(settings) as prompts:
        await prompts.rollback(AGENT)
    restore(settings, tmp_path / "backup.zip")
    async with open_prompts(settings) as prompts:
        found = await prompts.show(AGENT)
    assert (found.version, found.text, found.parent) == (2, BETTER, 1)
