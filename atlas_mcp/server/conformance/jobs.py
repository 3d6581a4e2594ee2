"""Jobs that do what the suite's scenarios for tasks ask for: wait, fail, ask. They live in this process only."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp import MCPError
from mcp.types import CallToolResult, TextContent

from atlas_mcp.server.tasks import Task, takes_tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup
    from mcp.server.context import ServerRequestContext
    from mcp.server.mcpserver import Context

    from atlas_mcp.server.tasks import TaskStatus

    Request = ServerRequestContext[Any, Any]
    Body = Callable[["Job"], Awaitable[CallToolResult]]


def said(text: str, *, is_error: bool = False) -> CallToolResult:
    """A result that is one text."""
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)


class Job:
    """One call of a tool that goes on by itself."""

    def __init__(self) -> None:
        self.id = f"job_{secrets.token_hex(12)}"
        self.begun_at = self.changed_at = datetime.now(UTC)
        self.questions: dict[str, dict[str, Any]] = {}
        self._answered: dict[str, anyio.Event] = {}
        self._answers: dict[str, Any] = {}
        self._ended: TaskStatus | None = None
        self._result: CallToolResult | None = None
        self._error: dict[str, Any] | None = None
        self._scope = anyio.CancelScope()

    async def run(self, body: Body) -> None:
        """Do it, and keep what came of it."""
        with self._scope:
            try:
                self._result = await body(self)
                self._end("completed")
            except MCPError as error:
                self._error = error.error.model_dump(mode="json", exclude_none=True)
                self._end("failed")

    async def ask(self, message: str, field: str, type: str) -> Any:
        """Ask the client, and wait for the answer."""
        key, answered = secrets.token_hex(6), anyio.Event()
        schema = {"type": "object", "properties": {field: {"type": type}}, "required": [field]}
        params = {"mode": "form", "message": message, "requestedSchema": schema}
        self.questions[key] = {"method": "elicitation/create", "params": params}
        self._answered[key] = answered
        await answered.wait()
        return self._answers[key]

    def answer(self, key: str, given: Any) -> None:
        """Answer a question that is open; other keys mean nothing."""
        if self.questions.pop(key, None) is not None:
            self._answers[key], self.changed_at = given, datetime.now(UTC)
            self._answered[key].set()

    def cancel(self) -> None:
        """Stop it, if it has not ended."""
        if self._ended is None:
            self._end("cancelled")
            self._scope.cancel()

    def _end(self, how: TaskStatus) -> None:
        self._ended, self.changed_at = how, datetime.now(UTC)

    def shown(self) -> Task:
        """How it stands."""
        return Task(
            id=self.id,
            status=self._ended or ("input_required" if self.questions else "working"),
            created_at=self.begun_at,
            updated_at=self.changed_at,
            questions={**self.questions},
            result=self._result,
            error=self._error,
        )


class Jobs:
    """The jobs of one server, as work behind tasks."""

    tools = frozenset(
        {"slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input", "test_tool_with_task"}
    )

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    async def begin(self, ctx: Context[Any, Any], body: Body) -> CallToolResult:
        """The handle of a job that does it, for a client that takes tasks; else what came of it."""
        job = Job()
        if not takes_tasks(ctx.session):
            return await body(job)
        self._jobs[job.id] = job
        cast("TaskGroup", ctx.request_context.lifespan_context).start_soon(job.run, body)
        handle = said(f"{job.id} has begun")
        return handle.model_copy(update={"structured_content": {"run_id": job.id, "status": "working"}})

    async def find(self, request: Request, id: str) -> Task | None:
        """The job of that id."""
        job = self._jobs.get(id)
        return job.shown() if job else None

    async def answer(self, request: Request, id: str, answers: dict[str, Any]) -> None:
        """Answer those of its questions that are open."""
        for key, given in answers.items():
            self._jobs[id].answer(key, given)

    async def cancel(self, request: Request, id: str) -> None:
        """Stop the job."""
        self._jobs[id].cancel()
