"""Texts to measure memory with: as many as are asked for, each another one, of a vocabulary as wide as people's.

The words follow Zipf's law, as in any language: a few stand in most texts, most in very few. All of it comes from one
seed, so that every run and every program that is measured gets the same.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Iterator

_COMMON = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "was",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "from",
    "have",
    "or",
    "by",
    "one",
    "had",
    "not",
    "but",
    "what",
    "all",
    "were",
    "when",
    "we",
    "there",
    "can",
    "an",
    "your",
    "which",
    "their",
    "said",
    "if",
    "do",
    "will",
    "each",
    "about",
    "how",
    "up",
    "out",
    "them",
    "then",
    "she",
    "many",
    "some",
    "so",
    "these",
    "would",
    "other",
    "into",
    "has",
    "more",
    "two",
    "like",
    "him",
    "see",
    "time",
    "could",
    "no",
    "make",
    "than",
    "first",
    "been",
    "its",
    "who",
    "now",
    "people",
    "my",
    "made",
    "over",
    "did",
    "down",
    "only",
    "way",
    "find",
    "use",
    "may",
    "water",
    "long",
    "little",
    "very",
    "after",
    "words",
    "called",
    "just",
    "where",
    "most",
    "know",
]
_WORDS = [
    "budget",
    "meeting",
    "invoice",
    "customer",
    "supplier",
    "harbour",
    "lighthouse",
    "garden",
    "bicycle",
    "passport",
    "kitchen",
    "doctor",
    "violin",
    "server",
    "password",
    "backup",
    "deadline",
    "release",
    "report",
    "contract",
    "lawyer",
    "school",
    "daughter",
    "brother",
    "coffee",
    "train",
    "airport",
    "hotel",
    "Berlin",
    "Lisbon",
    "Osaka",
    "Nairobi",
    "Toronto",
    "Madrid",
    "Helsinki",
    "Cairo",
    "prefers",
    "visited",
    "bought",
    "signed",
    "moved",
    "cancelled",
    "finished",
    "repaired",
    "painted",
    "allergic",
    "vegetarian",
    "birthday",
    "anniversary",
    "marathon",
    "concert",
    "museum",
    "novel",
    "translator",
    "engineer",
    "nurse",
    "pilot",
]
_HEADS = [
    "b",
    "br",
    "c",
    "cl",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "qu",
    "r",
    "s",
    "sh",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "z",
]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "oo", "ou"]
_TAILS = [
    "b",
    "ck",
    "d",
    "ft",
    "g",
    "l",
    "ll",
    "m",
    "n",
    "nd",
    "ng",
    "nt",
    "p",
    "r",
    "rd",
    "rk",
    "s",
    "st",
    "t",
    "th",
    "x",
]
WIDE = 40_000


def vocabulary() -> list[str]:
    """The words, from the one that is used most to the one that is used least."""
    draw = random.Random(7)
    made = dict.fromkeys((*_COMMON, *_WORDS))
    while len(made) < WIDE:
        beats = draw.choice((1, 2, 2, 3))
        made["".join(draw.choice(_HEADS) + draw.choice(_VOWELS) for _ in range(beats)) + draw.choice(_TAILS)] = None
    return list(made)


def texts() -> Iterator[str]:
    """One text after the other, of 12 to 40 words, without an end."""
    words, draw = vocabulary(), random.Random(11)
    weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
    while True:
        drawn = [words[bisect.bisect(weights, draw.random() * weights[-1])] for _ in range(draw.randint(12, 40))]
        yield f"{' '.join(drawn).capitalize()}."


def questions(of: list[str], count: int) -> list[str]:
    """Questions about texts: five words of one that are telling, among words that stand everywhere."""
    draw, common = random.Random(13), set(_COMMON)
    made: list[str] = []
    while len(made) < count:
        telling = [word for word in draw.choice(of).rstrip(".").lower().split() if word not in common]
        if len(telling) >= 5:
            asked = draw.sample(telling, 5)
            made.append(f"what was the {asked[0]} of {asked[1]} and {asked[2]} when {asked[3]} {asked[4]}?")
    return made
