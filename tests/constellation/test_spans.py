"""What a trace shows of turns and memory, and what it never shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.spool import read, waiting
from atlas_mcp.watch.tracing import open_tracing
from tests.constellation.conftest import open_world

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_a_turn_is_a_span_with_its_conversation_its_usage_and_a_hash_for_the_caller(home: Path) -> None:
    async with open_world(home) as world:
        with open_tracing(home) as tracing:
            me = world.of("local:secret-home-id")
            asked = '@tool memory_insert {"label": "human", "new_string": "likes tea"}'
            turn = await me.take_turn("librarian", asked, conversation=None, key="k")
            await me.update_memory("librarian", "human", append="and cake")
            assert tracing.flush(60)
            files = [file.path for file in waiting(home / "spool")]
            rows: list[Any] = [row for path in files for row in read(path).spans]
            text = "".join(path.read_text() for path in files)
    spans = {row["name"]: row["attributes"] for row in rows}
    told = spans["turn librarian"]
    assert told["mlflow.spanType"] == "AGENT"
    assert told["session.id"] == turn.conversation
    assert json.loads(told["mlflow.chat.tokenUsage"])["total_tokens"] == 30
    assert json.loads(told["mlflow.llm.cost"])["total_cost"] == pytest.approx(0.03)
    assert told["user.id"] == hashed_caller("local:secret-home-id")
    assert spans["memory changed"]["mlflow.spanType"] == spans["update memory"]["mlflow.spanType"] == "MEMORY"
    assert "secret-home-id" not in text


async def test_sharing_and_searching_are_spans_that_say_what_was_found(home: Path) -> None:
    async with open_world(home) as world:
        with open_tracing(home) as tracing:
            me = world.of()
            made = await me.library.share("Tea", "Tea grows in Assam.")
            await me.search_memory("tea", kinds=["knowledge"])
            await me.library.delete(made.id)
            assert tracing.flush(60)
            rows: list[Any] = [row for file in waiting(home / "spool") for row in read(file.path).spans]
    spans = {row["name"]: row["attributes"] for row in rows}
    assert {"share knowledge", "search memory", "search knowledge", "delete knowledge"} <= set(spans)
    assert spans["search memory"]["mlflow.spanType"] == "RETRIEVER"
    assert "Tea grows in Assam." in spans["search memory"]["mlflow.spanOutputs"]
    assert spans["share knowledge"]["author"] == "caller"
