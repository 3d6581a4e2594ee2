"""Conversation with the offline model: who it is, what it remembers, and that it says what it is."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool

from atlas_mcp.embedded.prompt import DEFAULT_SYSTEM, compile_prompt
from atlas_mcp.models.chat import OFFLINE_NOTE, Models
from atlas_mcp.models.config import ModelConfig
from tests.models.prompts import tool_calls, turn

pytestmark = pytest.mark.anyio


def system(human: str = "") -> str:
    return f"""You are document_researcher: Reads documents closely. You belong to the team research.

<memory_blocks>
<block label="persona">
<description>Who I am</description>
<metadata>chars_current=40 chars_limit=2000</metadata>
<value>
Give me a pile of pages and I am content. I quote exactly.
</value>
</block>
<block label="human">
<description>The person</description>
<metadata>chars_current=0 chars_limit=2000</metadata>
<value>
{human}
</value>
</block>
<block label="team_notes">
<value>
The bridge report says that two bearings are cracked.
</value>
</block>
</memory_blocks>"""


@tool
def memory_insert(label: str, new_string: str, insert_line: int = -1) -> str:
    """Add to a block."""
    return "done"


@tool
def memory_replace(label: str, old_string: str, new_string: str) -> str:
    """Replace in a block."""
    return "done"


@tool
def archival_memory_search(query: str) -> str:
    """Search the archive."""
    return (
        '{"results": [{"content": "Everest is 8,849 metres tall."}]}'
        if "everest" in query.lower()
        else "Nothing was found."
    )


MEMORY = (memory_insert, memory_replace)


def arguments(messages: list[Any]) -> list[dict[str, Any]]:
    return [call["args"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]


async def test_it_says_who_it_is_and_that_it_is_the_offline_model():
    reply = (await turn("Hello!", system=system()))[-1].text
    assert reply.startswith("I am the document researcher: reads documents closely.")
    assert "pile of pages" in reply
    assert reply.endswith(OFFLINE_NOTE)


async def test_an_agent_whose_system_prompt_names_nobody_speaks_without_a_name():
    plain = compile_prompt(DEFAULT_SYSTEM, [], archived=0, earlier=0, summary="")
    for message in ("Hello!", "Tell me about penguins.", "Who are you?"):
        reply = (await turn(message, system=plain))[-1].text
        assert not reply.startswith("This is")
        assert "the an" not in reply


async def test_it_keeps_what_it_is_told_about_the_user_and_says_so():
    messages = await turn("Hi, my name is Ada Lovelace and I prefer short answers.", system=system(), tools=MEMORY)
    assert arguments(messages) == [
        {"label": "human", "new_string": "Name: Ada Lovelace"},
        {"label": "human", "new_string": "Prefers short answers."},
    ]
    assert "noted this in my memory (block 'human'): “Name: Ada Lovelace”" in messages[-1].text


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Remember that the deadline is Friday.", "The deadline is Friday."),
        ("Remember: no meetings before ten.", "No meetings before ten."),
        ("Remember I like blue.", "Likes blue."),
        ("Remember my dog is called Rex", "Their dog is called Rex."),
        ("Hi! Please remember we meet on Mondays.", "We meet on Mondays."),
        ("Don't forget the deadline is Friday.", "The deadline is Friday."),
    ],
)
async def test_it_keeps_what_it_is_asked_to_remember_however_it_is_asked(message: str, line: str):
    messages = await turn(message, system=system(), tools=MEMORY)
    assert arguments(messages) == [{"label": "human", "new_string": line}]


@pytest.mark.parametrize(
    "message",
    ["Do you remember my dog?", "I don't remember my dog.", "I remember the bridge.", "Remember the bridge?",
     "What do you remember", "Do you remember I like blue", "Remember my password is swordfish"],
)  # fmt: skip
async def test_what_only_speaks_of_remembering_is_not_kept(message: str):
    assert tool_calls(await turn(message, system=system(), tools=MEMORY)) == []


async def test_a_new_name_replaces_the_old_one():
    messages = await turn("My name is Grace.", system=system("Name: Ada\nPrefers tea."), tools=MEMORY)
    assert tool_calls(messages) == ["memory_replace"]
    assert arguments(messages) == [{"label": "human", "old_string": "Name: Ada", "new_string": "Name: Grace"}]


async def test_what_it_knows_already_is_not_kept_twice():
    messages = await turn(
        "My name is Ada. Remember that the deadline is Friday.", system=system("Name: Ada"), tools=MEMORY
    )
    assert arguments(messages) == [{"label": "human", "new_string": "The deadline is Friday."}]
    assert "already have that" in messages[-1].text


async def test_passwords_are_never_kept():
    messages = await turn("Remember that my password is swordfish.", system=system(), tools=MEMORY)
    assert tool_calls(messages) == []


async def test_without_memory_tools_it_says_that_it_keeps_nothing():
    assert "no memory tool in this turn" in (await turn("My name is Ada.", system=system()))[-1].text


async def test_asked_what_it_remembers_it_reads_its_blocks():
    reply = (await turn("What do you remember about me?", system=system("Name: Ada")))[-1].text
    assert "Name: Ada" in reply
    assert "bearings are cracked" in reply
    assert "pile of pages" not in reply


async def test_it_answers_from_memory_and_conversation_and_says_where_it_has_it_from():
    assert (
        "cracked. (my memory: team_notes)" in (await turn("What is wrong with the bearings?", system=system()))[-1].text
    )
    model = await Models(ModelConfig()).chat("atlas/offline")
    said = [
        SystemMessage(system()),
        HumanMessage("The meeting is in room 12."),
        AIMessage("Good."),
        HumanMessage("Where is the meeting?"),
    ]
    assert "room 12. (you, earlier)" in (await model.ainvoke(said)).text


async def test_it_searches_its_archive_when_nothing_at_hand_answers():
    messages = await turn("How tall is Everest?", system=system(), tools=[archival_memory_search])
    assert tool_calls(messages) == ["archival_memory_search"]
    assert "8,849 metres tall" in messages[-1].text


async def test_what_it_does_not_know_it_says():
    assert "I have nothing about penguins" in (await turn("Tell me about penguins.", system=system()))[-1].text


async def test_a_summary_of_a_conversation_is_extractive_and_carries_no_note():
    model = await Models(ModelConfig()).chat("atlas/offline")
    instruction = SystemMessage("Write a summary of the messages below for the assistant who goes on with it.")
    asked = '<answer_schema title="Plan">\n{}\n</answer_schema>'
    transcript = f"user: The bridge has two cracked bearings. They are old.\nassistant: Noted.\nuser: {asked}"
    reply = (await model.ainvoke([instruction, HumanMessage(transcript)])).text
    assert "two cracked bearings" in reply
    assert OFFLINE_NOTE not in reply


async def test_an_answer_streams_in_pieces_that_make_the_whole():
    model = await Models(ModelConfig()).chat("atlas/offline")
    messages = [SystemMessage(system()), HumanMessage("Hello!")]
    chunks = [c async for c in model.astream(messages)]
    assert len([c for c in chunks if c.text]) > 3
    assert "".join(c.text for c in chunks) == (await model.ainvoke(messages)).text
    assert chunks[-1].usage_metadata or chunks[-2].usage_metadata


async def test_a_tool_call_streams_too():
    model = (await Models(ModelConfig()).chat("atlas/offline")).bind_tools(list(MEMORY))
    chunks = [c async for c in model.astream([SystemMessage(system()), HumanMessage("My name is Ada.")])]
    whole: Any = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.tool_calls[0]["args"] == {"label": "human", "new_string": "Name: Ada"}
