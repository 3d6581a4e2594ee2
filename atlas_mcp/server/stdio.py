"""ATLAS over stdio: the pipe to the host carries protocol messages and nothing else.

`claim_wire` comes before every other import: from then on whatever prints, in this process or a child, goes to stderr.
The server ends promptly when the host closes the pipe, and on SIGTERM also while it is open (see `signals`).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from atlas_mcp.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import anyio

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.server.app import Offer

_CHUNK = 65_536
_LONGEST = 32 * 1024 * 1024
_TOO_LONG = b"a line of more than 32 MiB"  # no message: the host hears that it could not be read


@dataclass(frozen=True)
class Wire:
    """Private descriptors of the pipe to the host."""

    incoming: int
    outgoing: int


def claim_wire() -> Wire:
    """Take stdin and stdout for the protocol alone: descriptor 0 then reads nothing, and 1 leads to stderr.

    Raises ConfigurationError where one of them is closed.
    """
    try:
        wire = Wire(os.dup(0), os.dup(1))
    except OSError:
        raise ConfigurationError(
            "serving stdio needs an open stdin and stdout.", next_step="Let a host start it, or add --http."
        ) from None
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # started without stderr
        os.dup2(nothing, 1)
    os.close(nothing)
    sys.stdout = sys.stderr
    return wire


async def serve_stdio(atlas: Atlas, wire: Wire, toolset: Offer = "core") -> None:
    """Serve one host until it closes the pipe or a signal says stop. What calls have started belongs to Atlas."""
    import anyio
    from mcp.server.stdio import stdio_server

    from atlas_mcp.server.app import create_server
    from atlas_mcp.server.signals import stopped
    from atlas_mcp.server.underway import UnderWay

    made, calls = create_server(atlas, transport="stdio", toolset=toolset), UnderWay()
    made.middleware.insert(0, calls)
    # MCPServer offers no way to run on streams of one's own; its low-level server does.
    server = made._lowlevel_server  # pyright: ignore[reportPrivateUsage]
    outgoing = anyio.wrap_file(os.fdopen(wire.outgoing, "w", encoding="utf-8", newline="\n"))

    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await stopped(atlas, calls.over)
            group.cancel_scope.cancel()

        group.start_soon(stop)
        incoming = cast("anyio.AsyncFile[str]", _lines(wire.incoming))
        async with stdio_server(incoming, outgoing) as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
        group.cancel_scope.cancel()


async def _lines(descriptor: int) -> AsyncIterator[str]:
    """The lines that arrive, until the end. Read in a daemon thread: a blocked read must never hold up the exit."""
    import threading

    import anyio
    from anyio.from_thread import run
    from anyio.lowlevel import current_token

    sending, receiving = anyio.create_memory_object_stream[str](0)
    token = current_token()

    def read() -> None:
        try:
            for line in _split(descriptor):
                run(sending.send, line.decode("utf-8", "replace"), token=token)
            run(sending.aclose, token=token)
        except (RuntimeError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the server has stopped listening

    threading.Thread(target=read, name="stdin", daemon=True).start()
    async with receiving:
        async for line in receiving:
            yield line


def _split(descriptor: int) -> Iterator[bytes]:
    """Lines of bytes without their ends; the last one may lack its end. Of one that is too long nothing is kept."""
    begun: list[bytes] = []
    length = 0
    while chunk := os.read(descriptor, _CHUNK):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join([*begun, end]) if length + len(end) <= _LONGEST else _TOO_LONG
            begun.clear()
            length = 0
        length += len(rest)
        if length > _LONGEST:
            begun = [_TOO_LONG]
        else:
            begun.append(rest)
    if last := b"".join(begun):
        yield last
