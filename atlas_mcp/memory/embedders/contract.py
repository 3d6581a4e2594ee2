"""What an embedder is, and what holds of every vector that one gives.

Promise: a vector that leaves this room is finite, of length 1, and of its embedder's dimension; vectors of different
fingerprints are never compared. What is neither is EmbedderFailed, never a vector.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Protocol

from atlas_mcp.errors import EmbedderFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

PROBE = "What is remembered is found again."
"""A text that every embedder can take."""


class Embedder(Protocol):
    """Makes vectors of texts. Equal fingerprints mean that the same text becomes the same vector."""

    @property
    def fingerprint(self) -> str:
        """Of all that decides what vector a text becomes."""
        ...

    @property
    def dimension(self) -> int:
        """How many numbers each vector has."""
        ...

    @property
    def ranks(self) -> bool:
        """Whether its similarity is worth ranking by, beside the words that texts have in common."""
        ...

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """A row for each text, of length 1; `query` says that they are questions, not what is to be found.

        Raises EmbedderFailed for all of them together.
        """
        ...


def fingerprint(provider: str, model: str, revision: str, dimension: int, max_tokens: int = 0) -> str:
    """What tells the vectors of one embedder from those of another. `max_tokens` is 0 where the provider decides."""
    parts = [provider, model, revision, dimension, "length 1", "no prefix", max_tokens]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def checked(rows: Any, count: int, dimension: int | None = None) -> NDArray[np.float32]:
    """The vectors, each made of length 1; EmbedderFailed if they are not `count` of the dimension, or not numbers."""
    import numpy as np

    try:
        vectors = np.asarray(rows, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise EmbedderFailed("it gave vectors of different lengths, or no numbers.", of_texts=True) from None
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise EmbedderFailed(f"it gave no {count} vectors for {count} texts.", of_texts=True)
    if dimension is not None and vectors.shape[1] != dimension:
        raise EmbedderFailed(f"its vectors have {vectors.shape[1]} numbers now, and had {dimension}.")
    if not np.isfinite(vectors).all():
        raise EmbedderFailed("it gave a vector that is not finite (NaN or infinity).", of_texts=True)
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all() or not np.isfinite(lengths).all():
        raise EmbedderFailed("it gave a vector without a direction.", of_texts=True)
    return (vectors / lengths).astype(np.float32)
