"""How the embedder is, as `get_status` tells it: how far it is, and what would make search better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from atlas_mcp.memory.embedders.opening import MINILM, REMOTE
from atlas_mcp.model.status import Room
from atlas_mcp.store.memory_tables import vector
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from atlas_mcp.memory.embedders.contract import Embedder
    from atlas_mcp.memory.embedding import Embedding
    from atlas_mcp.store.record import Record

NAME = "embedder"


async def describe(embedding: Embedding, record: Record) -> Room:
    """The embedder's room; its trouble is never more than a warning, for the words answer."""
    name = embedding.config.embedder
    if name in REMOTE:
        name += f", {embedding.config.embedding_model}"
    if embedding.trouble:
        text = f"{name}: {embedding.trouble} Search is by words alone meanwhile."
        return Room(name=NAME, health="warning", text=text, next_step=embedding.next_step)
    if embedding.own is not None:
        return Room(name=NAME, health="ok", text=f"{name}: {await _progress(embedding, embedding.own, record)}")
    if name == "none":
        return Room(name=NAME, health="ok", text="Search is by words alone, as ATLAS_EMBEDDER=none says.")
    if name == "auto":
        folder = embedding.home / "models" / MINILM
        step = f"To search by meaning, too: put {MINILM}'s model.onnx and tokenizer.json into {folder}, "
        step += "or set ATLAS_EMBEDDER to openai-compatible or voyage."
        return Room(name=NAME, health="ok", text="Search is by words alone: no embedder is here.", next_step=step)
    return Room(name=NAME, health="idle", text=f"{name}: it is just being opened.")


async def _progress(embedding: Embedding, embedder: Embedder, record: Record) -> str:
    mine = vector.c.fingerprint == embedder.fingerprint
    async with record.read() as db:
        total = (await db.execute(select(func.count()).select_from(passage))).scalar_one()
        made = (await db.execute(select(func.count()).select_from(vector).where(mine))).scalar_one()
    said = f"{made:,} of {total:,} passages have their vector of {embedder.dimension} numbers"
    if embedding.answering is None:
        said += "; until all have, search is by words alone"
    elif embedding.answering is not embedder:
        said += "; until all have, search is by the embedder before"
    elif not embedder.ranks:
        said += ", which are not ranked by"
    refused = f" It cannot take {len(embedding.aside):,}: {embedding.aside.reason}" if len(embedding.aside) else ""
    return f"{said}.{refused}"
