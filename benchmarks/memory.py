"""What memory costs: run `python benchmarks/memory.py`, or with sizes, as in `python benchmarks/memory.py 1000 100000`.

    python benchmarks/memory.py [SIZE ...] [--no-postgres] [--no-peers]

Writing a memory and searching with and without a filter, at 1,000, 10,000 and 100,000 memories, on SQLite and on
PostgreSQL; the time to make Chroma anew from the record; beside them Chroma alone, and mem0 on Chroma, with the same
vectors (those of `hash`) and no language model. mem0 is installed in an environment of its own and measured at the
smallest size only: it takes memories one by one. Texts are of a wide vocabulary, and all of them differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy import insert, text

from atlas_mcp.memory.documents import Origin, add_passages
from atlas_mcp.memory.embedders.hash import HashEmbedder
from atlas_mcp.memory.finding import Finder
from atlas_mcp.memory.hybrid import open_memory
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.scope import Scope
from atlas_mcp.memory.words import Query
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.memory_item import New
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.memory_tables import vector
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from benchmarks._machine import machine_line, summary
from benchmarks._texts import questions, texts
from benchmarks.recall import Ranking
from benchmarks.team_peers import python_of
from tests.postgres import DURABLE, running_postgres

ME = Caller(id="local:me")
KINDS = ("long_term",)
PROJECTS = 20
SEARCHES, WRITES = 100, 100
BATCH = 2_000
MEM0 = "mem0ai==2.2.1"


async def timed(what: str, count: int, once: Callable[[int], Awaitable[Any]]) -> None:
    """Print what it costs, after three times that do not count."""
    took = list[float]()
    for n in range(-3, count):
        begun = time.perf_counter()
        await once(n)
        if n >= 0:
            took.append((time.perf_counter() - begun) * 1000)
    print(f"    {what:<44} {summary(took)}", flush=True)


async def fill(record: Record, told: list[str]) -> None:
    """Put the texts into the record: a twentieth into each project, each a second later than the one before."""
    begun, now = time.perf_counter(), datetime.now(UTC)
    for start in range(0, len(told), BATCH):
        async with record.write(ME.id) as db:
            for n, one in enumerate(told[start : start + BATCH], start):
                at = now - timedelta(seconds=len(told) - n)
                project = f"project {n % PROJECTS}"
                await add_passages(db, ME, Origin("long_term", f"mem-{n}", "", project, "caller", 1.0, at), [one])
    print(f"    {'filled, a second':<44} {len(told) / (time.perf_counter() - begun):.0f}", flush=True)


async def searches(record: Record, told: list[str]) -> None:
    """Print what searches of words cost."""
    asked, finder, now = questions(told, SEARCHES + 3), Finder(record), datetime.now(UTC)
    recent = now - timedelta(seconds=len(told) / 10)
    scopes = {
        "search": Scope(ME, KINDS),
        "search, one project in twenty": Scope(ME, KINDS, project="project 7"),
        "search, the newest tenth": Scope(ME, KINDS, since=recent),
        "search, as an agent of a team": Scope(ME, KINDS, scopes=("all", "agent:strategist", "team:analysis")),
    }
    for name, scope in scopes.items():

        async def once(n: int, scope: Scope = scope) -> None:
            await finder.find(scope, Query(asked[n]), 8)

        await timed(name, SEARCHES, once)


async def writes(record: Record, told: list[str]) -> None:
    """Print what it costs to remember something."""
    memories, fresh = Memories(ME, record), itertools.islice(texts(), len(told), None)

    async def once(_: int) -> None:
        await memories.add(New(kind="long_term", text=next(fresh)))

    await timed("remember one", WRITES, once)


async def embed(record: Record, told: list[str]) -> None:
    """Give every passage its vector, as the worker in the background does."""
    embedder = HashEmbedder()
    async with record.read() as db:
        ids = [row[0] for row in await db.execute(text("SELECT id FROM passage WHERE source LIKE 'mem-%' ORDER BY id"))]
    for start in range(0, len(told), BATCH):
        made = await embedder.embed(told[start : start + BATCH])
        rows = [
            {"passage": number, "fingerprint": embedder.fingerprint, "data": one.tobytes()}
            for number, one in zip(ids[start : start + BATCH], made, strict=True)
        ]
        async with record.write() as db:
            await db.execute(insert(vector), rows)


async def vectors(record: Record, home: Path, told: list[str]) -> None:
    """Print how long Chroma is made of the record's vectors, and what a search with vectors costs."""
    await embed(record, told)
    begun = time.perf_counter()
    async with open_memory(record, home, Locks(home / "locks"), StoresConfig(embedder="hash")) as memory:
        await memory.embedding.settled()
        with anyio.move_on_after(900) as waited:
            while memory.vectors.chroma.stage != "ready":  # noqa: ASYNC110 - it tells nobody
                await anyio.sleep(0.1)
        if waited.cancelled_caught:
            print(f"    {'Chroma':<44} not made in 15 minutes: {memory.vectors.room().text}")
            return
        print(f"    {'Chroma made of the record':<44} {time.perf_counter() - begun:.1f} s", flush=True)
        asked, finder = questions(told, SEARCHES + 3), Finder(record, Ranking(memory), memory.vectors)

        async def once(n: int) -> None:
            await finder.find(Scope(ME, KINDS), Query(asked[n]), 8)

        await timed("search, with vectors", SEARCHES, once)


async def of_record(size: int, database: Postgres | None) -> None:
    """Print all figures of one size."""
    told = list(itertools.islice(texts(), size))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        home = Path(name)
        open_home(home)
        async with open_record(home, database) as record:
            await fill(record, told)
            if database is not None:
                async with record.write() as db:
                    await db.execute(text("ANALYZE"))  # as its autovacuum does within a minute
            await searches(record, told)
            if database is None:
                await vectors(record, home, told)
            await writes(record, told)


async def chroma_alone(size: int) -> None:
    """Print what Chroma takes by itself, for vectors that are at hand."""
    import chromadb
    from chromadb.config import Settings

    told = list(itertools.islice(texts(), size))
    embedder = HashEmbedder()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        client = chromadb.PersistentClient(name, Settings(anonymized_telemetry=False))
        near: Any = {"hnsw": {"space": "cosine"}}
        kept = client.create_collection("memories", embedding_function=None, configuration=near)
        begun = time.perf_counter()
        for start in range(0, size, BATCH):
            some = told[start : start + BATCH]
            made = await embedder.embed(some)
            ids = [str(n) for n in range(start, start + len(some))]
            project: list[Any] = [{"project": n % PROJECTS} for n in range(start, start + len(some))]
            await anyio.to_thread.run_sync(lambda a=ids, b=made, c=project: kept.add(a, b, c))
        print(f"    {'Chroma alone, filled, a second':<44} {size / (time.perf_counter() - begun):.0f}", flush=True)
        asked = await embedder.embed(questions(told, SEARCHES + 3))
        for what, where in (("Chroma alone, search", None), ("Chroma alone, one project in twenty", {"project": 7})):

            async def once(n: int, where: Any = where) -> None:
                one = asked[n : n + 1] if n >= 0 else asked[:1]
                await anyio.to_thread.run_sync(lambda: kept.query(one, n_results=8, where=where))

            await timed(what, SEARCHES, once)


def mem0(size: int) -> None:
    """Print what mem0 takes, or why it cannot be measured."""
    script = Path(__file__).parent / "peers" / "mem0_memory.py"
    silent = os.environ | {"MEM0_TELEMETRY": "False", "OPENAI_API_KEY": "none", "ANONYMIZED_TELEMETRY": "False"}
    try:
        python = python_of("mem0", [MEM0, "chromadb==1.5.9"])
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
            ran = subprocess.run(
                [str(python), "-W", "ignore", str(script), str(size)],
                check=True, capture_output=True, text=True, timeout=600, env=silent | {"MEM0_DIR": home},
            )  # fmt: skip
    except subprocess.CalledProcessError as failure:
        said = failure.stderr if isinstance(failure.stderr, str) else failure.stderr.decode()
        print(f"    {'mem0':<44} not measured: {said.strip().splitlines()[-1] if said.strip() else 'no reason given'}")
        return
    except subprocess.TimeoutExpired:
        print(f"    {'mem0':<44} not measured: it took more than 600 s")
        return
    told = next(json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{"))
    for what, took in told.items():
        print(f"    {f'mem0, {what}':<44} {summary(took)}", flush=True)


async def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--no-postgres", action="store_true")
    parser.add_argument("--no-peers", action="store_true")
    given = parser.parse_args()
    os.environ[DURABLE] = "1"
    print(machine_line())
    for size in given.sizes:
        print(f"{size:,} memories, SQLite")
        await of_record(size, None)
        if not given.no_postgres:
            print(f"{size:,} memories, PostgreSQL")
            with running_postgres() as server:
                await of_record(size, Postgres(server.new_database()))
        if not given.no_peers:
            print(f"{size:,} memories, others")
            await chroma_alone(size)
            if size == min(given.sizes):
                await anyio.to_thread.run_sync(mem0, size)


if __name__ == "__main__":
    anyio.run(main)
