"""How much of what is remembered a search finds: run `python benchmarks/recall.py`.

    python benchmarks/recall.py [--embedder hash|local:PATH|...] [--locomo FILE] [--longmemeval FILE]

Recall at 5 and at 10 of the set that comes with the tests, on SQLite and on PostgreSQL, by words alone and with the
vectors of an embedder. Vectors of `hash` are shown for comparison only: ATLAS ranks by no embedder that does not tell
meanings apart. LoCoMo (`locomo10.json`) and LongMemEval (`longmemeval_s.json` and the like) are measured from files
that you download: a memory a turn, and a memory a session; no language model is asked. The first has a licence of its
own (CC BY-NC 4.0).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from atlas_mcp.memory.chunks import passages
from atlas_mcp.memory.embedding import Query as Question
from atlas_mcp.memory.finding import Finder
from atlas_mcp.memory.hybrid import HybridMemory, open_memory
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record
from benchmarks._machine import machine_line
from tests.memory.recalling import DEEPEST, ME, Case, Score, ask, locomo, longmemeval, own, put, put_plainly
from tests.postgres import running_postgres

AT_ONCE = 40
"""So many questions of LongMemEval share a record: each brings some fifty sessions."""


@dataclass(frozen=True)
class Ranking:
    """An embedder's questions, ranked by even where ATLAS would not."""

    memory: HybridMemory
    ranks: bool = True

    async def query(self, text: str) -> Question | None:
        """The question's vector."""
        return await self.memory.embedding.query(text)


@asynccontextmanager
async def opened(database: Postgres | None, embedder: str) -> AsyncGenerator[HybridMemory]:
    """An empty memory of its own."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        open_home(home)
        async with open_record(home, database) as record:
            locks = Locks(home / "locks")
            async with open_memory(record, home, locks, StoresConfig(embedder=embedder)) as memory:
                yield memory


def finders(memory: HybridMemory, embedder: str) -> Iterable[tuple[str, Finder]]:
    """The ways of searching that are compared."""
    yield "words", Finder(memory.record)
    if embedder != "none":
        yield f"words and {embedder}", Finder(memory.record, Ranking(memory), memory.vectors)


async def of_own(database: Postgres | None, embedder: str) -> None:
    """Print the figures of our own set."""
    case = own()
    async with opened(database, embedder) as memory:
        await put(memory.record, case)
        if embedder != "none":
            await memory.embedding.settled()
        for name, finder in finders(memory, embedder):
            score = Score()
            await ask(finder, case.questions, ME, score, DEEPEST)
            wrong = f"; {len(score.leaks)} found that must not be, {len(score.disorder)} in the wrong order"
            print(f"    {name:<24} {score.line()}{wrong}", flush=True)


async def of_others(cases: Iterable[Case], embedder: str, *, whole: bool) -> None:
    """Print the figures of a set whose memories have no kinds, keys or times; each case is somebody's own."""
    scores: dict[str, Score] = {}
    waiting = list(cases)
    while some := waiting[:AT_ONCE]:
        waiting = waiting[AT_ONCE:]
        async with opened(None, embedder) as memory:
            for n, case in enumerate(some):
                await put_plainly(memory.record, case, Caller(id=f"local:{n}"), _whole if whole else passages)
            if embedder != "none":
                await memory.embedding.settled()
            for name, finder in finders(memory, embedder):
                score = scores.setdefault(name, Score())
                for n, case in enumerate(some):
                    limit = DEEPEST if whole else 5 * DEEPEST
                    await ask(finder, case.questions, Caller(id=f"local:{n}"), score, limit)
    for name, score in scores.items():
        print(f"    {name:<24} {score.line()}", flush=True)


def _whole(text: str) -> list[str]:
    return [text]


async def main() -> None:
    """Print all that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="hash", help="as ATLAS_EMBEDDER; none measures words alone")
    parser.add_argument("--locomo", type=Path)
    parser.add_argument("--longmemeval", type=Path)
    given = parser.parse_args()
    print(machine_line())
    print("Our own set, SQLite")
    await of_own(None, given.embedder)
    with running_postgres() as server:
        print("Our own set, PostgreSQL")
        await of_own(Postgres(server.new_database()), given.embedder)
    if given.locomo:
        print("LoCoMo, a memory a turn, categories 1 to 4, SQLite")
        await of_others(locomo(given.locomo), given.embedder, whole=True)
    if given.longmemeval:
        print("LongMemEval, a memory a session, without abstentions, SQLite")
        await of_others(longmemeval(given.longmemeval), given.embedder, whole=False)


if __name__ == "__main__":
    anyio.run(main)
