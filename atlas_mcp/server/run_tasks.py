"""Runs as tasks: the same run, told in the words of the tasks extension.

A run that failed is a task that completed with a tool's error, as the protocol has it. A question becomes a request to
the client if it can ask people; else the task's text says which tool answers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.types import CallToolResult, ElicitRequest, ElicitResult, TextContent
from pydantic import ValidationError

from atlas_mcp.errors import AtlasError, UnknownRun
from atlas_mcp.server.asking import can_ask, form
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.errors import invalid
from atlas_mcp.server.tasks import Task

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.run import Run, RunStatus
    from atlas_mcp.server.tasks import TaskStatus

    Request = ServerRequestContext[Any, Any]

_STATUS: dict[RunStatus, TaskStatus] = {
    "queued": "working",
    "working": "working",
    "awaiting_answer": "working",  # unless the client can be asked
    "completed": "completed",
    "failed": "completed",
    "cancelled": "cancelled",
}
_NO_EVENTS = 2**31 - 1


class RunTasks:
    """The runs behind the tasks of one server."""

    tools = frozenset({"run_team_task", "chat_with_agent", "chat_with_group", "rate_text"})

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    async def find(self, request: Request, id: str) -> Task | None:
        """The caller's run of that id as a task; at its end with what the tool that began it gives."""
        caller = self._caller(request)
        try:
            run = await self._atlas.get_run(caller, id, since=_NO_EVENTS, wait_seconds=0)
        except UnknownRun:
            return None
        status, questions = _STATUS[run.status], dict[str, dict[str, Any]]()
        if run.question is not None and can_ask(request.session):
            asked = ElicitRequest(params=form(run.question)).model_dump(mode="json", by_alias=True, exclude_none=True)
            status, questions = "input_required", {run.question.id: asked}
        return Task(
            id=id,
            status=status,
            created_at=run.created_at,
            updated_at=run.updated_at,
            text=_text(run),
            questions=questions,
            result=await self._result(caller, id) if status == "completed" else None,
        )

    async def answer(self, request: Request, id: str, answers: dict[str, Any]) -> None:
        """Answer the run's question, if it is among them: what a person declines to answer, the safe choice answers,
        and what they put aside stays open."""
        caller = self._caller(request)
        question = (await self._atlas.get_run(caller, id, since=_NO_EVENTS, wait_seconds=0)).question
        if question is None or question.id not in answers:
            return
        try:
            given = ElicitResult.model_validate(answers[question.id])
        except ValidationError as error:
            raise invalid(error, f"inputResponses.{question.id}") from None
        if given.action != "cancel":
            answer = str((given.content or {}).get("answer", "")) if given.action == "accept" else question.safe
            await self._atlas.answer_run(caller, id, answer, question_id=question.id)

    async def cancel(self, request: Request, id: str) -> None:
        """Cancel the run; what was done is kept."""
        await self._atlas.cancel_run(self._caller(request), id)

    def _caller(self, request: Request) -> Caller:
        return caller_of(self._atlas, self._transport, request)

    async def _result(self, caller: Caller, run_id: str) -> CallToolResult:
        try:
            outcome = await self._atlas.outcome(caller, run_id)
        except AtlasError as error:
            return CallToolResult(content=[TextContent(type="text", text=str(error))], is_error=True)
        return CallToolResult(
            content=[TextContent(type="text", text=outcome.model_dump_json(indent=2))],
            structured_content=outcome.model_dump(mode="json"),
            is_error=outcome.status == "failed",
        )


def _text(run: Run) -> str:
    if run.question is not None:
        return f'It waits for an answer: {run.question.text} Call answer_run(run_id="{run.run_id}", answer=...).'
    return run.error or run.progress.text
