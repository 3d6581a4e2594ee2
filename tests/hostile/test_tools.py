"""Whatever arguments a client makes up, a tool answers in words, tells nothing of the machine and does nothing half."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from tests.hostile.arguments import broken_object, fitting_object

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from tests.hostile.house import House

SPENDING: dict[str, dict[str, Any]] = {"run_team_task": {"teams": ["nobody"]}, "rate_text": {"criteria": ["x" * 301]}}
"""Tools that would set teams to work for seconds: a last argument that fits nothing there is keeps them from it."""
TOOLS = (
    *("list_agents", "chat_with_agent", "chat_with_group", "run_team_task", "get_run", "answer_run", "list_runs"),
    *("cancel_run", "get_agent_memory", "update_agent_memory", "undo_memory", "forget", "search_memory"),
    *("share_knowledge", "rate_text", "give_feedback", "get_status", "remember", "list_memories", "correct_memory"),
    *("recall_facts", "relate", "merge_entities", "split_entity"),
    *("create_agent", "delete_agent", "create_group", "delete_group"),
)
EXAMPLES = 40


def test_every_tool_is_tried(house: House) -> None:
    assert set(house.tools) == set(TOOLS)


@pytest.mark.parametrize("tool", TOOLS)
def test_what_does_not_fit_is_refused_by_the_arguments_name_and_changes_nothing(house: House, tool: str) -> None:
    refused = tried(house, tool, broken_object(house.tools[tool].input_schema))
    assert refused
    before = house.state()
    for arguments in refused:
        if house.refusal(tool, arguments) is None:
            return  # by now there is what it names
    assert house.state() == before


@pytest.mark.parametrize("tool", TOOLS)
def test_what_fits_at_its_edges_is_done_or_refused_in_words(house: House, tool: str) -> None:
    tried(house, tool, fitting_object(house.tools[tool].input_schema))


def tried(house: House, tool: str, cases: SearchStrategy[dict[str, Any]]) -> list[dict[str, Any]]:
    """Call the tool with all of them; those that were refused."""
    refused: list[dict[str, Any]] = []
    names = [*house.tools[tool].input_schema["properties"], "no such argument", "no character"]

    @settings(max_examples=EXAMPLES)
    @given(cases)
    def one(arguments: dict[str, Any]) -> None:
        arguments = SPENDING.get(tool, {}) | arguments
        text = house.refusal(tool, arguments)
        if text is not None:
            assert any(name in text for name in names), text
            refused.append(arguments)

    one()
    return refused


@pytest.mark.parametrize("tool", TOOLS)
def test_ten_megabytes_are_refused_in_a_line(house: House, tool: str) -> None:
    schema, long = house.tools[tool].input_schema, "x" * 10_000_000
    texts = [name for name, one in schema["properties"].items() if one.get("type") == "string"]
    for name in texts or ["unknown"]:
        others = dict.fromkeys(schema.get("required", ()), "librarian")
        text = house.refusal(tool, SPENDING.get(tool, {}) | others | {name: long})
        assert text is not None, f"{tool} took ten megabytes as {name}"
