"""Remembers so many texts in mem0, on Chroma and with ATLAS's own hashing embedder, and searches them.

What `benchmarks/memory.py` reads: one line of JSON, milliseconds by what was done. No language model is asked
(`infer=False`).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mem0 import Memory

from atlas_mcp.memory.embedders.hash import HashEmbedder
from benchmarks._texts import questions, texts

SEARCHES = 100


class Hashing:
    """The embedder as mem0 asks for it."""

    def __init__(self) -> None:
        self._embedder = HashEmbedder()

    def embed(self, text: str, _action: str | None = None) -> list[float]:
        """The text's vector."""
        return self._of([text])[0]

    def embed_batch(self, texts: list[str], _action: str | None = None) -> list[list[float]]:
        """The texts' vectors."""
        return self._of(texts)

    def _of(self, told: list[str]) -> list[list[float]]:
        return asyncio.run(self._embedder.embed(told)).tolist()


def main() -> None:
    """Print the figures."""
    told = list(itertools.islice(texts(), int(sys.argv[1])))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        store = {"provider": "chroma", "config": {"collection_name": "memories", "path": f"{home}/chroma"}}
        memory = Memory.from_config({"vector_store": store, "history_db_path": f"{home}/history.db"})
        memory.embedding_model = Hashing()
        added, found = list[float](), list[float]()
        for one in told:
            begun = time.perf_counter()
            memory.add(one, user_id="me", infer=False)
            added.append((time.perf_counter() - begun) * 1000)
        for asked in questions(told, SEARCHES):
            begun = time.perf_counter()
            hits = memory.search(asked, filters={"user_id": "me"}, top_k=8)
            found.append((time.perf_counter() - begun) * 1000)
        assert hits["results"], "mem0 found nothing: what it took is no figure"
    print(json.dumps({"remember one": added, "search": found}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
