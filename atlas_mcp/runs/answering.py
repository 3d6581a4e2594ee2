"""Answers on their way to the runs that wait for them: the caller's, and at the deadline the safe one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from atlas_mcp.errors import RunLost
from atlas_mcp.runs import questions

if TYPE_CHECKING:
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.runs.bells import Bells
    from atlas_mcp.runs.questions import Given
    from atlas_mcp.store.record import Record

_log = logging.getLogger(__name__)


async def give(
    record: Record, bells: Bells, caller: Caller, run_id: str, text: str, question_id: str | None = None
) -> Given:
    """Answer the caller's run; see `questions.answer` for what is raised, and when nothing is changed."""
    async with record.write() as connection:
        given = await questions.answer(connection, run_id, caller.id, text, question_id=question_id)
    bells.ring(run_id)
    return given


async def take_safe_ones(record: Record, bells: Bells) -> None:
    """Take the safe answer to every question whose deadline has passed."""
    async with record.look() as connection:
        overdue = await questions.overdue(connection)
    for run_id, question_id in overdue:
        try:
            async with record.write() as connection:
                await questions.expire(connection, run_id, question_id)
        except RunLost:
            continue  # somebody else changed the run at that moment: the next look finds how it stands
        _log.info("a question of run %s was not answered in time", run_id)
        bells.ring(run_id)
