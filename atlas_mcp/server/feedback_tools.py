"""The tool by which a person says whether work was good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.model.feedback import Feedback, Subject
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas


class FeedbackTools:
    """`give_feedback` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tool, ready to register."""
        return [define(self.give_feedback, title="Give feedback", idempotent=True, brief=True)]

    async def give_feedback(
        self,
        ctx: Context[Any, Any],
        good: Annotated[bool, Field(description="Thumbs up or down.")],
        run_id: Annotated[str | None, Field(description="Which run.")] = None,
        trace_id: Annotated[str | None, Field(description="Or which reply.")] = None,
        turn_id: Annotated[str | None, Field(description="Or which event's turn.")] = None,
        comment: Annotated[str | None, Field(description="The person's words.")] = None,
    ) -> Feedback:
        """Record what the person you work for thinks of a run, reply or turn. Another one for the same replaces it."""
        caller = caller_of(self._atlas, self._transport, ctx)
        subject = Subject(run_id=run_id, trace_id=trace_id, turn_id=turn_id)
        return await self._atlas.feedback.give(caller, subject, good=good, comment=comment)
