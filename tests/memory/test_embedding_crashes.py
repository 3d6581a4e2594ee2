"""What was embedded by a process that is killed is kept, whenever it is killed, and the next makes only the rest."""

from __future__ import annotations

import random
import signal
import sys
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest
from sqlalchemy import func, select

from atlas_mcp.memory.documents import Documents
from atlas_mcp.memory.filling import AT_ONCE
from atlas_mcp.model.caller import Caller
from atlas_mcp.store.home import open_home
from atlas_mcp.store.memory_tables import vector
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import passage
from tests.memory.embedding_server import Call, EmbeddingServer, Reply, embedding_server, vector_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals"),
]

WORKER = """
import sys, anyio, pathlib
from pydantic import SecretStr
from atlas_mcp.memory.embedding import Embedding
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import open_record
async def main(home, url):
    config = StoresConfig(embedder="openai-compatible", embedding_url=SecretStr(url), embedding_model="m-1")
    async with open_record(home) as record, anyio.create_task_group() as tasks:
        embedding = Embedding(record, Locks(home / "locks"), home, config)
        tasks.start_soon(embedding.work)
        await embedding.settled()
        tasks.cancel_scope.cancel()
anyio.run(main, pathlib.Path(sys.argv[1]), sys.argv[2])
"""
KILLS = 4
PASSAGES = 10 * AT_ONCE


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with embedding_server() as started:
        yield started


async def count(record: Record) -> int:
    async with record.read() as db:
        return (await db.execute(select(func.count()).select_from(vector))).scalar_one()


async def write(record: Record) -> None:
    paragraph = "Number {} begins here, and says what it says at such a length that it stays by itself. " * 6
    text = "\n\n".join(paragraph.format(*[n] * 6) for n in range(PASSAGES))
    document = await Documents(Caller(id="local:me"), record).share("many", text)
    assert document.chunks == PASSAGES


async def test_a_process_that_is_killed_loses_no_vector_and_none_is_made_twice_but_those_in_hand(
    home: Path, server: EmbeddingServer
):
    open_home(home)
    moments = random.Random(7)
    async with open_record(home) as record:
        await write(record)
        with anyio.fail_after(250):
            for kill in range(KILLS):
                stored, before = await count(record), len(server.calls)
                batches = kill % 2 + 1

                async def hold(_: Call, last: int = before + 1 + batches) -> Reply:  # one asks what vectors are like
                    if len(server.calls) > last:
                        await anyio.sleep_forever()
                    return Reply()

                server.rule = hold
                async with await anyio.open_process([sys.executable, "-c", WORKER, str(home), server.url]) as worker:
                    if kill < KILLS // 2:  # while an answer is awaited: what was answered before is stored
                        await server.asked(times=before + 1 + batches + 1)
                    else:  # perhaps in the midst of storing what was answered
                        await server.asked(times=before + 1 + batches)
                        await anyio.sleep(moments.uniform(0, 0.02))
                    worker.kill()
                    await worker.wait()
                now = await count(record) - stored
                assert now in {batches * AT_ONCE, *([(batches - 1) * AT_ONCE] if kill >= KILLS // 2 else [])}

            async def good(_: Call) -> Reply:
                return Reply()

            server.rule = good
            done = await anyio.run_process([sys.executable, "-c", WORKER, str(home), server.url])
        assert done.returncode == 0
        async with record.read() as db:
            rows = (await db.execute(select(passage.c.title, passage.c.text, vector.c.data).join(vector))).all()
    assert len(rows) == PASSAGES
    for row in rows:
        made = np.array(vector_of(f"{row.title}\n{row.text}", "m-1"))
        assert np.frombuffer(row.data, "<f4") == pytest.approx(made / np.linalg.norm(made), abs=1e-6)
    asked_for = [text for text in server.texts if text.startswith("many")]
    assert set(asked_for) == {f"{row.title}\n{row.text}" for row in rows}
    assert len(asked_for) <= PASSAGES + KILLS * AT_ONCE
