"""Sets of examples: made of runs, kept apart by caller, taken to a file and back unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, update

from atlas_mcp.errors import InvalidInput, UnknownRun
from atlas_mcp.evaluating import open_evaluating
from atlas_mcp.model.example import ExampleSet, Expected, Work
from atlas_mcp.model.result import Cited, Rating, Result
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.settings import load_settings
from atlas_mcp.store import tables
from atlas_mcp.store.home import open_home
from atlas_mcp.store.record import open_record
from atlas_mcp.watch.evaluation import files
from tests.evaluation.world import BEGAN, chat

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

TASK = TeamTask(
    goal="How was the light kept?",
    materials=(Material(name="log.txt", text="It was lit at dusk."),),
    teams=("research",),
    criteria=("answers the goal",),
    max_rounds=1,
)
RESULT = Result(
    output="It was lit at dusk [log.txt].",
    evidence=[Cited(claim="lit", source="tide.html")],
    ratings=[
        Rating(criterion="answers the goal", score=score, reason="", rater="r", round=number)
        for number, score in ((1, 2.0), (2, 4.5))
    ],
    rounds=2,
    best_round=2,
)


async def a_run(home: Path, run_id: str, *, caller: str | None = None, **more: object) -> None:
    """A run in the home's record, as one that ended well left it."""
    order = {"caller": {"id": "x"}, "input": TASK.model_dump(mode="json")}
    usage = {"turns": 3, "input_tokens": 900, "output_tokens": 90, "cost_usd": 0.01}
    row: dict[str, object] = {"id": run_id, "caller": caller or f"local:{open_home(home).local_id}"}
    row |= {"kind": "team_task", "status": "completed", "goal": TASK.goal, "input": order, "usage": usage}
    row |= {"result": RESULT.model_dump(mode="json"), "progress": {}, "needs": [], "attempts": 1, "last_seq": 1}
    row |= {"created_at": BEGAN, "updated_at": BEGAN.replace(minute=2)}
    async with open_record(home) as record, record.write() as db:
        await db.execute(insert(tables.run).values(row | more))


async def test_an_example_keeps_what_was_asked_from_what_and_how_it_went(home: Path) -> None:
    await a_run(home, "run_1")
    async with open_evaluating(load_settings()) as evaluating:
        made = await evaluating.add(
            "run_1", expected=Expected(phrases=("lit at dusk",), sources=("log.txt", "tide.html"))
        )
        assert [made] == await evaluating.examples("default")
    assert made.work == Work(
        goal=TASK.goal, materials=TASK.materials, teams=TASK.teams, criteria=TASK.criteria, max_rounds=1
    )
    assert made.expected.criteria == TASK.criteria
    assert made.baseline.ratings == {"answers the goal": 4.5}
    assert (made.baseline.seconds, made.baseline.input_tokens, made.baseline.cost_usd) == (120.0, 900, 0.01)


async def test_a_turn_that_outlived_its_call_makes_an_example_too(home: Path) -> None:
    given = {"agent": "librarian", "message": "What do you know?", "conversation": "c1", "client": ""}
    await a_run(home, "run_1", kind="turn", result=None, input={"caller": {"id": "x"}, "input": given}, reply="Much.")
    async with open_evaluating(load_settings()) as evaluating:
        made = await evaluating.add("run_1")
    assert (made.work.kind, made.work.agent, made.work.goal) == ("turn", "librarian", "What do you know?")


async def test_a_criterion_that_is_expected_besides_is_rated_too(home: Path) -> None:
    await a_run(home, "run_1")
    async with open_evaluating(load_settings()) as evaluating:
        made = await evaluating.add("run_1", expected=Expected(criteria=("names the hour",)))
    assert made.work.criteria == ("answers the goal", "names the hour")
    assert made.expected.criteria == ("names the hour",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": "working"}, "is working"),
        ({"status": "failed"}, "is failed"),
        ({"kind": "rating"}, "is a rating"),
    ],
)
async def test_a_run_that_did_not_end_well_or_is_no_work_makes_none(
    home: Path, change: dict[str, str], says: str
) -> None:
    await a_run(home, "run_1", **change)
    async with open_evaluating(load_settings()) as evaluating:
        with pytest.raises(InvalidInput, match=says):
            await evaluating.add("run_1")
        assert await evaluating.examples() == []


async def test_a_run_of_somebody_else_does_not_exist_and_one_over_http_only_when_asked_for(home: Path) -> None:
    await a_run(home, "run_1", caller="local:somebody")
    await a_run(home, "run_2", caller="key:http")
    async with open_evaluating(load_settings()) as evaluating:
        for run_id in ("run_1", "run_2", "run_nope"):
            with pytest.raises(UnknownRun):
                await evaluating.add(run_id)
        assert (await evaluating.add("run_2", http=True)).run_id == "run_2"


async def test_the_same_run_twice_an_unknown_source_and_a_bad_name_are_refused(home: Path) -> None:
    await a_run(home, "run_1")
    async with open_evaluating(load_settings()) as evaluating:
        with pytest.raises(InvalidInput, match=r"no source 'map.txt'.*log.txt, tide.html"):
            await evaluating.add("run_1", expected=Expected(sources=("map.txt",)))
        with pytest.raises(InvalidInput, match="no name of a set"):
            await evaluating.add("run_1", suite="A B")
        made = await evaluating.add("run_1")
        with pytest.raises(InvalidInput, match=f"already, as {made.id}"):
            await evaluating.add("run_1")
        await evaluating.add("run_1", suite="other")


async def test_an_example_that_is_taken_out_is_gone_and_unknown_ones_are_refused(home: Path) -> None:
    await a_run(home, "run_1")
    async with open_evaluating(load_settings()) as evaluating:
        made = await evaluating.add("run_1")
        await evaluating.remove(made.id)
        assert await evaluating.examples() == []
        with pytest.raises(InvalidInput, match="no example"):
            await evaluating.remove(made.id)


async def test_what_another_caller_has_in_the_same_record_is_not_seen(home: Path) -> None:
    await a_run(home, "run_1")
    async with open_evaluating(load_settings()) as evaluating:
        made = await evaluating.add("run_1")
    from atlas_mcp.store.quality_tables import example

    async with open_record(home) as record, record.write() as db:
        await db.execute(update(example).values(caller="local:somebody"))
    async with open_evaluating(load_settings()) as evaluating:
        assert await evaluating.examples() == []
        with pytest.raises(InvalidInput, match="no example"):
            await evaluating.remove(made.id)


NASTY = "It's '''quoted'''\n\ttabs, \\ and \"marks\"\nünï \x7f end'"


@pytest.mark.parametrize("ending", ["toml", "json"])
@pytest.mark.parametrize("text", ["One line.", "Two\nlines 'with' marks.", NASTY, "\nbegins and ends\n"])
def test_a_set_comes_back_from_its_file_unchanged(tmp_path: Path, ending: str, text: str) -> None:
    work = Work(goal=text, materials=(Material(name="a", text=text), Material(name="b", text="plain")))
    expected = Expected(phrases=("x = 1",), criteria=("c, d",))
    one = chat(1).model_copy(update={"work": work, "expected": expected})
    written = ExampleSet(name="default", examples=(one, chat(2)))
    files.write(tmp_path / f"set.{ending}", written)
    assert files.read(tmp_path / f"set.{ending}") == written


async def test_a_set_goes_to_a_file_and_into_another_set_all_or_none(home: Path, tmp_path: Path) -> None:
    await a_run(home, "run_1")
    file = tmp_path / "set.toml"
    async with open_evaluating(load_settings()) as evaluating:
        made = await evaluating.add("run_1")
        await evaluating.export("default", file)
        with pytest.raises(InvalidInput, match="is there already"):
            await evaluating.export("default", file)
        await evaluating.import_(file, suite="other")
        [brought] = await evaluating.examples("other")
        assert brought.id != made.id
        assert brought.digest == made.digest
        with pytest.raises(InvalidInput, match="has this example already"):
            await evaluating.import_(file, suite="other")
        with pytest.raises(InvalidInput, match="has no examples"):
            await evaluating.export("none", file, force=True)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("set.txt", "", "ends in neither"),
        ("set.toml", "name = ", "is not TOML"),
        ("set.json", "[", "is not JSON"),
        ("set.json", '{"name": "a", "examples": []}', "examples"),
        ("set.toml", 'name = "a"\nexample = 3', "no set of examples"),
    ],
)
def test_a_file_that_is_no_set_is_refused_with_what_is_wrong(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=says):
        files.read(tmp_path / name)
    with pytest.raises(InvalidInput, match="cannot be read"):
        files.read(tmp_path / "absent.toml")
