"""Why a session or a call with another server failed, in words for a person; nothing secret is in them."""

from __future__ import annotations

import re
from typing import cast

import anyio
import httpx2
import mcp_types as types
from mcp import MCPError
from pydantic import ValidationError

from atlas_mcp.reach.servers.answers import cut
from atlas_mcp.reach.servers.wire import NO_MESSAGE

_LONGEST = 500
_ADDRESS = re.compile(r"(https?://[^\s/?#'\"]*@|\?[^\s'\"]*)")
_REFUSED = {
    403: "it refuses what headers has, or who is logged in (403)",
    404: "there is nothing at its address (404); mend url",
    405: "its address takes no messages (405); perhaps its type is sse",
}


def reason_of(error: BaseException) -> str:
    """The reason, of the first error where there is a group of them."""
    error = first_of(error)
    match error:
        case httpx2.HTTPStatusError():
            code = error.response.status_code
            return _REFUSED.get(code, f"it answers with HTTP {code}")
        case httpx2.ConnectError() | httpx2.ConnectTimeout():
            return "nothing answers at its address"
        case httpx2.TransportError():
            return f"the connection failed: {plain(str(error) or type(error).__name__)}"
        case MCPError() if error.error.code == types.PARSE_ERROR:
            return _unreadable(error.error.message)
        case MCPError():
            return f"it answered with an error: {plain(error.error.message)}"
        case ValidationError():
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            return f"what it answers is not what MCP prescribes: {plain(place)}: {plain(first['msg'])}"
        case TimeoutError():
            return "it took too long to answer"
        case _:
            return plain(str(error)) or type(error).__name__


def is_closed(error: BaseException) -> bool:
    """Whether all that is said is that the connection is closed."""
    error = first_of(error)
    return isinstance(error, anyio.ClosedResourceError | anyio.BrokenResourceError) or (
        isinstance(error, MCPError) and error.error.message == "Connection closed"
    )


def first_of(error: BaseException) -> BaseException:
    """The error, or the first one where it is a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _unreadable(message: str) -> str:
    said = message.removeprefix("Failed to parse JSON response: ")
    return plain(said) if said == message or said.startswith("it") else NO_MESSAGE


def plain(text: str) -> str:
    """A stranger's words in one line, without what addresses may hold that is secret."""
    return _ADDRESS.sub("…", " ".join(cut(text, _LONGEST).split()))
