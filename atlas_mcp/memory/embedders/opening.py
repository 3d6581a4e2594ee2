"""Which embedder the settings name, opened.

Promise: nothing is ever downloaded, and no text leaves the machine unless the settings name a server.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.memory.embedders.hash import HashEmbedder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from atlas_mcp.memory.embedders.contract import Embedder
    from atlas_mcp.model.stores import StoresConfig

REMOTE = ("openai-compatible", "voyage")
MINILM = "all-MiniLM-L6-v2"
CHROMAS_OWN = Path(".cache", "chroma", "onnx_models", MINILM, "onnx")
"""Where chromadb keeps these files if somebody had it download them, below the user's own folder."""


def named(config: StoresConfig, home: Path) -> str:
    """What `auto` stands for on this machine; any other name is itself."""
    if config.embedder != "auto":
        return config.embedder
    from atlas_mcp.memory.embedders.minilm import is_complete

    places = (home / "models" / MINILM, Path.home() / CHROMAS_OWN)
    return next((f"local:{place}" for place in places if is_complete(place)), "none")


def server(config: StoresConfig) -> str:
    """What tells a remote embedder's server from others, without its address; empty for those that need none."""
    if config.embedder not in REMOTE:
        return ""
    url = config.embedding_url.get_secret_value() if config.embedding_url else ""
    return sha256(f"{config.embedder} {url}".encode()).hexdigest()[:12]


@asynccontextmanager
async def open_embedder(config: StoresConfig, home: Path) -> AsyncGenerator[Embedder | None]:
    """The embedder that is configured, until the block is left; None where there is to be none.

    Raises ConfigurationError for files or settings that cannot be used, EmbedderFailed for one that does not answer.
    """
    name = named(config, home)
    if name == "none":
        yield None
    elif name == "hash":
        yield HashEmbedder()
    elif name.startswith("local:"):
        from atlas_mcp.memory.embedders.minilm import open_minilm

        yield await open_minilm(Path(name.removeprefix("local:")))
    elif name in REMOTE:
        from atlas_mcp.memory.embedders.remote import open_remote

        async with open_remote(name, config) as embedder:
            yield embedder
    else:
        raise ConfigurationError(
            f"there is no embedder {name!r}.",
            argument="ATLAS_EMBEDDER",
            allowed=("auto", "none", "hash", "local:PATH", "openai-compatible", "voyage"),
            next_step="Use auto, none, hash, local:PATH, openai-compatible or voyage.",
        )
