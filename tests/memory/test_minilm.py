"""MiniLM from local files: the vectors of an independent computation, by both runtimes, from files as they are found.

The files are those of a tiny model of random weights: the real one's are nowhere downloaded.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

from atlas_mcp.errors import ConfigurationError, EmbedderFailed
from atlas_mcp.memory.embedders.minilm import AT_ONCE, WINDOW, MiniLM, open_minilm
from atlas_mcp.memory.embedders.opening import CHROMAS_OWN, named, open_embedder
from atlas_mcp.model.stores import StoresConfig
from tests.memory.tiny_bert import (
    CLS,
    SEP,
    WIDTH,
    WORDS,
    forward,
    random_weights,
    tokens,
    write_config,
    write_safetensors,
    write_tokenizer,
)
from tests.memory.tiny_onnx import write_onnx

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
WEIGHTS = random_weights()
LONG = " ".join(WORDS[4 + n % 11] for n in range(3 * WINDOW))
TEXTS = [
    "tea",
    "",
    "Tea from Assam",
    LONG,
    "ships sail",
    "was nobody knows \ud800",
    *(f"tea {'in ' * n}" for n in range(20)),
]


def write(folder: Path, kind: str, weights: Any = WEIGHTS) -> Path:
    """The files of the tiny model, as those of the real one are spread."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder / "tokenizer.json")
    if kind == "safetensors":
        write_config(folder / "config.json")
        write_safetensors(folder / "model.safetensors", weights)
    else:
        write_onnx(folder / "model.onnx", weights)
    return folder


def by_hand(text: str) -> Any:
    """The mean over all tokens of all parts, of length 1."""
    words = tokens(text)
    parts = [words[n : n + WINDOW - 2] for n in range(0, len(words), WINDOW - 2)] or [[]]
    rows = np.concatenate([forward(WEIGHTS, [CLS, *part, SEP]) for part in parts])
    mean = rows.mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
async def test_each_text_gets_the_vector_computed_by_hand_whatever_is_embedded_beside_it(tmp_path: Path, kind: str):
    model = await open_minilm(write(tmp_path, kind))
    assert (model.dimension, model.ranks) == (WIDTH, True)
    assert len(TEXTS) > 2 * AT_ONCE
    together = await model.embed(TEXTS)
    for text, made in zip(TEXTS, together, strict=True):
        assert made == pytest.approx(by_hand(text), abs=2e-5)
    alone = await model.embed(["Tea from Assam"], query=True)
    assert alone[0] == pytest.approx(together[2], abs=1e-5)
    assert (await model.embed([])).shape == (0, WIDTH)


async def test_a_text_longer_than_the_window_is_read_to_its_end(tmp_path: Path):
    model = await open_minilm(write(tmp_path, "safetensors"))
    one, other = await model.embed([LONG, LONG + " ships ships ships"])
    assert one != pytest.approx(other, abs=1e-4)


async def test_a_model_that_asks_for_no_token_types_is_given_none(tmp_path: Path):
    write_onnx(write(tmp_path, "onnx") / "model.onnx", WEIGHTS, token_types=False)
    model = await open_minilm(tmp_path)
    assert (await model.embed(["tea"]))[0] == pytest.approx(by_hand("tea"), abs=2e-5)


async def test_other_weights_are_another_embedder_and_another_folder_is_not(tmp_path: Path):
    prints = [
        (await open_minilm(write(tmp_path / "a", "safetensors"))).fingerprint,
        (await open_minilm(write(tmp_path / "b", "safetensors"))).fingerprint,
        (await open_minilm(write(tmp_path / "c", "safetensors", random_weights(2)))).fingerprint,
    ]
    assert prints[0] == prints[1] != prints[2]


async def test_auto_finds_the_files_in_the_home_then_chromas_own_and_else_is_none(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    auto = StoresConfig()
    assert named(auto, home) == "none"
    async with open_embedder(auto, home) as embedder:
        assert embedder is None
    chromas = tmp_path / "user" / CHROMAS_OWN
    write(chromas, "onnx")
    assert named(auto, home) == f"local:{chromas}"
    mine = home / "models" / "all-MiniLM-L6-v2"
    (write(mine, "safetensors") / "onnx").mkdir()
    assert named(auto, home) == f"local:{mine}"
    async with open_embedder(auto, home) as embedder:
        assert embedder
        by_numpy = embedder.fingerprint
    write_onnx(mine / "onnx" / "model.onnx", WEIGHTS)
    async with open_embedder(StoresConfig(embedder=f"local:{mine}"), home) as embedder:
        assert embedder
        assert embedder.fingerprint != by_numpy, "onnxruntime's file is taken where it is there"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("kind", "spoil", "said"),
    [
        ("onnx", lambda f: (f / "model.onnx").unlink(), "no model.onnx, nor model.safetensors"),
        ("onnx", lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
        ("onnx", lambda f: (f / "tokenizer.json").write_text("{}"), "no sentence model's"),
        ("onnx", lambda f: (f / "model.onnx").write_bytes(b""), "no sentence model's"),
        ("onnx", lambda f: _cut(f / "model.onnx"), "no sentence model's"),
        ("onnx", lambda f: write_onnx(f / "model.onnx", WEIGHTS, pooled=True), "not a vector for each token"),
        ("safetensors", lambda f: _cut(f / "model.safetensors"), "no sentence model's"),
        ("safetensors", lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "no sentence model's"),
        ("safetensors", lambda f: (f / "config.json").unlink(), "config.json"),
        ("safetensors", lambda f: write_config(f / "config.json", hidden_act="relu"), "hidden_act='relu'"),
    ],
)
async def test_files_that_cannot_be_used_are_named_with_what_to_do(tmp_path: Path, kind: str, spoil: Any, said: str):
    spoil(write(tmp_path, kind))
    with pytest.raises(ConfigurationError, match=said) as caught:
        await open_minilm(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert caught.value.argument == "ATLAS_EMBEDDER"
    assert caught.value.next_step


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
async def test_weights_that_give_nan_fail_the_text_and_no_other(tmp_path: Path, kind: str):
    spoilt = {name: value.copy() for name, value in WEIGHTS.items()}
    spoilt["embeddings.word_embeddings.weight"][WORDS.index("ships")] = np.nan
    model = await open_minilm(write(tmp_path, kind, spoilt))
    with pytest.raises(EmbedderFailed, match="not finite") as caught:
        await model.embed(["tea", "ships sail"])
    assert caught.value.of_texts
    assert (await model.embed(["tea"]))[0] == pytest.approx(by_hand("tea"), abs=2e-5)


async def test_a_question_does_not_wait_for_passages_and_what_hangs_can_be_left(tmp_path: Path):
    whole = await open_minilm(write(tmp_path, "safetensors"))
    go_on, begun = threading.Event(), threading.Event()
    model = MiniLM(whole._model, whole._tokenizer, "")

    def hang(ids: Any, mask: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return whole._model(ids, mask)

    try:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                model._model = hang
                tasks.start_soon(model.embed, ["tea"])
                await anyio.to_thread.run_sync(begun.wait, 60)
                model._model = whole._model
                assert (await model.embed(["tea"], query=True)).shape == (1, WIDTH)
                tasks.cancel_scope.cancel()
    finally:
        go_on.set()


async def test_the_runtime_writes_nothing_into_the_users_folders(tmp_path: Path):
    """onnxruntime keeps usage data there unless it is told not to before it is loaded."""
    write(tmp_path / "model", "onnx")
    (tmp_path / "user").mkdir()
    code = (
        "import sys, anyio, pathlib; from atlas_mcp.memory.embedders.minilm import open_minilm;"
        "anyio.run(open_minilm, pathlib.Path(sys.argv[1])); assert 'onnxruntime' in sys.modules"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    await anyio.run_process(
        [sys.executable, "-c", code, str(tmp_path / "model")], env=clean | {"HOME": str(tmp_path / "user")}
    )
    assert list((tmp_path / "user").rglob("*")) == []
