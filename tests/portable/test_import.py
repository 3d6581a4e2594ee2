"""What an import brings, what it refuses, and what it leaves alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from atlas_mcp.errors import BrokenPackage, IllegalChange, InvalidInput
from atlas_mcp.memory.learnings import learning_id
from atlas_mcp.model.learning import Judged, Learning
from tests.portable.conftest import atlas_on, content, fill

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.atlas import Atlas

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

TOOL = '''POOLS = ("rating",)


def shout(text: str) -> str:
    """Say it loudly.

    Args:
        text (str): What to say.

    Returns:
        str: The same, loudly.
    """
    return text.upper()
'''


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A constellation of a person who keeps bees."""
    path = tmp_path / "bees.zip"
    async with atlas_on(tmp_path / "bees") as atlas:
        await atlas.update_memory(atlas.local_caller(), "librarian", "human", value="Ada keeps bees.")
        await atlas.portable.export(atlas.local_caller(), path)
    return path


async def human(atlas: Atlas) -> str:
    return (await atlas.get_memory(atlas.local_caller(), "librarian", "human"))[0].value


async def test_everything_works_where_it_was_brought_to(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    async with atlas_on(tmp_path / "a") as here:
        await fill(here, task=True)
        await here.portable.export(here.local_caller(), path)
        runs, _ = await here.list_runs(here.local_caller())
    async with atlas_on(tmp_path / "b") as there:
        me = there.local_caller("a host")
        await there.portable.import_(me, path)
        assert [r.run_id for r in (await there.list_runs(me))[0]] == [r.run_id for r in runs]
        run = await there.get_run(me, next(r.run_id for r in runs if r.kind == "team_task"))
        assert run.result
        assert run.events
        assert "colza" in str(await there.search_memory(me, "what does the lamp burn"))
        assert "lens broke" in str(await there.search_memory(me, "lens", agent="librarian"))
        assert "night_editor" in [a.name for a in await there.list_agents(me)]
        assert (await there.groups.chat(me, "desk", "And now?")).status == "completed"
        assert (await there.chat(me, "librarian", "Hello")).status == "completed"
        assert (await there.undo_memory(me, "librarian", "human", 1)).revision > 2


async def test_what_runs_taught_comes_along_and_what_was_refused_stays(tmp_path: Path) -> None:
    path, goal = tmp_path / "all.zip", "How many keepers must a lighthouse have?"
    kept = "The Harbour Act of 1887 requires two keepers at every lighthouse with a revolving lamp."

    def judged(number: int, text: str, reason: str) -> Judged:
        one = Learning(
            id=learning_id("run-1", number), kind="fact", text=text, about="lighthouses", source="act.txt", quote=text,
            run_id="run-1", agent="librarian", score=4.5, trust=0.8,
        )  # fmt: skip
        return Judged(learning=one, confidence=0.9, scores={"new": 5.0}, reason=reason)

    async with atlas_on(tmp_path / "a") as here:
        me = here.local_caller()
        learnings = (await (await here._keeper.rooms()).constellation(me)).learnings  # pyright: ignore[reportPrivateUsage]
        await learnings.keep([judged(1, kept, ""), judged(2, "A keeper of a lighthouse said so.", "too vague")])
        await here.portable.export(me, path)
    assert b"too vague" not in b"".join(str(text).encode() for text in content(path).values())
    async with atlas_on(tmp_path / "b") as there:
        me = there.local_caller()
        await there.portable.import_(me, path)
        assert [one.text for one in await there.memories.list(me, run_id="run-1", everything=True)] == [kept]
        [hit] = (await there.search_memory(me, goal, kinds=["long_term"])).hits
        assert (hit.text, hit.trust) == (kept, 0.8)


async def test_a_constellation_that_is_there_is_replaced_only_on_demand_and_kept_as_a_file(
    tmp_path: Path, file: Path
) -> None:
    async with atlas_on(tmp_path / "home") as atlas:
        me = atlas.local_caller()
        await atlas.update_memory(me, "librarian", "human", value="Bo dives.")
        with pytest.raises(IllegalChange, match=r"1 agents.*--replace"):
            await atlas.portable.import_(me, file)
        assert await human(atlas) == "Bo dives."
        carried = await atlas.portable.import_(me, file, replace=True)
        assert await human(atlas) == "Ada keeps bees."
        assert carried.backup is not None
        await atlas.portable.import_(me, carried.backup, replace=True)
        assert await human(atlas) == "Bo dives."


async def test_another_callers_constellation_of_the_same_home_is_left_alone(tmp_path: Path) -> None:
    path, mine, theirs = (tmp_path / f"{name}.zip" for name in ("file", "mine", "theirs"))
    async with atlas_on(tmp_path / "home") as atlas:
        me, other = atlas.local_caller("a host"), atlas.access.key_caller("a host")
        await fill(atlas)
        await atlas.portable.export(me, path)
        await atlas.portable.import_(other, path)  # every id of it is taken here
        await atlas.portable.export(other, theirs)
        await atlas.portable.export(me, mine)
        assert content(mine) == content(path) == content(theirs)
        await atlas.update_memory(other, "librarian", "human", value="Theirs.")
        assert (await atlas.get_memory(me, "librarian", "human"))[0].value != "Theirs."
        [run, *_] = (await atlas.list_runs(other))[0]
        assert run.run_id not in [r.run_id for r in (await atlas.list_runs(me))[0]]


async def test_a_roster_comes_along_and_counts_from_the_next_start_on(tmp_path: Path) -> None:
    roster, path = tmp_path / "roster.toml", tmp_path / "file.zip"
    roster.write_text('name = "mine"\nextends = "default"\n[rename.agents]\nlibrarian = "archivist"\n')
    async with atlas_on(tmp_path / "a", roster=roster) as here:
        me = here.local_caller()
        await here.update_memory(me, "archivist", "human", value="Ada \"quotes\" \\ \x7f – 'all'.")
        await here.portable.export(me, path)
    async with atlas_on(tmp_path / "c", roster=roster) as same:
        assert not (await same.portable.import_(same.local_caller(), path)).notes
    other = tmp_path / "other.toml"
    other.write_text('name = "other"\nextends = "default"\n')
    async with atlas_on(tmp_path / "d", roster=other) as refusing:
        with pytest.raises(InvalidInput, match="ATLAS_ROSTER"):
            await refusing.portable.import_(refusing.local_caller(), path)
    async with atlas_on(tmp_path / "b") as there:
        carried = await there.portable.import_(there.local_caller(), path)
        assert "Start again" in carried.notes[0]
    async with atlas_on(tmp_path / "b") as there:
        me = there.local_caller()
        assert "archivist" in [a.name for a in await there.list_agents(me)]
        assert (await there.get_memory(me, "archivist", "human"))[0].value == "Ada \"quotes\" \\ \x7f – 'all'."


async def test_source_of_tools_is_taken_only_when_it_is_allowed(tmp_path: Path) -> None:
    path, own, empty = tmp_path / "file.zip", tmp_path / "own", tmp_path / "empty"
    own.mkdir()
    empty.mkdir()
    (own / "shout.py").write_text(TOOL)
    async with atlas_on(tmp_path / "a", tools=own) as here:
        assert (await here.portable.export(here.local_caller(), path)).tools == 1
    async with atlas_on(tmp_path / "b", tools=empty) as there:
        carried = await there.portable.import_(there.local_caller(), path)
        assert "shout" in carried.notes[0]
        assert not list(empty.iterdir())
        await there.portable.import_(there.local_caller(), path, replace=True, allow_tools=True)
        assert (empty / "shout.py").read_text() == TOOL
        (empty / "shout.py").write_text("# another")
        with pytest.raises(InvalidInput, match="is there already"):
            await there.portable.import_(there.local_caller(), path, replace=True, allow_tools=True)
        assert (empty / "shout.py").read_text() == "# another"
    async with atlas_on(tmp_path / "c") as nowhere:
        with pytest.raises(InvalidInput, match="ATLAS_TOOLS"):
            await nowhere.portable.import_(nowhere.local_caller(), path, allow_tools=True)


async def test_no_key_or_password_is_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret-1")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "sk-secret-2")
    path = tmp_path / "file.zip"
    async with atlas_on(tmp_path / "home") as atlas:
        key = atlas.access.home_key()
        await fill(atlas)
        await atlas.portable.export(atlas.local_caller(), path)
    told = str(content(path))
    assert "sk-secret" not in told
    assert key not in told
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0


async def test_a_file_whose_roster_is_none_is_refused(tmp_path: Path, file: Path) -> None:
    from atlas_mcp.constellation.portable_file import read_package, write_package

    package = read_package(file)
    agents = tuple(a for a in package.roster.agents if a.name != "global_supervisor")
    write_package(file, package.model_copy(update={"roster": package.roster.model_copy(update={"agents": agents})}))
    async with atlas_on(tmp_path / "home") as atlas:
        with pytest.raises(BrokenPackage, match=r"roster\.json"):
            await atlas.portable.import_(atlas.local_caller(), file)
        assert not (tmp_path / "home" / "roster.toml").exists()


def test_the_commands_tell_what_was_done_and_refuse_in_words(tmp_path: Path) -> None:
    def run(home: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ATLAS_HOME": str(tmp_path / home), "COLUMNS": "200"}
        command = [sys.executable, "-m", "atlas_mcp", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)

    file, agent = str(tmp_path / "mine.zip"), str(tmp_path / "bo.af")
    assert "Exported" in run("a", "export", agent, "--agent", "librarian").stdout
    assert re.search(r"Exported .*mine.zip: 1 agents", run("a", "export", file).stdout)
    again = run("a", "export", file)
    assert (again.returncode, again.stdout) == (2, "")
    assert "--force" in again.stderr
    assert "Imported" in run("b", "import", file).stdout
    refused = run("b", "import", file)
    assert refused.returncode == 2
    assert "--replace" in refused.stderr
    assert "Talk to it as bo." in run("b", "import", agent, "--agent", "bo").stdout
    for wrong in (
        ["export", "x.zip", "--agent", "librarian"],
        ["export", "x.af"],
        ["import", "no.zip"],
        ["servers", "move"],
    ):
        done = run("b", *wrong)
        assert done.returncode == 2, done
        assert "Traceback" not in done.stderr
    assert "no other Letta" in run("b", "servers", "drain", "embedded").stderr
