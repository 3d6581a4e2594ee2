"""Asking the person behind the client what a run asks, where the client can put questions to one.

Since 2026-07-28 a call that needs an answer ends with the question and is made again with the answer; before, the
question goes to the client while its call waits. The work goes on meanwhile, and the answer goes where `answer_run`
brings it. Who declines or lets the time pass leaves the run as it is: the call gives its handle with the question. What
was declined is not asked again by the same server.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import anyio
from mcp import MCPError
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.question import what_fits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup
    from mcp.server.mcpserver import Context
    from mcp.server.session import ServerSession

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.question import Question
    from atlas_mcp.model.run import Run

STATE_SECONDS = 24 * 3600.0
"""How long a client of today may take to make its call again with the answer."""

_LOG = logging.getLogger("atlas.server")


class NeedsInput(Exception):
    """Raised in a tool whose call ends with a question to the client."""

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__("the call needs an answer")
        self.result = result


class Returned(Frozen):
    """What a call that ended with a question says when it is made again: which run asked what."""

    run_id: str
    question_id: str
    since: int


def returned(ctx: Context[Any, Any]) -> Returned | None:
    """Which question this call comes back from, if it does."""
    try:
        return Returned.model_validate(json.loads(ctx.request_state or "null"))
    except (ValueError, ValidationError):
        return None  # the first round, or one that came back from a question that is not ours


def can_ask(session: ServerSession) -> bool:
    """Whether the client of this request can put a form to a person."""
    capabilities = session.client_capabilities
    able = capabilities.elicitation if capabilities else None
    return able is not None and (able.form is not None or able.url is None)  # saying neither means forms


def form(question: Question) -> ElicitRequestFormParams:
    """The question as the form that a client shows; its one field is `answer`."""
    field: dict[str, Any] = {"type": "string", "title": "Answer", "description": f"What fits: {what_fits(question)}"}
    if question.options and not question.words:
        field["enum"] = [*question.options]
    schema = {"type": "object", "properties": {"answer": field}, "required": ["answer"]}
    return ElicitRequestFormParams(message=f"{question.asked_by} asks: {question.text}", requested_schema=schema)


class Asker:
    """Asks one client, during one call, what the runs of its caller ask. `declined` are ids that are asked no more."""

    def __init__(self, ctx: Context[Any, Any], atlas: Atlas, caller: Caller, declined: set[str], *, able: bool) -> None:
        self._ctx = ctx
        self._atlas = atlas
        self._caller = caller
        self._declined = declined
        self._modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        self.able = able and can_ask(ctx.session) and (self._modern or ctx.session.can_send_request)
        self._asked: set[str] = set()
        self._tasks: TaskGroup | None = None
        self._waiting = anyio.CancelScope()
        self._run_id = ""

    async def meanwhile(self, wait: Callable[[], Awaitable[Run]]) -> Run:
        """What `wait` gives, which tells `on_news` what happens; or the run at once when nobody wants to answer it."""
        if not self.able or self._modern:
            return await wait()
        given: list[Run] = []
        try:
            async with anyio.create_task_group() as self._tasks:
                with self._waiting:
                    given.append(await wait())
                self._tasks.cancel_scope.cancel()  # what is still being asked can be answered by answer_run
        except ExceptionGroup as failures:
            raise failures.exceptions[0]  # noqa: B904  only the work fails: its own error, as it was raised
        return given[0] if given else await self._stand(self._run_id)

    async def on_news(self, run: Run) -> None:
        """Ask what the run asks, once."""
        if not self._to_ask(run) or run.question is None:
            return
        if self._modern:
            raise _needed(run, run.question)
        if self._tasks is not None:
            self._asked.add(run.question.id)
            self._run_id = run.run_id
            self._tasks.start_soon(self._ask_meanwhile, run.question)

    async def asked(self, run: Run, seconds: float) -> bool:
        """Ask what the run asks, for so many seconds: whether it was answered."""
        if not self._to_ask(run) or run.question is None or seconds <= 0:
            return False
        if self._modern:
            raise _needed(run, run.question)
        with anyio.move_on_after(seconds):
            return await self._ask(run.run_id, run.question)
        return False

    async def came_back(self, from_: Returned) -> Run | None:
        """Take the answer that a call came back with. None if the run goes on by it, else the run and what is wrong."""
        given = (self._ctx.input_responses or {}).get(from_.question_id)
        if not isinstance(given, ElicitResult) or given.action != "accept":
            self._declined.add(from_.question_id)
            return await self._stand(from_.run_id)
        try:
            await self._answer(from_.run_id, from_.question_id, given)
        except InvalidInput as error:
            run = await self._stand(from_.run_id)
            return run.model_copy(update={"note": f"{error} {run.note or ''}".strip()})
        return None

    def _to_ask(self, run: Run) -> bool:
        return self.able and run.question is not None and run.question.id not in self._declined | self._asked

    async def _ask_meanwhile(self, question: Question) -> None:
        if not await self._ask(self._run_id, question):
            self._waiting.cancel()

    async def _ask(self, run_id: str, question: Question) -> bool:
        shown = form(question)
        try:
            given = await self._ctx.session.elicit_form(
                shown.message, shown.requested_schema, related_request_id=self._ctx.request_id
            )
            if given.action == "accept":
                await self._answer(run_id, question.id, given)
                return True
        except InvalidInput as error:  # the question stays open; the handle says what fits
            _LOG.info("an answer to %s did not fit: %s", run_id, error)
            return False
        except (MCPError, ValidationError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            _LOG.warning("the client could not be asked for an answer to %s: %s", run_id, error)
        self._declined.add(question.id)
        return False

    async def _answer(self, run_id: str, question_id: str, given: ElicitResult) -> None:
        answer = str((given.content or {}).get("answer", ""))
        await self._atlas.answer_run(self._caller, run_id, answer, question_id=question_id)

    async def _stand(self, run_id: str) -> Run:
        return await self._atlas.get_run(self._caller, run_id, wait_seconds=0)


def _needed(run: Run, question: Question) -> NeedsInput:
    since = run.events[-1].seq if run.events else 0
    state = Returned(run_id=run.run_id, question_id=question.id, since=since).model_dump_json()
    asked = ElicitRequest(params=form(question))
    return NeedsInput(InputRequiredResult(input_requests={question.id: asked}, request_state=state))
