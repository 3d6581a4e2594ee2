"""BERT's forward pass in numpy, for weights in the file format safetensors: what MiniLM needs, and no more."""

from __future__ import annotations

import json
import struct
from math import sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8"}
_OURS = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


def read_bert(weights: Path, config: Path) -> Bert:
    """The model of these files. ValueError, KeyError or OSError for files that are not such a model's."""
    said: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    for name, ours in _OURS.items():
        if said.get(name, ours) != ours:
            raise ValueError(f"config.json says {name}={said[name]!r}, and only {ours!r} is computed here")
    return Bert(_read(weights), said["num_hidden_layers"], said["num_attention_heads"], said["layer_norm_eps"])


class Bert:
    """Gives each token its vector; see `minilm.Model`."""

    def __init__(self, weights: dict[str, Floats], layers: int, heads: int, epsilon: float) -> None:
        import numpy as np

        bare = {name.removeprefix("bert."): value for name, value in weights.items()}
        self._weights = {
            name: np.ascontiguousarray(value.T if value.ndim == 2 and "embeddings" not in name else value, np.float32)
            for name, value in bare.items()
            if value.dtype.kind == "f"
        }
        self._layers = layers
        self._heads = heads
        self._epsilon = epsilon

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Floats:
        """Of texts x tokens, texts x tokens x dimension."""
        import numpy as np

        x = self._weights["embeddings.word_embeddings.weight"][ids]
        x = x + self._weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + self._weights["embeddings.token_type_embeddings.weight"][0]
        x = self._normed(x, "embeddings.LayerNorm")
        hidden = (1 - mask[:, None, None, :]).astype(np.float32) * np.float32(-1e9)
        for layer in range(self._layers):
            x = self._layer(x, hidden, f"encoder.layer.{layer}.")
        return x

    def _layer(self, x: Floats, hidden: Floats, name: str) -> Floats:
        attended = self._linear(self._attended(x, hidden, name + "attention.self."), name + "attention.output.dense")
        x = self._normed(x + attended, name + "attention.output.LayerNorm")
        between = _gelu(self._linear(x, name + "intermediate.dense"))
        return self._normed(x + self._linear(between, name + "output.dense"), name + "output.LayerNorm")

    def _attended(self, x: Floats, hidden: Floats, name: str) -> Floats:
        import numpy as np

        texts, tokens, width = x.shape
        query, key, value = (
            self._linear(x, name + part).reshape(texts, tokens, self._heads, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(sqrt(width / self._heads)) + hidden
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ value).transpose(0, 2, 1, 3).reshape(texts, tokens, width)

    def _linear(self, x: Floats, name: str) -> Floats:
        return x @ self._weights[name + ".weight"] + self._weights[name + ".bias"]

    def _normed(self, x: Floats, name: str) -> Floats:
        import numpy as np

        x = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        return x / spread * self._weights[name + ".weight"] + self._weights[name + ".bias"]


def _gelu(x: Floats) -> Floats:
    """By the error function of Abramowitz and Stegun, 7.1.26, which is off by less than 1.5e-7."""
    import numpy as np

    size = np.abs(x) / np.float32(sqrt(2))
    t = 1 / (1 + 0.3275911 * size)
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    return (0.5 * x * (1 + np.sign(x) * (1 - series * np.exp(-size * size)))).astype(np.float32)


def _read(path: Path) -> dict[str, Floats]:
    """The tensors of a safetensors file: eight bytes of length, a table as JSON, and then the numbers."""
    import numpy as np

    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    table: dict[str, Any] = json.loads(content[8 : 8 + length])
    tensors: dict[str, Any] = {}
    for name, entry in table.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            numbers = np.frombuffer(content[8 + length + first : 8 + length + last], _TYPES[entry["dtype"]])
            tensors[name] = numbers.reshape(entry["shape"])
    return tensors
