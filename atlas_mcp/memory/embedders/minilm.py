"""all-MiniLM-L6-v2, and models built like it, from files on this machine: by onnxruntime, or by numpy.

Promise: nothing is downloaded and nothing is cut: a text beyond WINDOW tokens is read in parts, and its vector is the
mean over all its tokens. The model is read once and kept; passages are computed in one thread and questions in another,
so that a machine stays free for what is waited for. The fingerprint is that of the files' content: other weights in the
same folder are another embedder.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread

from atlas_mcp.errors import ConfigurationError, EmbedderFailed
from atlas_mcp.memory.embedders.contract import PROBE, checked, fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

WINDOW = 256
AT_ONCE = 8
"""Parts of texts that are computed together, of about one length: padding is computed, too."""
_WEIGHTS = ("model.onnx", "onnx/model.onnx", "model.safetensors")
_TOKENIZERS = ("tokenizer.json", "onnx/tokenizer.json")


class Model(Protocol):
    """What gives each token its vector."""

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of texts x tokens, texts x tokens x dimension; the mask is 1 where there is a token."""
        ...


class MiniLM:
    """See `contract.Embedder`."""

    ranks = True

    def __init__(self, model: Model, tokenizer: Any, revision: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._of_passages, self._of_questions = anyio.CapacityLimiter(1), anyio.CapacityLimiter(1)
        self.dimension = self._computed([PROBE]).shape[1]
        self.fingerprint = fingerprint("local", "", revision, self.dimension, WINDOW)

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """A row for each text. A question does not wait for passages."""
        turn = self._of_questions if query else self._of_passages
        return await anyio.to_thread.run_sync(self._embedded, list(texts), abandon_on_cancel=True, limiter=turn)

    def _embedded(self, texts: list[str]) -> NDArray[np.float32]:
        import numpy as np

        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        try:
            return checked(self._computed(texts), len(texts), self.dimension)
        except EmbedderFailed:
            raise
        except Exception as error:  # whatever a native library raises for what a file or a text does to it
            raise EmbedderFailed(f"the local model failed: {error}.", of_texts=True) from error

    def _computed(self, texts: list[str]) -> NDArray[np.float64]:
        """The mean over the tokens of each text, of all its parts."""
        import numpy as np

        parts: list[tuple[int, list[int]]] = []
        for of, text in enumerate(texts):
            read = self._tokenizer.encode(text.encode("utf-8", "replace").decode())
            parts += [(of, part.ids) for part in (read, *read.overflowing)]
        parts.sort(key=lambda part: len(part[1]))
        pooled = np.concatenate(
            [
                self._summed([ids for _, ids in parts[first : first + AT_ONCE]])
                for first in range(0, len(parts), AT_ONCE)
            ]
        )
        owners = np.array([of for of, _ in parts])
        sums = np.zeros((len(texts), pooled.shape[1]))
        np.add.at(sums, owners, pooled)
        tokens = np.bincount(owners, [len(ids) for _, ids in parts], minlength=len(texts))
        return sums / tokens[:, None]

    def _summed(self, parts: list[list[int]]) -> NDArray[np.float64]:
        """For each part the sum of its tokens' vectors."""
        import numpy as np

        ids = np.zeros((len(parts), max(map(len, parts))), np.int64)
        mask = ids.copy()
        for row, part in enumerate(parts):
            ids[row, : len(part)] = part
            mask[row, : len(part)] = 1
        return (self._model(ids, mask) * mask[..., None]).sum(axis=1, dtype=np.float64)


def is_complete(folder: Path) -> bool:
    """Whether the folder has the weights and the tokenizer."""
    return all(_first(folder, names) for names in (_WEIGHTS, _TOKENIZERS))


async def open_minilm(folder: Path) -> MiniLM:
    """The model of these files: `tokenizer.json`, and `model.onnx`, or `model.safetensors` with `config.json`.

    Raises ConfigurationError for files that are missing or not such a model's.
    """
    return await anyio.to_thread.run_sync(_open, folder, abandon_on_cancel=True)


def _open(folder: Path) -> MiniLM:
    folder = folder.expanduser()
    weights, tokens = _first(folder, _WEIGHTS), _first(folder, _TOKENIZERS)
    if not weights or not tokens:
        wanted = "tokenizer.json" if weights else "model.onnx, nor model.safetensors"
        raise _unusable(folder, f"it has no {wanted}")
    try:
        revision = _digest(weights, tokens)
        if weights.suffix == ".onnx":
            model: Model = _by_onnxruntime(weights)
        else:
            from atlas_mcp.memory.embedders.bert import read_bert

            model = read_bert(weights, folder / "config.json")
        return MiniLM(model, _tokenizer(tokens), revision)
    except EmbedderFailed:
        raise
    except Exception as error:  # files of all kinds end in errors of all kinds
        raise _unusable(folder, f"its files are no sentence model's: {error or type(error).__name__}") from error


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((path for name in names if (path := folder / name).is_file()), None)


def _unusable(folder: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} cannot be used: {why}.",
        argument="ATLAS_EMBEDDER",
        next_step="Put all-MiniLM-L6-v2's model.onnx and tokenizer.json there, or name another folder.",
    )


def _digest(*files: Path) -> str:
    digests: list[str] = []
    for file in files:
        with file.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    return " ".join(digests)


def _tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(WINDOW)
    return tokenizer


def _by_onnxruntime(path: Path) -> Model:
    """The model in a session of its own, which pads nothing and has no threads of its own."""
    import numpy as np

    onnxruntime: Any = import_module("onnxruntime")  # it has no types
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # on a busy machine two are slower than one, and hold up what is beside them
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    takes = {given.name for given in session.get_inputs()}
    gives = session.get_outputs()[0].name

    def model(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (made,) = session.run([gives], {name: of for name, of in given.items() if name in takes})
        if made.ndim != 3 or made.shape[:2] != ids.shape:
            raise ValueError(f"its output {gives!r} is not a vector for each token")
        return made

    return model
