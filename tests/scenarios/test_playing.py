"""Scenarios played: faults are met as they would be by a real run, and what does not hold is told."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.model.scenario import Scenario
from atlas_mcp.scenarios.play import play
from atlas_mcp.scenarios.reading import read_scenario
from atlas_mcp.scenarios.suite import as_real, summed
from atlas_mcp.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.model.scenario import Played
    from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
LOG = '{ name = "log.txt", text = "The keeper lit the lamp at dusk and trimmed the wick every four hours." }'
TASK = f"""
[[work]]
goal = "How was the light kept?"
teams = ["research"]
max_rounds = 0
materials = [{LOG}]
"""
CHAT = """
[[work]]
agent = "librarian"
message = "Good day."
"""
ONE_WORKER = """
[[rules]]
agent = "research_supervisor"
part = "delegation"
replies = [{ answer = { assignments = [{ worker = "document_researcher", task = "read the log" }] } }]
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where homes of scenarios lie in this test."""
    folder = tmp_path / "places"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def played(tmp_path: Path, text: str) -> Played:
    path = tmp_path / "one.toml"
    path.write_text(text, encoding="utf-8")
    return await play(load_settings(), read_scenario(path))


async def test_a_worker_whose_provider_refuses_more_requests_is_replaced(tmp_path: Path) -> None:
    found = await played(
        tmp_path,
        f"""{ONE_WORKER}
[[faults]]
kind = "rate limit"
agent = "document_researcher"
times = 3
{TASK}
[work.expect]
contains = ["lamp at dusk"]
order = [
    {{ type = "turn_retried", actor = "document_researcher" }},
    {{ type = "worker_failed", actor = "document_researcher", words = "too many requests" }},
    {{ type = "reassigned", actor = "research_supervisor" }},
    {{ type = "turn_finished", actor = "source_verifier" }},
]
""",
    )
    assert found.failures == ()
    assert found.trace_ids[0].startswith("tr-")


async def test_a_tool_that_fails_is_told_to_the_agent_which_goes_on(tmp_path: Path) -> None:
    found = await played(
        tmp_path,
        f"""{ONE_WORKER}
[[rules]]
agent = "document_researcher"
says = "quote_material failed: the scenario says so"
replies = [{{ answer = {{ text = "I read it myself.", gaps = ["the tool failed me, so I quote nothing"] }} }}]
[[rules]]
agent = "document_researcher"
part = "findings"
replies = [{{ tools = [{{ tool = "quote_material", arguments = {{ name = "log.txt", quote = "lit the lamp" }} }}] }}]
[[faults]]
kind = "tool"
tool = "quote_material"
times = "always"
{TASK}
[work.expect]
contains = ["the tool failed me, so I quote nothing"]
events = [{{ type = "worker_failed", count = 0 }}, {{ type = "tool_called", actor = "document_researcher" }}]
""",
    )
    assert found.failures == ()


async def test_a_connection_to_letta_that_drops_costs_no_turn_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = await played(
        tmp_path,
        f"""{ONE_WORKER}
[[faults]]
kind = "letta"
times = 2
{TASK}
[work.expect]
contains = ["lamp at dusk"]
events = [
    {{ type = "planned", count = 1 }},
    {{ type = "drafted", count = 1 }},
]
at_most = {{ turns = 7 }}
""",
    )
    assert found.failures == ()
    assert caplog.text.count("a turn is looked for that was cut off") == 2


async def test_a_run_is_cancelled_in_the_turn_that_the_scenario_names(tmp_path: Path) -> None:
    found = await played(
        tmp_path,
        f"""
[[faults]]
kind = "cancelled"
agent = "content_writer"
{TASK}
[work.expect]
status = "cancelled"
events = [{{ type = "drafted", count = 0 }}]
order = [
    {{ type = "part_finished" }},
    {{ type = "turn_started", actor = "content_writer" }},
    {{ type = "run_cancelled" }},
]
""",
    )
    assert found.failures == ()


async def test_questions_beyond_the_answers_are_given_the_safe_one(tmp_path: Path) -> None:
    found = await played(
        tmp_path,
        f"""{TASK}
approve_plan = true
[work.expect]
status = "failed"
error = "nobody approved it in time"
at_most = {{ turns = 1 }}
""",
    )
    assert found.failures == ()
    assert found.used == 1.0


async def test_what_does_not_hold_is_told_by_the_piece_of_work_and_the_home_is_gone(
    tmp_path: Path, places: Path, home: Path
) -> None:
    found = await played(
        tmp_path,
        f"""{CHAT}
[work.expect]
contains = ["Good night"]
{CHAT}
[work.expect]
memory = [{{ agent = "librarian", label = "human", contains = ["tea"] }}]
""",
    )
    first, second = found.failures
    assert first.startswith("work 1: the output does not contain 'Good night'; it says: ")
    assert second == "work 2: the block human of librarian does not give 'tea'; it gives: nothing"
    assert not found.passed
    assert list(places.iterdir()) == []
    assert not (home / "atlas.db").exists()
    assert not (home / "letta.db").exists()


async def test_what_cannot_be_done_is_a_failure_and_the_last_thing_tried(tmp_path: Path) -> None:
    found = await played(tmp_path, f'[[rules]]\nalways = true\nreplies = [{{ error = "bad key" }}]\n{CHAT}{CHAT}')
    [failure] = found.failures
    assert failure.startswith("work 1: it could not be done: ")
    assert "the key was refused" in failure


async def test_one_that_does_not_end_in_its_time_is_given_up(tmp_path: Path, places: Path) -> None:
    found = await played(tmp_path, f"seconds = 2\n[[rules]]\nreplies = [{{ hold = true }}]\n{CHAT}")
    [failure] = found.failures
    asked = "; the last in its journal: librarian is thinking"  # where the two seconds were enough to get there
    assert failure.removesuffix(asked) == "it had not ended after 2 s, and was given up"
    assert list(places.iterdir()) == []


async def test_a_process_that_ends_before_the_turn_in_which_it_is_to_be_killed_is_a_failure(tmp_path: Path) -> None:
    found = await played(tmp_path, f'[[faults]]\nkind = "killed"\nagent = "data_scientist"\n{TASK}')
    [failure] = found.failures
    assert "ended before data_scientist had a turn" in failure


async def test_faults_are_put_before_real_models_which_do_the_rest(
    tmp_path: Path, scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("ATLAS_MODEL", "openai:gpt-4o-mini")
    scripted_model.on("Good day", "And to you.")
    path = tmp_path / "one.toml"
    text = f'[[rules]]\nreplies = [{{ text = "never said" }}]\n[[faults]]\nkind = "slow"\nseconds = 0.2\n{CHAT}'
    path.write_text(f'{text}[work.expect]\ncontains = ["And to you."]\nat_most = {{ seconds = 0.1 }}\n', "utf-8")
    found = await play(load_settings(), as_real(read_scenario(path)))
    [failure] = found.failures
    assert failure.endswith("0.1 s is the most")
    assert found.usage.cost_usd, "by the price of the model that answered"
    assert scripted_model.calls >= 1


async def test_repeats_are_summed_up_by_scenario(tmp_path: Path) -> None:
    text = (
        f'[[rules]]\nreplies = [{{ text = "yes" }}]\n{CHAT}[work.expect]\ncontains = ["yes"]\nat_most = {{ turns = 2 }}'
    )
    good = await played(tmp_path, text)
    bad = good.model_copy(update={"number": 2, "failures": ("no",)})
    [line] = summed([good, bad])
    assert (line.scenario, line.played, line.success_rate, line.turns, line.used) == ("one", 2, 0.5, 1, 0.5)
    assert line.tokens > 0


def test_what_is_scripted_goes_to_another_process_whole() -> None:
    given: dict[str, Any] = {"name": "a", "faults": [{"kind": "killed", "agent": "x"}], "work": [{"goal": "g"}]}
    scenario = Scenario.model_validate(given)
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario
