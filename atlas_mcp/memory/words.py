"""A query as the indexes take it, whatever characters stand in it.

Words are looked for in all their forms. Scripts that put no spaces between words, and words joined to their endings,
are looked for by any three letters in a row; pieces too short for that, as plain text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

_MOST = 40
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+"
)
"""Thai and Lao, Burmese, Khmer, Kana, Han, Hangul."""


@dataclass(frozen=True)
class Query:
    """What somebody looks for."""

    text: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words, each once, at most 40: letters, digits and marks, in small letters as the indexes have them."""
        folded = unicodedata.normalize("NFC", self.text).lower()
        plain = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in folded)
        return tuple(dict.fromkeys(plain.split()))[:_MOST]

    @cached_property
    def unspaced(self) -> tuple[str, ...]:
        """The stretches in scripts that put no spaces between words."""
        return tuple(part for word in self.words for part in _UNSPACED.findall(word))

    @cached_property
    def grams(self) -> tuple[str, ...]:
        """Three letters in a row of each such stretch; other words whole, if they have three letters."""
        threes = [part[i : i + 3] for part in self.unspaced for i in range(len(part) - 2)]
        return tuple(dict.fromkeys([*threes, *(w for w in self._spaced if len(w) >= 3)]))[: 2 * _MOST]

    @cached_property
    def short(self) -> tuple[str, ...]:
        """Stretches of one or two letters in scripts without spaces: they are words there."""
        return tuple(dict.fromkeys(part for part in self.unspaced if len(part) < 3))

    @property
    def match_words(self) -> str:
        """The query for an index of words; empty if there is no word."""
        return _any_of(self.words)

    @property
    def match_grams(self) -> str:
        """The query for an index of three letters in a row; empty if there is nothing so long."""
        return _any_of(self.grams)

    def covered(self, text: str) -> float:
        """The share of what is looked for that stands in the text, from 0 to 1."""
        folded = unicodedata.normalize("NFC", text).lower()
        stems = [w[: max(4, len(w) - 2)] for w in self._spaced]
        threes = [g for g in self.grams if _UNSPACED.match(g)]
        wanted = [*stems, *threes, *self.short]
        return sum(one in folded for one in wanted) / len(wanted) if wanted else 0.0

    @cached_property
    def _spaced(self) -> tuple[str, ...]:
        return tuple(word for word in self.words if not _UNSPACED.search(word))


def _any_of(words: tuple[str, ...]) -> str:
    return " OR ".join(f'"{word}"' for word in words)
