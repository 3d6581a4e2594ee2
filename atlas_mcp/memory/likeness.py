"""Whether two texts say the same, by their telling words; no model asked.

Numbers and denials are looked at apart: "costs 5" is not a repetition of "costs 6", nor "is needed" of "is not needed".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from atlas_mcp.memory.words import Query

SAME = 0.8
"""From this share of common telling words on, two texts say the same."""
MOST_COMPARED = 4_000
_SHORTEST = 4
_DENIES = re.compile(r"\b(?:not|no|never|cannot|nor|neither|without|none)\b|n['’]t\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SAYING_LITTLE = frozenset(
    re.findall(
        r"\w+",
        """about after again also because been before being between both could does done down during each either else
        even ever every from further have having here into just like made make many more most much must only other
        ought over rather same shall should since some such than that their them then there these they this those
        through under until upon very were what when where whether which while whom whose will with within would your
        yours""",
    )
)


@dataclass(frozen=True)
class Words:
    """A text as it is compared."""

    text: str

    @cached_property
    def telling(self) -> frozenset[str]:
        """The words that say something, without their endings; of scripts without spaces three letters in a row."""
        unspaced = {part[i : i + 3] for part in self._all.unspaced for i in range(max(1, len(part) - 2))}
        return frozenset(map(_stem, self._spaced)) | unspaced

    @property
    def asking(self) -> Query:
        """A search for the words that say something."""
        return Query(" ".join((*self._spaced, *self._all.unspaced)))

    @cached_property
    def numbers(self) -> frozenset[str]:
        """The numbers in it."""
        return frozenset(n.replace(",", "").rstrip(".") for n in _NUMBER.findall(self.text))

    @cached_property
    def denials(self) -> int:
        """How many words deny something."""
        return len(_DENIES.findall(self.text))

    @cached_property
    def _all(self) -> Query:
        return Query(self.text[:MOST_COMPARED])

    @cached_property
    def _spaced(self) -> tuple[str, ...]:
        spaced = (w for w in self._all.words if not any(part in w for part in self._all.unspaced))
        return tuple(w for w in spaced if w not in _SAYING_LITTLE and (len(w) >= _SHORTEST or w.isdigit()))


def overlap(one: Words, other: Words) -> float:
    """The share of the shorter text's telling words that stand in the other, 0 to 1."""
    shorter = min(len(one.telling), len(other.telling))
    return len(one.telling & other.telling) / shorter if shorter else 0.0


def repeated(one: Words, other: Words) -> float:
    """How much one of them repeats the other, 0 to 1: nothing where they differ in a number, or in what they deny."""
    same = one.numbers == other.numbers and one.denials == other.denials
    return overlap(one, other) if same else 0.0


def says_the_same(one: Words, other: Words) -> bool:
    """Whether one of them repeats the other."""
    return repeated(one, other) >= SAME


def _stem(word: str) -> str:
    return word[: max(_SHORTEST, len(word) - 2)]
