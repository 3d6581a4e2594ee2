"""A real MCP client on a real server subprocess: what the demonstration uses, and what any host does."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

from mcp import MCPError, StdioServerParameters, stdio_client
from mcp.client import Client
from mcp.types import Implementation, TextContent
from pydantic import BaseModel

from atlas_mcp import __version__
from atlas_mcp.cli.interrupting import innermost
from atlas_mcp.errors import AtlasError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

T = TypeVar("T", bound=BaseModel)

CALL_SECONDS = 120.0


class Server:
    """The server at the other end, called as a host calls it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def protocol_version(self) -> str:
        """The protocol revision that client and server agreed on."""
        return self._client.protocol_version

    @property
    def version(self) -> str:
        """What the server says its version is."""
        known = self._client.server_info
        return known.version if known else ""

    async def tools(self) -> list[str]:
        """The names of the tools it offers."""
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def call(self, shape: type[T], tool: str, **arguments: Any) -> T:
        """One tool call, its structured result as `shape`. AtlasError with the server's text when it refuses."""
        result = await self._client.call_tool(tool, arguments, read_timeout_seconds=CALL_SECONDS)
        if result.is_error:
            text = " ".join(part.text for part in result.content if isinstance(part, TextContent))
            raise AtlasError(text)
        return shape.model_validate(result.structured_content)


@asynccontextmanager
async def start_server(client_name: str, **environment: str) -> AsyncGenerator[Server]:
    """Start `atlas-mcp serve` as a subprocess with this process's environment and more, and connect to it over stdio.

    Raises Unavailable with the server's last words when it does not come up.
    """
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "atlas_mcp", "serve"],
        env={**os.environ, **environment},  # handed on unread: the server reads its own settings
    )
    async with open_server(client_name, parameters) as server:
        yield server


@asynccontextmanager
async def open_server(client_name: str, parameters: StdioServerParameters) -> AsyncGenerator[Server]:
    """Start a server as a host would, and connect to it. Raises Unavailable as `start_server` does."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        name = Implementation(name=client_name, version=__version__)
        try:
            async with Client(stdio_client(parameters, errlog=log), client_info=name) as client:
                yield Server(client)
        except (ExceptionGroup, MCPError, OSError) as failure:
            raise _told(innermost(failure), log) from None


def _told(failure: Exception, log: IO[str]) -> Exception:
    """A lost server as its own last words; a fault of its with what it logged of it; what else went wrong as it was."""
    words = _last_words(log)
    if isinstance(failure, MCPError | OSError):
        return Unavailable(words or str(failure))
    if isinstance(failure, AtlasError) and "unexpected error" in str(failure) and words:
        return AtlasError(f"{failure}\n{words}")
    return failure


def _last_words(log: IO[str]) -> str:
    log.seek(0)
    lines = [line for line in log.read().splitlines() if line.strip()]
    return lines[-1].removeprefix("atlas-mcp: ") if lines else ""
