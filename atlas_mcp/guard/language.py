"""In which language a text is, where that can be told simply: by its script, and by its commonest words.

Told only of texts of LEAST words, and only where one language is clearly ahead; else nothing is said. So a text is
never refused for a language that it may not have.
"""

from __future__ import annotations

import re
from collections import Counter

LEAST = 12

_SCRIPTS: dict[str, str] = {
    "ja": "\u3040-\u30ff",
    "ko": "\uac00-\ud7af",
    "zh": "\u4e00-\u9fff",
    "th": "\u0e00-\u0e7f",
    "hi": "\u0900-\u097f",
    "he": "\u0590-\u05ff",
    "el": "\u0370-\u03ff",
    "ar": "\u0600-\u06ff",
    "ru": "\u0400-\u04ff",
}
"""Of scripts that several languages share, the one that is told is what most texts in it are."""

_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the of and to in is that it for was with as are on be this by have from not which they or at has were",
        "de": "der die und das den von zu mit sich des auf für ist im nicht dem ein eine als auch es wird sind werden",
        "fr": "le la les de des et un une est dans que qui pour pas sur au du plus par avec ce sont il elle nous vous",
        "es": "el la los las de que y en un una es por con para del se no su al lo como más pero sus ha fue son",
        "it": "il la di che e un una è per con del della non si da sono al le come anche più i gli nel alla questo",
        "pt": "o a os as de que e em um uma é por com para do da não se no na ao mais foi são dos das como",
        "nl": "de het een en van in is dat op te zijn met voor niet aan er ook als bij door maar om uit wordt",
        "pl": "i w na z do się nie że jest to o jak po co przez dla od za są przy oraz ale tym także",
        "sv": "och att det i en på är som för av med till den har inte om ett men var jag från eller kan",
        "tr": "ve bir bu için ile de da olarak çok daha olan gibi en kadar sonra ama ne var değil her olan",
    }.items()
}
_LETTERS = re.compile(r"[^\W\d_]")
_TOLD_OF = 20_000


def language_of(text: str) -> str | None:
    """The language's two letters, or None where it cannot be told."""
    part = text[:_TOLD_OF]
    letters = len(_LETTERS.findall(part))
    if letters < LEAST * 2:
        return None
    for language, script in _SCRIPTS.items():
        share = len(re.findall(f"[{script}]", part)) / letters
        if share > (0.1 if language == "ja" else 0.5):
            return language
    counted = Counter(re.findall(r"[^\W\d_]+", part.lower()))
    if counted.total() < LEAST:
        return None
    scores = sorted(((sum(counted[w] for w in words), name) for name, words in _WORDS.items()), reverse=True)
    (best, name), (second, _) = scores[:2]
    return name if best >= counted.total() / 6 and best > 1.3 * second else None
