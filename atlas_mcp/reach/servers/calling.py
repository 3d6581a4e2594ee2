"""One call of a tool of another server, for an agent.

Promise: a text within bounds, or ToolFailed with one that says what the server did and what it means. A server that
says nothing for as long as the user's file allows is given up; one that tells of its progress may take HARD_SECONDS.
Cancellation is passed on to the server. ATLAS gives servers no answers of models or people: a call that asks for them
fails, and says so.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
from mcp import MCPError
from pydantic import TypeAdapter, ValidationError

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.servers.answers import as_text, cut
from atlas_mcp.reach.servers.link import LostError
from atlas_mcp.reach.servers.reasons import is_closed, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.reach.servers.link import Link
    from atlas_mcp.reach.servers.listing import Listed

HARD_SECONDS = 900.0
_ERROR_CHARS = 4_000
_RESULT: TypeAdapter[types.CallToolResult | types.InputRequiredResult] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)
_ASKS = "it asks for something (a model's answer, a person's, or folders) that ATLAS gives no server"


async def call(link: Link, tool: Listed, context: CallContext, arguments: Mapping[str, Any]) -> str:
    """What the tool answers. ToolFailed."""
    check(tool, arguments)
    if tool.tool not in {one.tool for one in link.listing.tools} and link.state == "ready":
        raise ToolFailed(f"{tool.name}: {link.config.name} does not offer it any more.")
    try:
        async with link.at_work() as client:
            result = await _answer(link, client, tool, arguments)
    except LostError as lost:
        raise ToolFailed(f"{tool.name}: the server {link.config.name} is not there: {lost}.") from None
    if isinstance(result, types.InputRequiredResult):
        raise ToolFailed(f"{tool.name}: {_ASKS}.")
    text = as_text(result)
    if result.is_error:
        raise ToolFailed(f"{tool.name}: {link.config.name} says that it failed: {cut(text, _ERROR_CHARS)}")
    if tool.told.get("outputSchema") and (wrong := _unlike(tool, result)):
        raise ToolFailed(f"{tool.name}: what it answered is not what its own schema says: {wrong}. It is not used.")
    return await _given(tool, context, text)


def check(tool: Listed, arguments: Mapping[str, Any]) -> None:
    """ToolFailed for arguments that are not what the tool's schema says."""
    if wrong := tool.check(dict(arguments)):
        raise ToolFailed(f"{tool.name}: {wrong}. Nothing was called.")


async def _answer(link: Link, client: Any, tool: Listed, arguments: Mapping[str, Any]) -> Any:
    params = types.CallToolRequestParams(name=tool.tool, arguments=dict(arguments))
    request, quiet = types.CallToolRequest(params=params), link.config.seconds
    last = anyio.current_time() + HARD_SECONDS

    async def progressed(_progress: float, _total: float | None, _message: str | None) -> None:
        waiting.deadline = min(anyio.current_time() + quiet, last)

    with anyio.CancelScope(deadline=anyio.current_time() + quiet) as waiting:
        try:
            return await client.session.send_request(request, _RESULT, progress_callback=progressed)
        except MCPError as error:
            link.doubt()  # it may have forgotten the session
            raise ToolFailed(f"{tool.name}: {_told(link, error)}") from None
        except (ValidationError, ValueError, RuntimeError) as error:
            raise ToolFailed(f"{tool.name}: {reason_of(error)}. What it did is not known.") from None
    link.doubt()
    waited = f"was silent for {quiet:g} s" if anyio.current_time() < last else f"took {HARD_SECONDS:g} s"
    raise ToolFailed(
        f"{tool.name}: {link.config.name} {waited}, and the call was given up. Whether it was done is not known."
    )


def _told(link: Link, error: MCPError) -> str:
    if is_closed(error):
        reason = link.trouble or "the connection ended"
        return f"the server {link.config.name} was lost during the call: {reason}. Whether it was done is not known."
    unread = " It is not used." if error.error.code == types.PARSE_ERROR else ""
    return f"{reason_of(error)}.{unread}"


def _unlike(tool: Listed, result: types.CallToolResult) -> str:
    if result.structured_content is None:
        return "it has no structured content"
    return tool.check_answer(result.structured_content)


async def _given(tool: Listed, context: CallContext, text: str) -> str:
    """The text under a name by which it can be cited; the same text has the same name."""
    name = f"{tool.name}#{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    await context.found(name, text, title=tool.name)
    return f"Source: {name}\n\n{text}"
