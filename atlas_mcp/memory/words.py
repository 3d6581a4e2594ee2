"""A query as the indexes take it, whatever characters stand in it.

Words are looked for in all their forms, and those that every question has, such as "what" and "did", only where there
are no others. In scripts that put no spaces between words, most words have two letters: there any two letters in a
row are looked for.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 40
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Thai and Lao, Burmese, Khmer, Kana, Han, Hangul: the ranges of a class of characters."""
_UNSPACED = re.compile(f"[{UNSPACED}]+")

ASKING = frozenset(
    re.findall(
        r"\S+",
        """
        a about after all an and any are as at be been before but by can could did do does for from had has have
        he her him his how i if in into is it its last me my now of on or our out she should so some than that
        the their them then there these they this those to up us was we were what when where which who whom
        whose why will with would you your aber als auch auf aus bei bin da dann das dass dem den denn der des
        diese dieser du durch ein eine einem einen einer es für gibt haben hat hatte ich ihr im ist ja kann mein
        mit nach noch nur oder ob seine seiner sich sie sind um und uns unser von vor wann waren warum wegen
        welche welcher welches wem wen wenn wer werden wie wieder wir wird wo woher wohin wurde zu zum zur über
        au aux avec ce ces cette de dont elle en est et eu il ils j je l la le les leur lui mais mon nous où ou
        pourquoi quand que quel quelle quels qui quoi se ses sont te tu un une vous y à al como con cuál cuándo
        cuánto del dónde donde el ella era esta este esto fue hay las lo los más mi muy o para por qué quién ser
        si sobre su sus también una ya а бы был была были было в вам вас во вот все вы где да для до его ее её
        если есть еще ещё же за и из или им их к как какая какие какой какое когда кто куда ли мне мой мы на над
        наш него о об он она они от по под при про с сам со так также там то того тоже только ты у уже чей чем
        через что чтобы чья чьё эта эти это этот я أن أين إلى إن التي الذي ثم على عن عند في قد كان كانت كل كم
        كما كيف لماذا ما ماذا متى مع من منذ هذا هذه هل هو هي و
        """,
    )
)
"""Words that questions in English, German, French, Spanish, Russian and Arabic are made of. None of them denies."""

_ASCII = {n: chr(n).lower() if chr(n).isalnum() else " " for n in range(128)}
_ARTICLES = frozenset(re.findall(r"\S+", "a an the der die das ein eine le la les un une el los las"))


@dataclass(frozen=True)
class Query:
    """What somebody looks for."""

    text: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words, each once, at most 40: letters, digits and marks, in small letters as the indexes have them."""
        return tuple(dict.fromkeys(_plain(self.text).split()))[:_MOST]

    @cached_property
    def telling(self) -> tuple[str, ...]:
        """The words without those that every question has; all of them where there are no others."""
        return tuple(word for word in self.words if word not in ASKING) or self.words

    @cached_property
    def unspaced(self) -> tuple[str, ...]:
        """The stretches in scripts that put no spaces between words."""
        return tuple(part for word in self.words for part in _UNSPACED.findall(word))

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """One or two letters that are words in scripts without spaces: stretches as short, and pairs of longer ones."""
        whole = [part for part in self.unspaced if len(part) < 3]
        pairs = [part[i : i + 2] for part in self.unspaced for i in range(len(part) - 1)]
        return tuple(dict.fromkeys([*whole, *pairs]))[: 2 * _MOST]

    @cached_property
    def spaced(self) -> tuple[str, ...]:
        """The telling words of scripts that put spaces between words."""
        return tuple(word for word in self.telling if not _UNSPACED.search(word))

    def covered(self, text: str, weights: Mapping[str, float] | None = None) -> float:
        """The share of what is looked for that stands in the text, from 0 to 1; each word counts by its weight."""
        folded = unicodedata.normalize("NFC", text).lower()
        wanted = {word: (word[: max(4, len(word) - 2)], (weights or {}).get(word, 1.0)) for word in self.spaced}
        wanted |= {piece: (piece, 1.0) for piece in self.pieces}
        whole = sum(weight for _, weight in wanted.values())
        return sum(weight for stem, weight in wanted.values() if stem in folded) / whole if whole else 0.0


def gist(text: str) -> str:
    """The text without its punctuation, capitals and articles: texts with the same gist say the same."""
    words = _plain(text).split()
    return " ".join(word for word in words if word not in _ARTICLES) or " ".join(text.split())


def _plain(text: str) -> str:
    if text.isascii():
        return text.translate(_ASCII)  # as below, at a tenth of the time
    folded = unicodedata.normalize("NFC", text).lower()
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in folded)
