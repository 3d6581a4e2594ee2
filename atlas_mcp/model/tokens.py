"""How many tokens a text will be, roughly, without a tokenizer: nothing is downloaded.

The classes of characters weigh as modern byte-pair vocabularies split them: a short word is one token, a long one a
token per five letters, two digits are one, ideographs a little more than one each. Against cl100k it is within about
10 % on prose, JSON and Chinese, 20 % on code, and a third too low on emoji; leave that much room.
"""

from __future__ import annotations

import re
from math import ceil

_PIECE = re.compile(r"[A-Za-z]+|\d|[぀-ヿ㐀-鿿가-힯]|[^\sA-Za-z\d]|\n+| {2,}")


def estimate_tokens(text: str) -> int:
    """The estimated number of tokens, rounded up; 0 for an empty text."""
    return ceil(sum(_weight(piece) for piece in _PIECE.findall(text)))


def _weight(piece: str) -> float:
    first = piece[0]
    if first.isascii():
        if first.isalpha():
            return 1 if len(piece) <= 6 else len(piece) / 5
        return 0.5 if first.isdigit() else 0.75
    if ord(first) > 0xFFFF:
        return 2.6
    return 1.1 if first > "\u2e80" else 0.55
