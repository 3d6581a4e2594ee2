"""The tiny BERT as an ONNX file, written field by field: the format is protocol buffers, and nothing else is needed."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.memory.tiny_bert import EPSILON, HEADS, LAYERS, WIDTH, Weights

if TYPE_CHECKING:
    from pathlib import Path

FLOAT, INT64 = 1, 7


def write_onnx(path: Path, weights: Weights, *, token_types: bool = True, pooled: bool = False) -> None:
    """`token_types`: whether the model asks for them; `pooled`: one vector a text instead of one a token."""
    graph = _Graph(weights)
    shape = graph.node("Shape", ["input_ids"])
    length = graph.node("Gather", [shape, graph.constant(np.array(1))], axis=0)
    positions = graph.node("Range", [graph.constant(np.array(0)), length, graph.constant(np.array(1))])
    x = graph.node("Gather", ["embeddings.word_embeddings.weight", "input_ids"], axis=0)
    x = graph.add(x, graph.node("Gather", ["embeddings.position_embeddings.weight", positions], axis=0))
    kind = "token_type_ids" if token_types else graph.constant(np.array([[0]]))
    x = graph.add(x, graph.node("Gather", ["embeddings.token_type_embeddings.weight", kind], axis=0))
    x = graph.normed(x, "embeddings.LayerNorm")
    mask = graph.node("Cast", ["attention_mask"], to=FLOAT)
    mask = graph.times(graph.node("Sub", [graph.number(1), mask]), -1e9)
    mask = graph.node("Unsqueeze", [mask, graph.constant(np.array([1, 2]))])
    for n in range(LAYERS):
        x = _layer(graph, x, mask, f"encoder.layer.{n}.")
    if pooled:
        graph.node("ReduceMean", [x], to_name="sentence_embedding", axes=[1], keepdims=0)
    else:
        graph.node("Identity", [x], to_name="last_hidden_state")
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if token_types else [])]
    path.write_bytes(graph.model(inputs, "sentence_embedding" if pooled else "last_hidden_state", 2 if pooled else 3))


def _layer(graph: _Graph, x: str, mask: str, name: str) -> str:
    each = WIDTH // HEADS
    parts: list[str] = []
    for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        made = graph.linear(x, f"{name}attention.self.{part}")
        made = graph.node("Reshape", [made, graph.constant(np.array([0, 0, HEADS, each]))])
        parts.append(graph.node("Transpose", [made], perm=order))
    scores = graph.times(graph.node("MatMul", parts[:2]), 1 / math.sqrt(each))
    scores = graph.node("Softmax", [graph.add(scores, mask)], axis=-1)
    made = graph.node("Transpose", [graph.node("MatMul", [scores, parts[2]])], perm=[0, 2, 1, 3])
    made = graph.node("Reshape", [made, graph.constant(np.array([0, 0, WIDTH]))])
    made = graph.linear(made, f"{name}attention.output.dense")
    x = graph.normed(graph.add(x, made), f"{name}attention.output.LayerNorm")
    between = graph.linear(x, f"{name}intermediate.dense")
    curve = graph.add(graph.node("Erf", [graph.times(between, 1 / math.sqrt(2))]), graph.number(1))
    between = graph.times(graph.node("Mul", [between, curve]), 0.5)
    return graph.normed(graph.add(x, graph.linear(between, f"{name}output.dense")), f"{name}output.LayerNorm")


class _Graph:
    """Nodes and constants, each by a name of its own."""

    def __init__(self, weights: Weights) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        for name, value in weights.items():
            self.constant(value.T if value.ndim == 2 and "embeddings" not in name else value, name)

    def constant(self, value: Any, name: str | None = None) -> str:
        name = name or f"constant {len(self._constants)}"
        kind = INT64 if value.dtype.kind == "i" else FLOAT
        dims = b"".join(_number(1, n) for n in value.shape)
        raw = np.ascontiguousarray(value, np.int64 if kind == INT64 else np.float32).tobytes()
        self._constants.append(dims + _number(2, kind) + _bytes(8, name) + _bytes(9, raw))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def node(self, kind: str, takes: list[str], *, to_name: str | None = None, **attributes: Any) -> str:
        made = to_name or f"made {len(self._nodes)}"
        fields = [_bytes(1, name) for name in takes] + [_bytes(2, made), _bytes(4, kind)]
        self._nodes.append(b"".join(fields) + b"".join(_bytes(5, _attribute(*item)) for item in attributes.items()))
        return made

    def add(self, one: str, other: str) -> str:
        return self.node("Add", [one, other])

    def times(self, one: str, factor: float) -> str:
        return self.node("Mul", [one, self.number(factor)])

    def linear(self, x: str, name: str) -> str:
        return self.add(self.node("MatMul", [x, f"{name}.weight"]), f"{name}.bias")

    def normed(self, x: str, name: str) -> str:
        return self.node("LayerNormalization", [x, f"{name}.weight", f"{name}.bias"], axis=-1, epsilon=EPSILON)

    def model(self, inputs: list[str], output: str, dimensions: int) -> bytes:
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _bytes(2, "tiny")
        graph += b"".join(_bytes(5, constant) for constant in self._constants)
        graph += b"".join(_bytes(11, _described(name, INT64, 2)) for name in inputs)
        graph += _bytes(12, _described(output, FLOAT, dimensions))
        return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 17))


def _described(name: str, kind: int, dimensions: int) -> bytes:
    shape = b"".join(_bytes(1, _bytes(2, f"any {name} {n}")) for n in range(dimensions))
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, float):
        return _bytes(1, name) + b"\x15" + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return _bytes(1, name) + _number(3, value) + _number(20, 2)
    return _bytes(1, name) + b"".join(_number(8, n) for n in value) + _number(20, 7)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def _bytes(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])
