"""Vectors by counting: the same everywhere, near for texts that share words; and what no embedder may give."""

from __future__ import annotations

import sys

import anyio
import numpy as np
import pytest

from atlas_mcp.errors import EmbedderFailed
from atlas_mcp.memory.embedders.contract import checked, fingerprint
from atlas_mcp.memory.embedders.hash import DIMENSION, HashEmbedder

pytestmark = pytest.mark.anyio

TEXTS = [
    "",
    "\0",
    "tea from Assam",
    "Tea from ASSAM",
    "tea of Assam, harvested",
    "Schiffe im Hafen",
    "東京の紅茶",
    "\ud800",
]


async def test_every_text_becomes_a_vector_of_length_one():
    vectors = await HashEmbedder().embed([*TEXTS, "x" * 100_000])
    assert vectors.shape == (len(TEXTS) + 1, DIMENSION)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert (await HashEmbedder().embed([])).shape == (0, DIMENSION)


async def test_texts_that_share_words_are_nearer_and_capitals_mean_nothing():
    vectors = await HashEmbedder().embed(TEXTS)
    near = vectors @ vectors[2]
    assert near[3] == pytest.approx(1)
    assert near[4] > 0.3 > abs(near[5])


async def test_another_process_makes_the_same_vectors():
    code = (
        "import anyio, sys; from atlas_mcp.memory.embedders.hash import HashEmbedder as E;"
        "sys.stdout.buffer.write(anyio.run(E().embed, ['tea from Assam', '東京の紅茶']).tobytes())"
    )
    done = await anyio.run_process([sys.executable, "-c", code])
    assert done.stdout == (await HashEmbedder().embed(["tea from Assam", "東京の紅茶"])).tobytes()


def test_a_fingerprint_tells_embedders_apart_by_everything_that_decides_a_vector():
    made = [
        fingerprint("local", "minilm", "a", 384, 256),
        fingerprint("hash", "minilm", "a", 384, 256),
        fingerprint("local", "other", "a", 384, 256),
        fingerprint("local", "minilm", "b", 384, 256),
        fingerprint("local", "minilm", "a", 385, 256),
        fingerprint("local", "minilm", "a", 384, 128),
    ]
    assert len(set(made)) == 6
    assert fingerprint("local", "minilm", "a", 384, 256) == made[0]


@pytest.mark.parametrize(
    ("rows", "said", "of_texts"),
    [
        ([[1.0, float("nan")], [1.0, 0.0]], "not finite", True),
        ([[1.0, float("inf")], [1.0, 0.0]], "not finite", True),
        ([[1e200, 1e200], [1.0, 0.0]], "without a direction", True),
        ([[0.0, 0.0], [1.0, 0.0]], "without a direction", True),
        ([[1.0, 0.0]], "no 2 vectors", True),
        ([[1.0, 0.0], [1.0]], "different lengths", True),
        ([[1.0, None], [1.0, 0.0]], "not finite", True),
        ([["a", "b"], ["c", "d"]], "no numbers", True),
        ([[], []], "no 2 vectors", True),
        ([1.0, 0.0], "no 2 vectors", True),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "3 numbers now, and had 2", False),
    ],
)
def test_what_is_no_vector_never_leaves_as_one(rows: object, said: str, of_texts: bool):
    with pytest.raises(EmbedderFailed, match=said) as caught:
        checked(rows, 2, 2)
    assert caught.value.of_texts is of_texts


def test_vectors_are_made_of_length_one():
    assert checked([[3, 4], [0, 1e-30]], 2).tolist() == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))
