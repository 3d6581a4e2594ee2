"""Whatever address, prompt or beginning of a word a client makes up: an answer in words, or not found, and no more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from tests.hostile.arguments import names
from tests.hostile.house import LONGEST_REFUSAL

if TYPE_CHECKING:
    from tests.hostile.house import House

LONG = "x" * 1_000_000
ODD = (
    *("..", "../..", "%2e%2e", "%2e%2e%2f%2e%2e%2f", "..%5c", "%00", "%", "%zz", "a%2fb", "//", "?", "#", "a?b#c", "*"),
    *("{agent}", "{run_id}", "librarian%00", "librarian/../strategist", "LIBRARIAN", "lıbrarian", " librarian", "me@x"),
    *("local:other", "key:http", "run_" + "0" * 32, "human", "new", "\u202ehuman", "\x1b[2J", "\n", "x" * 5_000),
)
parts = st.sampled_from(ODD) | names | names.map(lambda text: quote(text, safe=""))


def filled(template: str) -> st.SearchStrategy[str]:
    """The template with something in each of its places."""
    plain = re.sub(r"\{[?&](\w+)\}", r"?\1={\1}", template)
    pieces = re.split(r"\{\w+\}", plain)
    gaps = st.lists(parts, min_size=len(pieces) - 1, max_size=len(pieces) - 1)
    return gaps.map(lambda some: "".join(f"{piece}{gap}" for piece, gap in zip(pieces, [*some, ""], strict=True)))


def templates(house: House) -> list[str]:
    """Those that the server has."""
    listed = house.ask(lambda client: client.list_resource_templates())
    return [one.uri_template for one in listed.resource_templates]


def test_addresses_that_lead_nowhere_are_not_found(house: House) -> None:
    known = templates(house)
    assert len(known) >= 5
    odd = st.sampled_from(["file:///etc/passwd", "http://127.0.0.1/", "atlas://", "atlas:///etc", "ui://x", "", LONG])
    before = house.state()

    @settings(max_examples=300)
    @given(st.one_of([*map(filled, known), odd, names]))
    def one(uri: str) -> None:
        found = house.ask(lambda client: client.read_resource(uri))
        if isinstance(found, MCPError):
            assert len(str(found)) < LONGEST_REFUSAL
        else:
            text = found.contents[0].text
            assert "/etc" not in text
            assert str(house.home) not in text

    one()
    assert house.state() == before


def test_prompts_are_filled_in_or_refused(house: House) -> None:
    known = house.ask(lambda client: client.list_prompts()).prompts
    assert known
    before = house.state()

    @settings(max_examples=200)
    @given(st.data())
    def one(data: st.DataObject) -> None:
        prompt = data.draw(st.sampled_from(known))
        fields = [argument.name for argument in prompt.arguments or ()] or ["x"]
        arguments: dict[str, str] = data.draw(
            st.dictionaries(st.sampled_from(fields) | names, parts | st.just(LONG), max_size=4)
        )
        name = data.draw(st.just(prompt.name) | names)
        got: Any = house.ask(lambda client: client.get_prompt(name, arguments))
        assert not isinstance(got, MCPError) or len(str(got)) < LONGEST_REFUSAL

    one()
    assert house.state() == before


def test_completion_gives_names_or_none(house: House) -> None:
    prompts = [
        PromptReference(type="ref/prompt", name=one.name) for one in house.ask(lambda c: c.list_prompts()).prompts
    ]
    places = [ResourceTemplateReference(type="ref/resource", uri=uri) for uri in templates(house)]
    words = st.sampled_from(["agent", "team", "group", "label", "run_id", "to", "text", "topic"]) | names
    odd = [
        PromptReference(type="ref/prompt", name=LONG),
        ResourceTemplateReference(type="ref/resource", uri="file:///x"),
    ]

    @settings(max_examples=200)
    @given(
        st.sampled_from([*prompts, *places, *odd]),
        words,
        parts | st.just(LONG),
        st.dictionaries(words, parts, max_size=2),
    )
    def one(ref: Any, name: str, value: str, context: dict[str, str]) -> None:
        argument = {"name": name, "value": value}
        got = house.ask(lambda client: client.complete(ref, argument, context_arguments=context))
        if isinstance(got, MCPError):
            assert len(str(got)) < LONGEST_REFUSAL
        else:
            assert len(got.completion.values) <= 100

    one()


@pytest.mark.parametrize("uri", ["atlas://runs/" + "x" * 10_000, "x" * 100_000, "atlas://runs/../runs/x", "file:///"])
def test_listening_to_what_is_not_there_is_refused_or_silent(house: House, uri: str) -> None:
    got = house.ask(lambda client: client.subscribe_resource(uri))
    assert not isinstance(got, MCPError) or len(str(got)) < LONGEST_REFUSAL
