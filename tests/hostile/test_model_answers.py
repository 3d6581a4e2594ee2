"""A model that lies: figures below nothing give no budget back; made-up work, names and answers come to nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.embedded.usage import reported
from atlas_mcp.model.plan import Plan
from atlas_mcp.teamwork.answers import parse
from tests.scripted_model import ScriptedModel, last_user_text
from tests.teamwork.house import good_answer, open_house, scripted

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.scripted"]

TOOLS = {
    **dict.fromkeys(("calculate", "compare_options", "text_statistics"), "figures out what it is given"),
    **dict.fromkeys(("list_materials", "read_material", "search_materials", "quote_material"), "reads the run's texts"),
    **dict.fromkeys(("search_knowledge", "recall_facts", "load_output"), "reads what the caller has"),
    **dict.fromkeys(("remember", "relate", "share_observation"), "adds under the agent's own name"),
    **dict.fromkeys(("save_output", "cite_source", "submit_result", "escalate", "ask_caller"), "is of the run alone"),
}
"""What each tool that comes with ATLAS can do. None deletes, spends, sends away or reads files: one that would must ask
the caller, and whoever adds it decides here."""


def test_no_tool_of_an_agent_destroys_or_spends() -> None:
    box = Toolbox()
    assert set(box.available) == set(TOOLS)
    for agent in load_roster().agents:
        assert {spec.name for spec in box.session(agent, None).specs} <= set(TOOLS)


@pytest.mark.parametrize(
    "told", [{"input_tokens": -1_000_000, "output_tokens": 5}, {"input_tokens": 5, "output_tokens": -1}]
)
def test_tokens_below_nothing_count_as_not_told(told: dict[str, int]) -> None:
    used = reported(told, prompt=10, completion=20)
    assert (used.prompt, used.completion, used.estimated) == (10, 20, True)


@pytest.mark.parametrize(
    "answer",
    [
        {"parts": [{"id": f"p{n}", "team": "research", "task": "x"} for n in range(5_000)]},
        {"parts": [{"id": "a", "team": "research", "task": "x", "depends_on": ["a"]}]},
        {"parts": [{"id": "\x00" * 100, "team": "research", "task": "x"}]},
        {"parts": [], "debaters": []},
    ],
    ids=["thousands of parts", "a part that waits for itself", "a name of a hundred signs", "nothing"],
)
def test_plans_that_are_none_are_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Plan.model_validate(answer)


def test_what_only_looks_like_an_answer_is_none() -> None:
    for text in ("{" * 100_000, '{"parts":' * 5_000, "<think>" * 50_000 + "{}", "\x00" * 100_000, "[" * 200_000):
        with pytest.raises(ValueError):
            parse(text, Plan)


@pytest.mark.parametrize(
    "odd",
    [
        {"assignments": [{"worker": name, "task": "all of it"} for name in ("root", "../librarian", "librarian\x00")]},
        {"assignments": [{"worker": "document_researcher", "task": "again"}] * 3_000},
    ],
    ids=["agents that do not exist", "thousands of assignments"],
)
async def test_a_delegation_made_up_costs_a_turn_and_no_more(
    home: Path, scripted_model: ScriptedModel, odd: dict[str, Any]
) -> None:
    told: list[str] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        prompt = last_user_text(request)
        if 'title="Delegation"' in prompt and not told:
            told.append(prompt)
            return {"json": odd}
        return {"json": good_answer(prompt) if "<goal>" in prompt else GOOD}

    scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": answer})
    with anyio.fail_after(110):
        async with open_house(home, scripted(scripted_model.url)) as house:
            run = await house.ended(await house.submit())
    assert run.status == "completed", run.error
    assert told
    assert scripted_model.calls < 40


GOOD = {"assignments": [{"worker": "document_researcher", "task": "what it can find"}]}
