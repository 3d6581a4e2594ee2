"""Long calls as tasks, for clients that declare the extension `io.modelcontextprotocol/tasks` (SEP-2663).

Where a tool gives the handle of work that goes on, such a client gets a task of the same id instead. Nothing is kept
for it here: every request about a task looks at the work itself, so that a task outlives connections and processes as
its work does, and one of another caller does not exist. A client without the extension never hears of tasks.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, cast

from mcp import MCPError
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult, RequestParams
from mcp_types import HEADER_MISMATCH
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from atlas_mcp.errors import AtlasError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.session import ServerSession
    from mcp.types import CallToolRequestParams

    Request = ServerRequestContext[Any, Any]

EXTENSION: Final = "io.modelcontextprotocol/tasks"
POLL_MS: Final = 1_000
PATIENCE_SECONDS: Final = 5.0
"""How long a chat is waited for before a client that takes tasks gets one: most replies come within it."""

_VERSIONS: Final = frozenset(MODERN_PROTOCOL_VERSIONS)

TaskStatus = Literal["working", "input_required", "completed", "failed", "cancelled"]


@dataclass(frozen=True)
class Task:
    """How a piece of work stands, in the words of the extension. `questions` are requests to the client, by id."""

    id: str
    status: TaskStatus
    created_at: datetime
    updated_at: datetime
    text: str = ""
    questions: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    result: CallToolResult | None = None
    error: dict[str, Any] | None = None


class Work(Protocol):
    """What goes on behind tasks. Each method finds only what belongs to the caller of the request."""

    tools: frozenset[str]
    """The tools that give handles of it: structured results with a `run_id` and a status that is not the end."""

    async def find(self, request: Request, id: str) -> Task | None:
        """How it stands, or None where there is none of that id."""
        ...

    async def answer(self, request: Request, id: str, answers: dict[str, Any]) -> None:
        """Take answers by the ids of their questions; those of other questions are left out. InvalidInput."""
        ...

    async def cancel(self, request: Request, id: str) -> None:
        """Stop it; nothing happens to what has ended."""
        ...


class _TaskParams(RequestParams):
    task_id: str = Field(alias="taskId")


class _UpdateParams(_TaskParams):
    input_responses: dict[str, Any] = Field(alias="inputResponses")


def takes_tasks(session: ServerSession) -> bool:
    """Whether the client of this request has declared that it takes tasks."""
    capabilities = session.client_capabilities
    declared = capabilities.extensions if capabilities else None
    return EXTENSION in (declared or {}) and session.protocol_version in _VERSIONS


def patience(session: ServerSession, wanted: float, at_most: float | None = None) -> float:
    """How many of the `wanted` seconds a tool waits for its work: a client that takes tasks need not wait for all."""
    return min(wanted, PATIENCE_SECONDS if at_most is None else at_most) if takes_tasks(session) else wanted


class Tasks(Extension):
    """The extension over the work of one server; an id is looked for in each kind of work in turn."""

    identifier = EXTENSION

    def __init__(self, works: Sequence[Work]) -> None:
        self._works = works
        self._tools = frozenset[str]().union(*(work.tools for work in works))

    def methods(self) -> Sequence[MethodBinding]:
        """`tasks/get`, `tasks/update` and `tasks/cancel`."""
        return [
            MethodBinding("tasks/get", _TaskParams, self._get, _VERSIONS),
            MethodBinding("tasks/update", _UpdateParams, self._update, _VERSIONS),
            MethodBinding("tasks/cancel", _TaskParams, self._cancel, _VERSIONS),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Request, call_next: CallNext
    ) -> HandlerResult:
        """Give a task for a handle, where the client takes tasks."""
        result = await call_next(ctx)
        if params.name not in self._tools or not takes_tasks(ctx.session):
            return result
        handle = _handle(result)
        return result if handle is None else {"resultType": "task", **_shown((await self._find(ctx, handle))[1])}

    async def _get(self, ctx: Request, params: _TaskParams) -> HandlerResult:
        _, task = await self._asked(ctx, params)
        shown = _shown(task)
        match task.status:
            case "input_required":
                shown["inputRequests"] = task.questions
            case "completed" if task.result is not None:
                shown["result"] = task.result.model_dump(mode="json", by_alias=True, exclude_none=True)
                shown["result"].pop("resultType", None)
            case "failed":
                shown["error"] = task.error
            case _:
                pass
        return shown

    async def _update(self, ctx: Request, params: _UpdateParams) -> HandlerResult:
        work, task = await self._asked(ctx, params)
        with _in_the_protocols_words():
            await work.answer(ctx, task.id, params.input_responses)
        return {}

    async def _cancel(self, ctx: Request, params: _TaskParams) -> HandlerResult:
        work, task = await self._asked(ctx, params)
        with _in_the_protocols_words():
            await work.cancel(ctx, task.id)
        return {}

    async def _asked(self, ctx: Request, params: _TaskParams) -> tuple[Work, Task]:
        require_client_extension(ctx, EXTENSION)
        headers = getattr(ctx.request, "headers", None)  # over HTTP what is routed by must be what is meant
        if headers is not None and headers.get("mcp-name", params.task_id) != params.task_id:
            raise MCPError(HEADER_MISMATCH, "the header Mcp-Name does not match params.taskId")
        return await self._find(ctx, params.task_id)

    async def _find(self, ctx: Request, id: str) -> tuple[Work, Task]:
        with _in_the_protocols_words():
            for work in self._works:
                if (task := await work.find(ctx, id)) is not None:
                    return work, task
        raise MCPError(INVALID_PARAMS, f"there is no task {id!r}")


@contextmanager
def _in_the_protocols_words() -> Generator[None]:
    try:
        yield
    except InvalidInput as error:
        raise MCPError(INVALID_PARAMS, str(error)) from None
    except AtlasError as error:
        raise MCPError(INTERNAL_ERROR, str(error)) from None


def _handle(result: HandlerResult) -> str | None:
    """The id in a result that is a handle of work going on, or None."""
    if not isinstance(result, CallToolResult) or result.is_error:
        return None
    told = cast("dict[str, Any]", result.structured_content or {})
    going_on = told.get("status") in {"queued", "working", "awaiting_answer"}
    return told.get("run_id") if going_on else None


def _shown(task: Task) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "taskId": task.id,
        "status": task.status,
        "createdAt": _at(task.created_at),
        "lastUpdatedAt": _at(task.updated_at),
        "ttlMs": None,  # it is kept as long as its work is
        "pollIntervalMs": POLL_MS,
    }
    return {**shown, "statusMessage": task.text} if task.text else shown


def _at(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
