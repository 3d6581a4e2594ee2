"""A BERT of two small layers and random weights, written in the file formats of the real ones, and computed by hand.

`forward` shares nothing with the package: one text at a time, in double precision, with Python's own error function.
"""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEADS, LAYERS, BETWEEN, POSITIONS = 12, 3, 2, 20, 300
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *["what", "is", "remembered", "found", "again", "tea", "from", "assam", "grows", "in", "ships", "sail"],
]
EPSILON = 1e-12
CLS, SEP = WORDS.index("[CLS]"), WORDS.index("[SEP]")

Weights = dict[str, "np.ndarray[Any, Any]"]


def random_weights(seed: int = 1) -> Weights:
    random = np.random.default_rng(seed)

    def of(*shape: int) -> np.ndarray[Any, Any]:
        return random.normal(0, 0.6, shape).astype(np.float32)

    weights = {f"embeddings.{name}_embeddings.weight": of(rows, WIDTH) for name, rows in _TABLES.items()}
    norms = ["embeddings.LayerNorm"]
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            weights |= {f"{layer}{name}.weight": of(WIDTH, WIDTH), f"{layer}{name}.bias": of(WIDTH)}
        for name, rows, columns in (("intermediate.dense", BETWEEN, WIDTH), ("output.dense", WIDTH, BETWEEN)):
            weights |= {f"{layer}{name}.weight": of(rows, columns), f"{layer}{name}.bias": of(rows)}
        norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    for name in norms:
        weights |= {f"{name}.weight": 1 + of(WIDTH) / 4, f"{name}.bias": of(WIDTH)}
    return weights


_TABLES = {"word": len(WORDS), "position": POSITIONS, "token_type": 2}


def forward(w: Weights, ids: list[int]) -> np.ndarray[Any, Any]:
    """Tokens x width, for one text without padding."""
    erf = np.vectorize(math.erf)

    def linear(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"].astype(float).T + w[f"{name}.bias"]

    def normed(x: Any, name: str) -> Any:
        rows = [(row - row.mean()) / math.sqrt(row.var() + EPSILON) for row in x]
        return np.array(rows) * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["embeddings.word_embeddings.weight"][ids].astype(float)
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)] + w["embeddings.token_type_embeddings.weight"][0]
    x = normed(x, "embeddings.LayerNorm")
    each = WIDTH // HEADS
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}."
        query, key, value = (linear(x, f"{layer}attention.self.{part}") for part in ("query", "key", "value"))
        heads: list[Any] = []
        for head in range(HEADS):
            mine = slice(head * each, (head + 1) * each)
            scores = np.exp(query[:, mine] @ key[:, mine].T / math.sqrt(each))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, mine])
        attended = linear(np.concatenate(heads, axis=1), f"{layer}attention.output.dense")
        x = normed(x + attended, f"{layer}attention.output.LayerNorm")
        between = linear(x, f"{layer}intermediate.dense")
        between = between * (1 + erf(between / math.sqrt(2))) / 2
        x = normed(x + linear(between, f"{layer}output.dense"), f"{layer}output.LayerNorm")
    return x


def tokens(text: str) -> list[int]:
    """The text's words, without what stands around them."""
    return [WORDS.index(word) if word in WORDS else WORDS.index("[UNK]") for word in text.lower().split()]


def write_tokenizer(path: Path) -> None:
    """As the real one's: it would pad and cut by itself, to 128 tokens."""
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(path))


def write_config(path: Path, **other: Any) -> None:
    known = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "layer_norm_eps": EPSILON,
    }
    path.write_text(json.dumps(known | other), encoding="utf-8")


def write_safetensors(path: Path, weights: Weights) -> None:
    """With what the real file has beside the weights: a note, the numbers of the positions, and a layer unused here."""
    every: Weights = {
        "embeddings.position_ids": np.arange(POSITIONS, dtype=np.int64)[None],
        "pooler.dense.weight": np.zeros((WIDTH, WIDTH), np.float32),
        **weights,
    }
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    content = b""
    for name, value in every.items():
        kind = {"float32": "F32", "int64": "I64"}[str(value.dtype)]
        offsets = [len(content), len(content) + value.nbytes]
        table[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": offsets}
        content += value.tobytes()
    head = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + content)
