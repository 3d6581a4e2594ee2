"""A summary made of whole sentences of what it sums up, no model asked: those that say most of what is talked about.

Promise: every sentence stands in the originals as it stands here, in their order, under the name of who said it; what
was said often weighs more, and what a chosen sentence has said already weighs less. The same texts give the same
summary, of no more tokens than it may have.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

from atlas_mcp.memory.likeness import Words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])\s*|\n+")
_LONGEST = 1_000
"""Characters of one sentence; what goes on without an end is parted there."""
_FIRST = 1.25
"""How much more a message's first sentence counts: there people say what they are about."""
_SAID = 0.5
"""What is left of a word's weight each time that it was said."""


@dataclass(frozen=True)
class _Sentence:
    """Where it stands, who said it, its telling words, and what it takes."""

    message: int
    place: int
    text: str
    words: frozenset[str]
    tokens: int


def extract(texts: Sequence[tuple[str, str]], room: int, count: Callable[[str], int]) -> str:
    """The summary of these texts, each with the name of who said it, in at most `room` tokens as `count` counts."""
    sentences = [one for number, (_, text) in enumerate(texts) for one in _sentences(number, text, count)]
    names = [count(f"{who}: \n\n") for who, _ in texts]
    chosen = _chosen(sentences, names, room)
    by_message: dict[int, list[_Sentence]] = defaultdict(list)
    for one in sorted(chosen, key=lambda s: (s.message, s.place)):
        by_message[one.message].append(one)
    return "\n\n".join(f"{texts[n][0]}: {' '.join(s.text for s in said)}" for n, said in by_message.items())


def _sentences(message: int, text: str, count: Callable[[str], int]) -> list[_Sentence]:
    whole = [" ".join(part.split()) for part in _END.split(text) if part and part.strip()]
    parts = [one[at : at + _LONGEST] for one in whole for at in range(0, len(one), _LONGEST)]
    return [_Sentence(message, n, part, Words(part).telling, count(part) + 1) for n, part in enumerate(parts)]


def _chosen(sentences: Sequence[_Sentence], names: Sequence[int], room: int) -> list[_Sentence]:
    """The best by what each says of what is not said yet, for its length. A sentence's worth only falls as others are
    chosen, so what comes first with its worth made anew is the best."""
    often = Counter(word for one in sentences for word in one.words)
    weight = {word: log(1 + times) for word, times in often.items()}
    begun: set[int] = set()
    repeated: set[frozenset[str]] = set()

    def worth(one: _Sentence) -> float:
        said = sum(weight[word] for word in sorted(one.words))
        return said * (_FIRST if one.place == 0 else 1.0) / (one.tokens + 8)

    waiting = [(-worth(one), n) for n, one in enumerate(sentences) if one.words]
    heapq.heapify(waiting)
    chosen: list[_Sentence] = []
    while waiting:
        _, n = heapq.heappop(waiting)
        one = sentences[n]
        needed = one.tokens + (0 if one.message in begun else names[one.message])
        if needed > room or one.words in repeated:
            continue
        now = worth(one)
        if waiting and now < -waiting[0][0] - 1e-12:
            heapq.heappush(waiting, (-now, n))
            continue
        chosen.append(one)
        begun.add(one.message)
        repeated.add(one.words)
        room -= needed
        for word in one.words:
            weight[word] *= _SAID
    return chosen
