"""`memory check` compares what a Neo4j has of facts with the record, and has it told anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from pydantic import SecretStr

from atlas_mcp.memory import checking
from atlas_mcp.memory.hybrid import HybridMemory, open_memory
from atlas_mcp.memory.telling import Teller
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.checked import StoreCheck
from atlas_mcp.model.fact import Triple
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.store.record import Record
    from tests.bolt import RunningBolt

pytestmark = pytest.mark.anyio
ANA, BEN = Caller(id="local:ana"), Caller(id="local:ben")


async def looked_at(made: HybridMemory, *, repair: bool = False) -> StoreCheck:
    """What the check says of the graph once the Neo4j has heard everything."""
    assert made.graph
    while True:
        if made.graph.link.answers and not await made.graph.late():
            found = next(one for one in (await checking.check(made, repair=repair)).stores if one.store == "graph")
            if found.health != "idle":
                return found
        await anyio.sleep(0.05)


async def test_facts_that_neo4j_lost_or_has_otherwise_are_told_and_mended(
    record: Record, home: Path, bolt: RunningBolt, graph: str
) -> None:
    config = StoresConfig(embedder="none", neo4j_url=SecretStr(bolt.address(graph)))
    async with open_memory(record, home, Locks(home / "locks"), config) as made:
        with anyio.fail_after(120):
            for n in range(6):
                triple = Triple(subject="heron", relation="nests in", object=f"alder {n}")
                await made.facts((ANA, BEN)[n % 2]).relate([triple], Teller("caller", 1.0))
            well = await looked_at(made)
            assert (well.health, well.looked_at) == ("ok", 6)
            assert made.graph
            lose = "MATCH ()-[f:FACT]->() WHERE f.text CONTAINS 'alder 3' DELETE f"
            change = "MATCH ()-[f:FACT]->() WHERE f.text CONTAINS 'alder 4' SET f.caller = 'local:ben'"
            await made.graph.link.write([(lose, {}), (change, {})])
            ill = await looked_at(made)
            assert (ill.health, [problem.count for problem in ill.problems]) == ("failing", [2])
            assert (await looked_at(made, repair=True)).problems[0].mended
            again = await looked_at(made)
            assert (again.health, again.looked_at) == ("ok", 6)
