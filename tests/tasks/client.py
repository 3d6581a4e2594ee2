"""A client that takes tasks, made of the SDK's own: the extension as a host would write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import anyio
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.types import CallToolResult, ElicitRequestParams, ElicitResult, Request, RequestParams, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.client import Client
    from mcp.client.session import ClientSession

EXTENSION = "io.modelcontextprotocol/tasks"
ENDED = {"completed", "failed", "cancelled"}


class Task(Result):
    """A task, as every answer tells of it."""

    task_id: str
    status: str
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int
    status_message: str | None = None


class Created(Task):
    """What a call gives instead of its result."""

    result_type: Literal["task"] = "task"


class Stand(Task):
    """What `tasks/get` gives."""

    input_requests: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class _Params(RequestParams):
    task_id: str


class _UpdateParams(_Params):
    input_responses: dict[str, Any]


class _Get(Request[_Params, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: _Params
    name_param = "taskId"


class _Cancel(Request[_Params, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: _Params
    name_param = "taskId"


class _Update(Request[_UpdateParams, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"
    params: _UpdateParams
    name_param = "taskId"


class TakesTasks(ClientExtension):
    """Declares the extension, and waits for what a call became."""

    identifier = EXTENSION

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Created, resolve=self._resolve)]

    async def _resolve(self, created: Created, ctx: ClaimContext) -> CallToolResult:
        return CallToolResult.model_validate((await until_ended(ctx.session, created.task_id)).result)


async def nobody(_: Any, __: ElicitRequestParams) -> ElicitResult:
    """Stands for a person who is not asked in the call itself: what is asked comes with the task."""
    raise AssertionError("asked in the call")


async def begun(client: Client, tool: str, **arguments: Any) -> Task:
    """The task that the call becomes."""
    created = await client.session.call_tool(tool, arguments, allow_claimed=True)
    assert isinstance(created, Created), created
    return created


async def stand(session: ClientSession, task_id: str) -> Stand:
    """How the task stands."""
    return await session.send_request(_Get(params=_Params(task_id=task_id)), Stand)


async def until(session: ClientSession, task_id: str, *statuses: str) -> Stand:
    """The task once it has one of these states."""
    with anyio.fail_after(90):
        while True:
            task = await stand(session, task_id)
            if task.status in statuses:
                return task
            await anyio.sleep(0.05)  # the protocol's own way of waiting


async def until_ended(session: ClientSession, task_id: str) -> Stand:
    """The task once it has ended."""
    return await until(session, task_id, *ENDED)


async def answer(session: ClientSession, task_id: str, **responses: Any) -> None:
    """Answer what the task asks, by the ids of the requests."""
    params = _UpdateParams(task_id=task_id, input_responses=responses)
    await session.send_request(_Update(params=params), Result)


async def cancel(session: ClientSession, task_id: str) -> None:
    """Cancel the task."""
    await session.send_request(_Cancel(params=_Params(task_id=task_id)), Result)
