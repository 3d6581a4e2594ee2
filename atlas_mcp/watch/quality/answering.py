"""Whether a text answers what was asked, by rules that anybody can check.

It does not when it is empty, gives the question back, only declines, only asks back, or, where the question asks for
more than yes or no, only confirms that it arrived; nor when it has forty words or more in the language of the question
and none of the question's telling words. Else it does: whether it answers well is for people and judges to say.
"""

from __future__ import annotations

import re
from typing import Final

from atlas_mcp.model.wording import is_receipt, same, words
from atlas_mcp.watch.quality.language import language_of

LONG: Final = 40
"""Words from which an answer must share one with its question; shorter ones may name just what was asked for."""

_DECLINED_WORDS: Final = 40
_ASKS = re.compile(r"[?？؟]")
_OPEN = re.compile(
    r"\b(?:what|which|who|whom|whose|how|why|when|where|was|welche\w*|wer|wem|wen|wie|warum|wann|wo|wieso|quel\w*|qui|"
    r"comment|pourquoi|quand|où|qué|cuál\w*|quién\w*|cómo|cuándo|dónde|cosa|quale|quali|chi|come|perché|quando|dove)\b",
    re.IGNORECASE,
)
_DECLINES = re.compile(
    r"\b(?:i(?:'m| am)? (?:sorry|afraid|unable|not able)|i (?:do not|don't|cannot|can't|could not|couldn't) "
    r"(?:know|answer|help|say|tell|find)|no (?:answer|idea)|ich weiß (?:es |das )?nicht|das kann ich nicht|"
    r"ich kann (?:das |dazu |es )?(?:leider )?nicht|je ne (?:sais|peux) pas|"
    r"no (?:lo )?s[eé]|no puedo|non (?:lo )?so)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?？؟。\n]+[.!?？؟。]?")
_TELLING = re.compile(r"[^\W\d_]{4,}")


def asks(text: str) -> bool:
    """Whether the text asks something: it has a question mark outside of code."""
    return bool(_ASKS.search(text))


def why_no_answer(question: str, answer: str) -> str:
    """Why the text is no answer, in words; empty where it is one."""
    if not answer.strip():
        return "it is empty"
    if same(question, answer):
        return "it gives the question back"
    count = len(answer.split())
    if count < _DECLINED_WORDS and _DECLINES.search(answer):
        return "it only declines"
    sentences = [one for one in map(str.strip, _SENTENCE.findall(answer)) if words(one)]
    if sentences and all(_ASKS.search(one) for one in sentences):
        return "it only asks back"
    if _OPEN.search(question) and is_receipt(answer):
        return "it only confirms that something arrived"
    if count >= LONG and _is_beside_the_point(question, answer):
        return f"it has {count} words, and none of the telling ones of the question"
    return ""


def _is_beside_the_point(question: str, answer: str) -> bool:
    here = language_of(question)
    wanted = _stems(question)
    return bool(here and wanted and here == language_of(answer) and not wanted & _stems(answer))


def _stems(text: str) -> set[str]:
    return {word.casefold()[:5] for word in _TELLING.findall(text)}
