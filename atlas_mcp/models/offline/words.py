"""Words as the offline model compares them: lower case, without endings, without those that say nothing.

The stems are rough on purpose: "factions", "faction's" and "faction" are one word, and so are "controls", "controlled"
and "controlling". Negations are kept: a sentence with "not" says something else than the same one without.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:[.,]\d+)*%?", re.UNICODE)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEGATIONS = _set("not no never cannot nor neither without none nothing")
_STOP = _set(
    """
    a about above after again all also am an and any are as at be because been before being below between both but by
    can could did do does doing down during each either else even ever every few for from further had has have having
    he her here hers him his how however i if in into is it its itself just like may me might mine more most much must
    my of off on once one only or other others ought our ours out over own per quite rather same shall she should since
    so some such than that the their theirs them themselves then there these they this those though through thus to
    too under until up upon us very was we were what when where whether which while who whom whose why will with within
    would yet you your yours
    """
)
_ASKING = _set(
    """
    according answer argument argue asap ask author brief central clear compare content core describe detail discuss
    document draft essence essential evidence example explain explanation find found gist give help idea immediately
    important key list main major make material mean meaning meant message name outline overall paragraph passage please
    point present provide question quote read report say section sentence short show source state statement summarise
    summarize summary support supported take tell text theme thesis urgent urgently use using word work write
    """
)


def words(text: str) -> list[str]:
    """Every word of the text, in lower case."""
    return [w.lower().replace("’", "'") for w in _WORD.findall(text)]


def numbers(text: str) -> frozenset[str]:
    """The numbers in the text, without separators of thousands."""
    return frozenset(n.replace(",", "").rstrip(".") for n in _NUMBER.findall(text))


def negations(text: str) -> int:
    """How many words deny something."""
    return sum(w in NEGATIONS or w.endswith("n't") for w in words(text))


def terms(text: str) -> list[str]:
    """The stems of the words that say something, in order, with repetitions."""
    return [stem(w) for w in words(text) if w not in _STOP and w not in NEGATIONS and len(w) > 1]


def asked_terms(text: str) -> list[str]:
    """The stems that a question or an instruction is about, each once: not those that only ask for an answer."""
    kept = [w for w in words(text) if w not in _STOP and w not in NEGATIONS and len(w) > 1]
    return list(dict.fromkeys(stem(w) for w in kept if w not in _ASKING and w.removesuffix("s") not in _ASKING))


def surface(text: str) -> dict[str, str]:
    """How each stem is first written in the text."""
    found: dict[str, str] = {}
    for word in words(text):
        found.setdefault(stem(word), word.removesuffix("'s"))
    return found


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The word without its common English endings; short words and numbers stay as they are."""
    word = word.removesuffix("'s").removesuffix("'")
    if len(word) <= 3 or not word.isalpha():
        return word
    word = _singular(word)
    for ending in ("ations", "ation", "ingly", "edly", "ments", "ment", "ness", "ing", "ed", "ly", "er"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 4:
            word = _undoubled(root)
            break
    word = word.removesuffix("e") if len(word) > 4 else word
    return word[:-1] if word.endswith("ll") and len(word) > 5 else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "ches", "shes", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _undoubled(word: str) -> str:
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiousl" else word
