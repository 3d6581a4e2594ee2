"""Chroma's collections, one for each embedder: `mem-<fingerprint>`, with nothing in it but numbers and vectors.

For the Chroma process only: it imports chromadb. No text and nothing about a passage is kept there, so that nothing has
to be deleted there but what says nothing by itself. Chroma is never let embed anything: its default would download a
model.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

import chromadb
import numpy as np
from chromadb.config import Settings
from chromadb.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chromadb import Collection
    from chromadb.api import ClientAPI
    from numpy.typing import NDArray

_PREFIX = "mem-"
_PORTS = {"http": 8000, "https": 443}
_SPACE: Any = {"hnsw": {"space": "cosine", "ef_search": 200}}
"""How many neighbours a search looks at. With those alone that are asked for, some sixty, it finds 0.49 of the nearest
fifty among 100,000 vectors of `hash`, with 200 it finds 0.64. A collection keeps what it was made with."""
_PAGE = 20_000  # Chroma fails where one answer has more than 32,766
_SETTINGS = Settings(anonymized_telemetry=False)

Answer = tuple[dict[str, Any], bytes]


class Gone(Exception):
    """Raised when a collection is not there any more, though nobody of ours dropped it: it has to be filled anew."""


def with_files(path: Path) -> ClientAPI:
    """Chroma over the files of that folder."""
    return chromadb.PersistentClient(str(path), settings=_SETTINGS)


def on_server(url: str) -> ClientAPI:
    """Chroma's server at that address, which was checked. A user and password in it go as HTTP's basic ones."""
    parts = urlsplit(url)
    headers: dict[str, str] = {}
    if parts.username is not None:
        named = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(named.encode()).decode()}"
    return chromadb.HttpClient(
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        ssl=parts.scheme == "https",
        headers=headers,
        settings=_SETTINGS,
    )


class Collections:
    """What can be done with them. A collection comes with its first vector.

    A server may be ended, and another, empty one begin at its address, without a call that fails: who goes on as before
    would find nothing, or only what came since. So what was there is missed.
    """

    def __init__(self, client: ClientAPI, suffix: str) -> None:
        self._client = client
        self._suffix = suffix
        self._known: dict[str, Collection] = {}
        self._had: set[str] = set()
        self.means: dict[str, Callable[..., Answer]] = {
            "query": self.query,
            "put": self.put,
            "remove": self.remove,
            "numbers": self.numbers,
            "count": self.count,
            "drop": self.drop,
        }

    def fingerprints(self) -> list[str]:
        """Of those that there are."""
        names = [one.name for one in self._client.list_collections()]
        ours = [name for name in names if name.startswith(_PREFIX) and name.endswith(self._suffix)]
        found = [name.removeprefix(_PREFIX).removesuffix(self._suffix) for name in ours]
        self._had.update(found)
        return found

    def query(self, numbers: bytes, fingerprint: str, vectors: int, most: int) -> Answer:
        """The passages nearest to each of the vectors: their counts, then all passages, then all distances."""
        asked = np.frombuffer(numbers, dtype="<f4").reshape(vectors, -1)

        def ask(one: Collection) -> Any:
            return one.query(query_embeddings=asked, n_results=most, include=["distances"])

        found = self._with(fingerprint, ask)
        if found is None:
            self._require_new(fingerprint)
            return {"counts": [0] * vectors}, b""
        ids = [[int(one) for one in row] for row in found["ids"]]
        far = [float(one) for row in found["distances"] for one in row]
        flat = np.array([one for row in ids for one in row], dtype="<i8")
        return {"counts": [len(row) for row in ids]}, flat.tobytes() + np.array(far, dtype="<f4").tobytes()

    def put(self, numbers: bytes, fingerprint: str, count: int) -> Answer:
        """Keep those vectors, in place of what these passages had."""
        ids = np.frombuffer(numbers, dtype="<i8", count=count)
        vectors = np.frombuffer(numbers, dtype="<f4", offset=8 * count).reshape(count, -1)
        if self._with(fingerprint, lambda one: self._upsert(one, ids, vectors)) is None:
            self._require_new(fingerprint)
            made = self._client.get_or_create_collection(
                self._name(fingerprint), embedding_function=None, configuration=_SPACE
            )
            self._known[fingerprint] = made
            self._upsert(made, ids, vectors)
        self._had.add(fingerprint)
        return {}, b""

    def remove(self, numbers: bytes, fingerprint: str) -> Answer:
        """Delete what these passages have."""
        ids = [str(one) for one in np.frombuffer(numbers, dtype="<i8")]
        self._with(fingerprint, lambda one: one.delete(ids=ids))
        return {}, b""

    def numbers(self, _: bytes, fingerprint: str) -> Answer:
        """The passages that have a vector there."""
        found: list[str] = self._with(fingerprint, _ids) or []
        return {}, np.array([int(one) for one in found], dtype="<i8").tobytes()

    def count(self, _: bytes, fingerprint: str) -> Answer:
        """How many passages have a vector there."""
        return {"count": self._with(fingerprint, lambda one: one.count()) or 0}, b""

    def drop(self, _: bytes, fingerprint: str) -> Answer:
        """Delete a whole collection."""
        self._had.discard(fingerprint)
        self._known.pop(fingerprint, None)
        with suppress(NotFoundError):  # it never came to be
            self._client.delete_collection(self._name(fingerprint))
        return {}, b""

    def close(self) -> None:
        """Write what is not written yet."""
        if close := getattr(self._client, "close", None):
            close()

    def _upsert(self, one: Collection, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> bool:
        one.upsert(ids=[str(number) for number in ids], embeddings=cast("Any", vectors))
        return True

    def _require_new(self, fingerprint: str) -> None:
        if fingerprint in self._had:
            raise Gone("the vectors that were there are gone: another Chroma is in its place, or somebody deleted them")

    def _with(self, fingerprint: str, use: Callable[[Collection], Any]) -> Any:
        """What `use` gives for the collection; None where there is none. On a server others drop and make them."""
        for _ in range(2):
            if fingerprint not in self._known:
                try:
                    known = self._client.get_collection(self._name(fingerprint), embedding_function=None)
                except NotFoundError:
                    return None
                self._known[fingerprint] = known
            try:
                return use(self._known[fingerprint])
            except NotFoundError:
                del self._known[fingerprint]
        return None

    def _name(self, fingerprint: str) -> str:
        return f"{_PREFIX}{fingerprint}{self._suffix}"


def _ids(one: Collection) -> list[str]:
    found: list[str] = []
    while page := one.get(include=[], limit=_PAGE, offset=len(found))["ids"]:
        found += page
    return found
