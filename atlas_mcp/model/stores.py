"""Which stores are fed from the record, and by what texts become vectors."""

from __future__ import annotations

from pydantic import SecretStr

from atlas_mcp.model._base import Frozen


class StoresConfig(Frozen):
    """What is configured of memory. An address that is None means that the home keeps it itself, or that there is none.

    `embedder` is `auto`, `none`, `hash`, `local:PATH`, `openai-compatible` or `voyage`; the address, the model and the
    key beside it are for the last two.
    """

    embedder: str = "auto"
    embedding_url: SecretStr | None = None
    embedding_model: str | None = None
    embedding_key: SecretStr | None = None
    chroma_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    neo4j_url: SecretStr | None = None
