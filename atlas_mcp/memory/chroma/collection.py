"""Chroma's vectors as its owner asks for them: with numbers, and with a deadline for each question."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from atlas_mcp.memory.chroma.process import ChromaFailed

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from atlas_mcp.memory.chroma.process import ChromaProcess
    from atlas_mcp.memory.vector_rows import Block

OPEN_SECONDS = 60.0
CHANGE_SECONDS = 30.0
QUERY_SECONDS = 1.0
HANG_SECONDS = 10.0
"""What does not answer for so long, does not at all."""


class ChromaVectors:
    """All collections of one Chroma process. Each method raises ChromaFailed."""

    def __init__(self, process: ChromaProcess, *, change_seconds: float = CHANGE_SECONDS) -> None:
        self._process = process
        self._change_seconds = change_seconds

    async def open(self, home: str, url: str | None, suffix: str, *, anew: bool) -> tuple[str, list[str]]:
        """Open it: how its files were left, and of which embedders it has vectors."""
        seconds = OPEN_SECONDS
        said, _ = await self._process.ask("open", seconds=seconds, home=home, url=url, suffix=suffix, anew=anew)
        return said["mark"], said["fingerprints"]

    async def checked(self) -> None:
        """It was looked at, and is well."""
        await self._change("checked")

    async def whole(self) -> None:
        """It has all vectors: what stood in its place before can be deleted."""
        await self._change("whole")

    async def nearest(
        self, fingerprint: str, vectors: NDArray[np.float32], most: int, *, seconds: float = QUERY_SECONDS
    ) -> list[list[tuple[int, float]]]:
        """For each of the vectors the nearest passages with their similarity, best first."""
        sent = vectors.astype("<f4").tobytes()
        given = {"fingerprint": fingerprint, "vectors": len(vectors), "most": most}
        said, answer = await self._process.ask("query", sent, seconds=seconds, **given)
        counts: list[int] = said["counts"]
        ids = np.frombuffer(answer, dtype="<i8", count=sum(counts))
        far = np.frombuffer(answer, dtype="<f4", offset=8 * sum(counts))
        ends = np.cumsum([0, *counts])
        return [[(int(ids[n]), 1 - float(far[n])) for n in range(start, end)] for start, end in pairwise(ends.tolist())]

    async def put(self, fingerprint: str, block: Block) -> list[int]:
        """Keep the vectors, in place of what these passages had. The passages whose vectors Chroma refused."""
        sent = block.ids.astype("<i8").tobytes() + block.matrix.astype("<f4").tobytes()
        try:
            await self._change("put", sent, fingerprint=fingerprint, count=len(block.ids))
        except ChromaFailed as failure:
            if failure.problem != "refused":
                raise
            if len(block.ids) == 1:
                return [int(block.ids[0])]
            half = len(block.ids) // 2
            parts = (block.part(slice(None, half)), block.part(slice(half, None)))
            return [one for part in parts for one in await self.put(fingerprint, part)]
        return []

    async def remove(self, fingerprint: str, ids: Collection[int]) -> None:
        """Delete what these passages have."""
        await self._change("remove", np.array(sorted(ids), dtype="<i8").tobytes(), fingerprint=fingerprint)

    async def numbers(self, fingerprint: str) -> NDArray[np.int64]:
        """The passages that have a vector there, in order."""
        _, answer = await self._process.ask("numbers", seconds=OPEN_SECONDS, fingerprint=fingerprint)
        return np.sort(np.frombuffer(answer, dtype="<i8"))

    async def count(self, fingerprint: str) -> int:
        """How many passages have a vector there."""
        said, _ = await self._process.ask("count", seconds=OPEN_SECONDS, fingerprint=fingerprint)
        return said["count"]

    async def drop(self, fingerprint: str) -> None:
        """Delete all vectors of that embedder."""
        await self._change("drop", fingerprint=fingerprint)

    async def _change(self, do: str, numbers: bytes = b"", **given: Any) -> None:
        await self._process.ask(do, numbers, seconds=self._change_seconds, **given)
