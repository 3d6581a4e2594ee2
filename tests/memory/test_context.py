"""What an agent is given within a budget: who gets how much, what is dropped, and that nothing is lost silently."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atlas_mcp.memory.context import assemble, relevance
from atlas_mcp.memory.likeness import Words
from atlas_mcp.model.context import SECTIONS, ContextItem, Counter, SectionName, Shape, Share
from atlas_mcp.model.tokens import estimate_tokens

WORDS = Counter("words", lambda text: len(text.split()))
DAY = datetime(2026, 5, 1, tzinfo=UTC)
ALL = {name: Share() for name in SECTIONS}


def item(id: str, section: SectionName = "memories", text: str = "", **more: Any) -> ContextItem:
    return ContextItem(id=id, section=section, text=text or f"{id}alpha {id}beta {id}gamma {id}delta", **more)


def shape(budget: int, **shares: tuple[float, float]) -> Shape:
    given = {name: Share(least=low, most=high) for name, (low, high) in shares.items()}
    return Shape.model_validate({"budget": budget, "shares": given or ALL})


def ids(found: Any, *sections: SectionName) -> list[str]:
    return [one.id for one in (found.of(*sections) if sections else found.items)]


def test_sections_come_in_the_same_order_whatever_order_they_are_handed_in() -> None:
    items = [item(f"{name}{n}", name, at=DAY + timedelta(days=n)) for name in SECTIONS for n in range(3)]
    told = assemble(items, shape(1_000), WORDS)
    for seed in range(5):
        mixed = {name: [i for i in items if i.section == name] for name in SECTIONS}
        names = list(SECTIONS)
        random.Random(seed).shuffle(names)
        assert assemble([i for name in names for i in mixed[name]], shape(1_000), WORDS) == told
    assert [i.section for i in told.items] == [name for name in SECTIONS for _ in range(3)]


def test_scores_choose_and_do_not_order_so_that_a_prompts_beginning_stays_the_same() -> None:
    one, two = item("one", at=DAY), item("two", at=DAY + timedelta(days=1))
    high = assemble([one.model_copy(update={"score": 0.9}), two.model_copy(update={"score": 0.1})], shape(100), WORDS)
    low = assemble([one.model_copy(update={"score": 0.1}), two.model_copy(update={"score": 0.9})], shape(100), WORDS)
    assert ids(high) == ids(low) == ["one", "two"]
    three = item("three", at=DAY + timedelta(days=2), score=1.0)
    assert ids(assemble([three, one, two], shape(100), WORDS)) == ["one", "two", "three"]


def test_the_best_are_given_and_what_does_not_fit_is_counted_with_its_tokens() -> None:
    items = [item(f"m{n}", score=n / 10) for n in range(10)]
    told = assemble(items, shape(12), WORDS)
    assert ids(told) == ["m7", "m8", "m9"]
    [left] = told.left_out
    assert (left.section, left.why, left.items, left.tokens) == ("memories", "no room", 7, 28)
    assert told.tokens == 12
    assert len(told.items) + left.items == len(items)


def test_a_smaller_item_takes_the_room_that_a_better_one_is_too_long_for() -> None:
    long, short = item("long", text=" ".join(f"word{n}" for n in range(50)), score=1.0), item("short", score=0.2)
    assert ids(assemble([long, short], shape(10), WORDS)) == ["short"]


def test_no_section_takes_more_than_its_share_and_none_is_crowded_out_of_what_is_kept_for_it() -> None:
    items = [item(f"{name}{n}", name) for name in SECTIONS for n in range(20)]
    told = assemble(items, shape(100, memories=(0.0, 1.0), facts=(0.2, 0.3), procedures=(0.0, 0.1)), WORDS)
    spent = {name: sum(WORDS.count(i.text) for i in told.of(name)) for name in SECTIONS}
    assert spent == {"core": 0, "task": 0, "memories": 80, "facts": 20, "procedures": 0, "recent": 0}


def test_what_one_section_has_no_use_for_goes_to_the_others() -> None:
    items = [item(f"m{n}") for n in range(20)] + [item("f", "facts")]
    told = assemble(items, shape(40, memories=(0.0, 1.0), facts=(0.5, 0.5)), WORDS)
    assert len(told.of("memories")) == 9
    assert ids(told, "facts") == ["f"]


def test_of_recent_turns_the_newest_are_given_without_a_gap() -> None:
    turns = [item(f"t{n}", "recent") for n in range(6)]
    turns[3] = item("t3", "recent", " ".join(f"long{n}" for n in range(40)))
    told = assemble(turns, shape(30), WORDS)
    assert ids(told) == ["t4", "t5"]
    assert [(one.why, one.items) for one in told.left_out] == [("no room", 4)]


def test_what_says_the_same_is_given_once_in_whatever_section_and_what_differs_in_a_number_or_a_not_is_kept() -> None:
    said = "The keeper of the harbour lamp needs seven barrels of oil every winter"
    items = [
        item("first", text=said, score=0.9),
        item("again", text=f"{said}.", score=0.8),
        item("as_fact", "facts", said.replace("needs", "always needs")),
        item("denied", text=said.replace("needs", "never needs"), score=0.7),
        item("other", text=said.replace("seven barrels", "7 barrels in 1912, 8"), score=0.6),
    ]
    told = assemble(items, shape(1_000), WORDS)
    assert set(ids(told)) == {"first", "denied", "other"}
    assert {(one.section, one.why, one.items) for one in told.left_out} == {
        ("memories", "repeats", 1),
        ("facts", "repeats", 1),
    }


def test_what_stands_in_a_core_block_is_not_given_again_but_a_memory_that_says_more_is() -> None:
    block = item("persona", "core", "Ada keeps the harbour lamp of Skagen.\nShe likes short reports.")
    same = item("same", text="Ada keeps the harbour lamp of Skagen")
    more = item("more", text="She likes short reports with figures, a table of contents and every source named")
    told = assemble([block, same, more], shape(1_000), WORDS)
    assert ids(told) == ["persona", "more"]


def test_of_equally_good_ones_that_differ_in_likeness_the_new_is_taken_first() -> None:
    first = item("first", text="harbour lamp keeper oil winter storm", score=1.0)
    like = item("like", text="harbour lamp keeper oil winter bread", score=0.6)
    new = item("new", text="railway tariffs between Hamburg and Kiel", score=0.55)
    assert set(ids(assemble([first, like, new], shape(12), WORDS))) == {"first", "new"}


def test_core_and_task_are_given_whatever_they_score() -> None:
    told = assemble([item("b", "core", score=0.0), item("t", "task", score=0.0)], shape(100), WORDS)
    assert ids(told) == ["b", "t"]


def test_an_item_named_twice_is_given_once() -> None:
    told = assemble([item("m", score=0.5), item("m", text="something else entirely here")], shape(100), WORDS)
    assert [one.text for one in told.items] == [item("m").text]


def test_the_counting_is_named_and_the_estimate_leaves_room_for_what_it_is_wrong_by() -> None:
    items = [item(f"m{n}") for n in range(200)]
    told = assemble(items, shape(500))
    assert told.counted_by == "estimate by classes of characters"
    assert 400 < told.tokens <= 450
    assert told.tokens == sum(estimate_tokens(one.text) for one in told.items)
    exact = assemble(items, shape(500), WORDS)
    assert (exact.counted_by, exact.tokens) == ("words", 500)


def test_nothing_given_is_a_context_of_nothing() -> None:
    told = assemble([], shape(100))
    assert (told.items, told.left_out, told.tokens) == ((), (), 0)


@pytest.mark.parametrize("text", ["", "   ", "🙂" * 400, "灯台守" * 200, "\x00\x01", "a" * 10_000, '"OR" NEAR( *'])
def test_any_text_can_be_an_item(text: str) -> None:
    told = assemble([ContextItem(id="x", section="memories", text=text), item("y")], shape(50))
    assert told.tokens <= 50
    assert len(told.items) + sum(one.items for one in told.left_out) == 2


def test_what_is_told_of_a_context_names_items_and_counts_and_holds_no_text() -> None:
    told = assemble([item("a", text="secret words here"), item("b", score=0.1)], shape(3), WORDS).told()
    assert told["items"] == {"memories": ["a"]}
    assert told["left_out"] == [{"section": "memories", "why": "no room", "items": 1, "tokens": 4}]
    assert "secret" not in repr(told)


def test_a_text_has_to_do_with_what_is_asked_by_two_telling_words_or_all_there_are() -> None:
    asked = Words("How is the lamp of the harbour kept by its keeper at night, in storms and in fog?")
    assert relevance(asked, "The keeper lit the harbour's lamp.") == 1.0
    assert relevance(asked, "A keeper of sheep sells wool.") == 0.0
    assert relevance(asked, "Storms delayed the railway for the fog was thick, said Ada of Kiel.") < 0.5
    assert relevance(Words("lamp"), "The lamp burns.") == 1.0
    assert relevance(Words("?!"), "anything") == 0.0
