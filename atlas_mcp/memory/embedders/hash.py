"""Vectors by counting: words, pairs of words and runs of three characters, each at a place that its hash decides.

Promise: the same text becomes the same vector on every machine and in every process. They show what texts share, which
the full text shows better: `ranks` is False. They are for trying what needs vectors without any model.
"""

from __future__ import annotations

import re
from collections import Counter
from hashlib import blake2b
from itertools import pairwise
from math import log1p
from typing import TYPE_CHECKING

import anyio.to_thread

from atlas_mcp.memory.embedders import contract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

DIMENSION = 384
_SHORT = 1_000
"""Characters of a question that are counted sooner than a thread is woken."""
_WORD = re.compile(r"\w+")


class HashEmbedder:
    """See `contract.Embedder`."""

    ranks = False
    dimension = DIMENSION
    fingerprint = contract.fingerprint("hash", "words, pairs and threes", "1", DIMENSION)

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """A row for each text; never fails."""
        if query and sum(map(len, texts)) <= _SHORT:
            return _embedded([*texts])
        return await anyio.to_thread.run_sync(_embedded, list(texts))


def _embedded(texts: list[str]) -> NDArray[np.float32]:
    import numpy as np

    rows = np.zeros((len(texts), DIMENSION))
    for row, text in zip(rows, texts, strict=True):
        for feature, count in Counter(_features(text)).items():
            digest = int.from_bytes(blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
            row[(digest >> 1) % DIMENSION] += log1p(count) * (1 if digest & 1 else -1)
        if not row.any():
            row[0] = 1.0
    return contract.checked(rows, len(texts), DIMENSION)


def _features(text: str) -> Iterator[str]:
    words = _WORD.findall(text.casefold())
    for word in words:
        yield f"w {word}"
        padded = f" {word} "
        yield from (f"t {padded[i : i + 3]}" for i in range(len(padded) - 2))
    yield from (f"p {one} {next_}" for one, next_ in pairwise(words))
