"""What each request needs of whoever sends it, and the middleware that holds everybody to it.

Promise: what a caller was not granted is not listed for them, and is refused when they ask for it all the same, before
anything of it begins. What stands in no table needs `admin`, so that nothing new is open because somebody forgot it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from atlas_mcp.errors import NotAllowed
from atlas_mcp.server.caller import Transport, grant_of
from atlas_mcp.server.errors import protocol_refusal, refusal

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.access import Grant, Scope

    Request = ServerRequestContext[Any, Any]

TOOLS: Final[Mapping[str, Scope]] = {
    "list_agents": "read",
    "get_run": "read",
    "list_runs": "read",
    "get_agent_memory": "read",
    "search_memory": "read",
    "list_memories": "read",
    "recall_facts": "read",
    "get_status": "read",
    "chat_with_agent": "chat",
    "chat_with_group": "chat",
    "run_team_task": "chat",
    "answer_run": "chat",
    "cancel_run": "chat",
    "rate_text": "chat",
    "give_feedback": "chat",
    "update_agent_memory": "write",
    "undo_memory": "write",
    "forget": "write",
    "share_knowledge": "write",
    "remember": "write",
    "correct_memory": "write",
    "relate": "write",
    "merge_entities": "write",
    "split_entity": "write",
    "create_agent": "admin",
    "delete_agent": "admin",
    "create_group": "admin",
    "delete_group": "admin",
}
"""The scope that each tool needs."""

_OPEN: Final = frozenset({"initialize", "ping", "server/discover", "logging/setLevel", "tools/list"})
_METHODS: Final[Mapping[str, Scope]] = {
    "resources/read": "read",
    "resources/subscribe": "read",
    "resources/unsubscribe": "read",
    "prompts/get": "read",
    "completion/complete": "read",
    "tasks/get": "chat",
    "tasks/update": "chat",
    "tasks/cancel": "chat",
}
_LISTS: Final[Mapping[str, str]] = {
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
"""Listings, which hosts ask for when they connect: whoever may not `read` is shown that there is nothing."""


def tool_scope(name: str) -> Scope:
    """The scope that a tool needs."""
    return TOOLS.get(name, "admin")


class Scopes:
    """The middleware, for one server."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    async def __call__(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        """Let the request go on if it was granted."""
        if ctx.request_id is None:  # a notification asks for nothing
            return await call_next(ctx)
        grant = grant_of(self._atlas, self._transport, ctx)
        if ctx.method == "tools/call":
            name = str((ctx.params or {}).get("name"))
            if (needed := tool_scope(name)) not in grant.scopes:
                return refusal(_not_allowed(name, needed, grant))
            return await call_next(ctx)
        needed = _needed(ctx)
        if needed is not None and needed not in grant.scopes:
            raise protocol_refusal(_not_allowed(ctx.method, needed, grant))
        return _shown(ctx.method, await call_next(ctx), grant)


def _needed(ctx: Request) -> Scope | None:
    if ctx.method == "subscriptions/listen":  # hosts listen for new tools as soon as they connect
        asked = (ctx.params or {}).get("notifications")
        return (
            "read"
            if isinstance(asked, Mapping) and cast("Mapping[str, Any]", asked).get("resourceSubscriptions")
            else None
        )
    return None if ctx.method in _OPEN or ctx.method in _LISTS else _METHODS.get(ctx.method, "admin")


def _shown(method: str, result: HandlerResult, grant: Grant) -> HandlerResult:
    """The listing without what was not granted; nobody else's client may keep it, for theirs may differ."""
    if not isinstance(result, dict):
        return result
    if method == "tools/list":
        result = {**result, "tools": [one for one in result["tools"] if tool_scope(one["name"]) in grant.scopes]}
    elif (key := _LISTS.get(method)) and "read" not in grant.scopes:
        result = {name: value for name, value in result.items() if name != "nextCursor"} | {key: []}
    return {**result, "cacheScope": "private"} if "cacheScope" in result else result


def _not_allowed(what: str, needed: Scope, grant: Grant) -> NotAllowed:
    return NotAllowed(
        f"{what} needs the scope {needed!r}, and you were granted {', '.join(sorted(grant.scopes)) or 'none'}.",
        next_step="Ask whoever runs this ATLAS for a key or login with that scope.",
    )
