"""The tools of the suite's scenarios for tasks, by the names and with the behaviour that it prescribes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.mcpserver.server import require_client_extension
from mcp.types import INTERNAL_ERROR, CallToolResult
from pydantic import BaseModel

from atlas_mcp.server.conformance.jobs import Job, Jobs, said
from atlas_mcp.server.tasks import EXTENSION
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool


class UserName(BaseModel):
    """What `test_tool_with_task` asks for before it becomes a task."""

    name: str


def ask_name() -> Elicit[UserName]:
    """Ask for it, in a round of the call itself."""
    return Elicit("What is your name?", UserName)


class TaskFixtures:
    """The tools, over the jobs of one server."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        own = (self.greet, self.slow_compute, self.failing_job, self.protocol_error_job)
        asking = (self.confirm_delete, self.multi_input, self.test_tool_with_task)
        return [define(tool, title=f"Conformance: {tool.__name__}") for tool in (*own, *asking)]

    async def greet(self, name: str) -> CallToolResult:
        """Answer at once, never as a task."""
        return said(f"Hello, {name}!")

    async def slow_compute(self, ctx: Context[Any, Any], seconds: float = 0, label: str = "") -> CallToolResult:
        """Answer after some seconds."""

        async def compute(_: Job) -> CallToolResult:
            await anyio.sleep(seconds)
            return said(f"{label} took {seconds:g} s")

        return await self._jobs.begin(ctx, compute)

    async def failing_job(self, ctx: Context[Any, Any]) -> CallToolResult:
        """Fail as a tool does; only as a task."""
        require_client_extension(ctx.request_context, EXTENSION)

        async def fail(_: Job) -> CallToolResult:
            await anyio.sleep(1)
            return said("this job always fails", is_error=True)

        return await self._jobs.begin(ctx, fail)

    async def protocol_error_job(self, ctx: Context[Any, Any]) -> CallToolResult:
        """Fail as a server does."""

        async def fail(_: Job) -> CallToolResult:
            raise MCPError(INTERNAL_ERROR, "this job always fails")

        return await self._jobs.begin(ctx, fail)

    async def confirm_delete(self, ctx: Context[Any, Any], filename: str) -> CallToolResult:
        """Ask once, then answer."""

        async def confirm(job: Job) -> CallToolResult:
            return said(f"{filename}: {await job.ask(f'Delete {filename}?', 'confirm', 'boolean')}")

        return await self._jobs.begin(ctx, confirm)

    async def multi_input(self, ctx: Context[Any, Any]) -> CallToolResult:
        """Ask two things at once, then answer."""

        async def ask_both(job: Job) -> CallToolResult:
            async with anyio.create_task_group() as both:
                both.start_soon(job.ask, "What is your name?", "name", "string")
                both.start_soon(job.ask, "Are you sure?", "confirm", "boolean")
            return said("both were answered")

        return await self._jobs.begin(ctx, ask_both)

    async def test_tool_with_task(
        self, ctx: Context[Any, Any], user: Annotated[UserName, Resolve(ask_name)]
    ) -> CallToolResult:
        """Ask in rounds of the call, then go on as a task."""
        require_client_extension(ctx.request_context, EXTENSION)

        async def greet(_: Job) -> CallToolResult:
            return said(f"Hello, {user.name}!")

        return await self._jobs.begin(ctx, greet)
