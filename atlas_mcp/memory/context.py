"""The assembler: of all that an agent could be given, what it is given within a budget of tokens.

Promise: no section takes more than its share, and none is crowded out of what is kept for it. `core` and `task` are
given as they come; `recent` from the newest backwards, without a gap; of what is remembered the best comes first, less
what it repeats (maximal marginal relevance), and what says the same as an item that is given, or as a line of a core
block, is dropped. The order in which things are given does not depend on their scores: the same items make the same
text, and one that is newer comes after those that were there. What is left out is counted. Nothing is read or written
here, and the same items give the same context again.
"""

from __future__ import annotations

from collections import Counter as Count
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from atlas_mcp.memory.likeness import SAME, Words, overlap
from atlas_mcp.model.context import ESTIMATE, REMEMBERED, SECTIONS, Context, ContextItem, LeftOut, Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from atlas_mcp.model.context import Counter, SectionName, Shape, Why

RELEVANCE = 0.7
"""How much an item's own score weighs beside how unlike it is to what is given already."""
IN_COMMON = 2
"""So many telling words in common make a text have to do with another."""
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class _Packing:
    """What has been put in so far, and what was not."""

    counter: Counter
    left: int
    items: list[ContextItem] = field(default_factory=list[ContextItem])
    said: list[Words] = field(default_factory=list[Words])
    items_out: Count[tuple[SectionName, Why]] = field(default_factory=Count["tuple[SectionName, Why]"])
    tokens_out: Count[tuple[SectionName, Why]] = field(default_factory=Count["tuple[SectionName, Why]"])

    def leave(self, item: ContextItem, tokens: int, why: Why) -> None:
        """Count an item that is not given."""
        self.items_out[item.section, why] += 1
        self.tokens_out[item.section, why] += tokens


def assemble(items: Iterable[ContextItem], shape: Shape, counter: Counter = ESTIMATE) -> Context:
    """The context of that shape. Of items with the same id in the same section the first counts."""
    there: dict[SectionName, dict[str, ContextItem]] = {name: {} for name in SECTIONS}
    for item in items:
        there[item.section].setdefault(item.id, item)
    sized = {name: [(one, counter.count(one.text)) for one in found.values()] for name, found in there.items()}
    usable = counter.room(shape.budget)
    wanted = {name: _least(shape, name, usable, sum(n for _, n in sized[name])) for name in SECTIONS}
    packing = _Packing(counter, usable)
    for place, name in enumerate(SECTIONS):
        kept_for_others = sum(wanted[later] for later in SECTIONS[place + 1 :])
        room = min(int(_share(shape, name).most * usable), packing.left - kept_for_others)
        _fill(packing, name, sized[name], max(0, room))
    left_out = [
        LeftOut(section=section, why=why, items=number, tokens=packing.tokens_out[section, why])
        for (section, why), number in packing.items_out.items()
    ]
    return Context(
        items=tuple(packing.items),
        left_out=tuple(left_out),
        tokens=usable - packing.left,
        budget=shape.budget,
        counted_by=counter.name,
    )


def relevance(asked: Words, text: str) -> float:
    """How much a text has to do with what is asked, 0 to 1; for choosing among what was found for something wider.

    It is the share of the shorter one's telling words that stand in the other, and nothing where fewer than IN_COMMON
    do, if there are as many.
    """
    words = Words(text)
    if len(asked.telling & words.telling) < min(IN_COMMON, len(asked.telling)):
        return 0.0
    return overlap(asked, words)


def _share(shape: Shape, name: SectionName) -> Share:
    return shape.shares.get(name, Share(most=0.0))


def _least(shape: Shape, name: SectionName, usable: int, tokens: int) -> int:
    share = _share(shape, name)
    return min(tokens, int(min(share.least, share.most) * usable))


def _fill(packing: _Packing, name: SectionName, given: Sequence[tuple[ContextItem, int]], room: int) -> None:
    if name in REMEMBERED:
        ranked: Iterable[tuple[ContextItem, int]] = _ranked(packing, given)
    else:
        ranked = reversed(given) if name == "recent" else given
    taken: list[ContextItem] = []
    for item, tokens in ranked:
        full = name == "recent" and (name, "no room") in packing.items_out
        if tokens > room or full:  # what is left out of the newest leaves out all before it
            packing.leave(item, tokens, "no room")
            continue
        room -= tokens
        packing.left -= tokens
        taken.append(item)
        if name in REMEMBERED:
            packing.said.append(Words(item.text))
        elif name == "core":
            packing.said += [Words(line) for line in item.text.splitlines() if line.strip()]
    if name in REMEMBERED:
        taken.sort(key=lambda item: (item.at or _NEVER, item.id))
    packing.items += reversed(taken) if name == "recent" else taken


@dataclass
class _Waiting:
    """An item that may still be given, and how like it is to what is given already."""

    item: ContextItem
    tokens: int
    words: Words
    like: float = 0.0
    compared: int = 0

    @property
    def worth(self) -> float:
        return RELEVANCE * self.item.score - (1 - RELEVANCE) * self.like

    def repeats(self, said: Sequence[Words]) -> bool:
        """Whether something that is given has all that it says; it is compared with each of them once."""
        new, self.compared = said[self.compared :], len(said)
        self.like = max((self.like, *(overlap(self.words, other) for other in new)))
        return any(_repeats(self.words, other) for other in new)


def _ranked(packing: _Packing, given: Sequence[tuple[ContextItem, int]]) -> Iterator[tuple[ContextItem, int]]:
    """The best of what is left, again and again, by its score and by how little of it was given before."""
    waiting = [_Waiting(item, tokens, Words(item.text)) for item, tokens in given]
    while waiting:
        kept: list[_Waiting] = []
        for one in waiting:
            if one.repeats(packing.said):
                packing.leave(one.item, one.tokens, "repeats")
            else:
                kept.append(one)
        if not kept:
            return
        best = max(range(len(kept)), key=lambda n: (kept[n].worth, -n))
        chosen = kept.pop(best)
        yield chosen.item, chosen.tokens
        waiting = kept


def _repeats(words: Words, said: Words) -> bool:
    """Whether what was said has all that these words say; it may say more."""
    if not words.telling or len(words.telling & said.telling) < SAME * len(words.telling):
        return False
    return words.numbers <= said.numbers and words.denials == said.denials
