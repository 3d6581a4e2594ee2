"""What became of a message whose post came to no known end: the connection broke, or the process that sent it died.

Promise: what still runs in the thread is waited for before the thread is read, so a turn that a server finishes without
its client is found whole. What was posted counts as never arrived only when Letta, answering, has said twice,
`grace_seconds` apart, that it neither has it nor works on anything in the thread: one look alone could come before a
request that still lies in the server's socket or on the way. So what is posted again then would be doubled only by a
request that was held up for longer than that, while Letta answered others. The embedded Letta knows an otid again by
itself: there nothing has to be waited for.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from atlas_mcp.errors import AtlasError, LettaLost, LettaUnavailable
from atlas_mcp.letta.faults import LettaRefused, exchange, run_failed
from atlas_mcp.letta.thread import read_turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_client import AsyncLetta

    from atlas_mcp.letta.reading import TurnReader
    from atlas_mcp.letta.thread import Thread

    Arrived = Callable[[TurnReader | None], bool]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_GOING = frozenset({"created", "running"})
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a turn waits, in seconds: for the first event of an answer; for each further one, and for any step of a
    turn that goes on without us; between two looks for what was posted; for a Letta that went away in the middle; for
    one that is busy.
    """

    first_event: float = 60.0
    event: float = 300.0
    grace: float = 5.0
    away: float = 120.0
    busy: float = 30.0


class Search:
    """Finds turns of one thread again. `goes_on`: this Letta finishes turns whose client is gone."""

    def __init__(self, client: AsyncLetta, thread: Thread, patience: Patience, *, goes_on: bool) -> None:
        self._client = client
        self._thread = thread
        self._patience = patience
        self._goes_on = goes_on

    async def outcome(self, otid: str, arrived: Arrived, run_id: str | None = None) -> TurnReader | None:
        """The turn of that otid, when nothing runs in the thread any more: at once when what was posted has `arrived`
        in it, else as it is after the second look. None if the thread has no such turn.

        `run_id` is the run that the post began, if it is known that it began one: then one look is enough. Raises
        ModelFailed if that run failed and kept nothing, LettaLost without the thread, and LettaUnavailable for a Letta
        that stays away.
        """
        since, first_look, pause = anyio.current_time(), None, _FIRST_PAUSE
        grace = self._patience.grace if self._goes_on and not run_id else 0.0
        while True:
            try:
                await self._settle()
                with exchange():
                    turn = await read_turn(self._thread, otid)
            except (LettaLost, LettaRefused):
                raise
            except LettaUnavailable as away:
                if anyio.current_time() - since > self._patience.away:
                    raise _unknown(away) from away
            else:
                now = anyio.current_time()
                first_look = now if first_look is None else first_look
                if arrived(turn):
                    return turn
                if now - first_look >= grace:
                    break
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if run_id and turn is None:
            await self._raise_failure(run_id)
        return turn

    async def _settle(self) -> None:
        """Wait until the thread's latest runs are over; one that makes no step any more is cancelled.

        A run whose server died stays unfinished for ever; one that was cancelled still works on its step.
        """
        if not self._goes_on:
            return
        before, since, pause = None, anyio.current_time(), _FIRST_PAUSE
        while going := await self._going():
            if going != before:
                before, since = going, anyio.current_time()
            elif anyio.current_time() - since > self._patience.event:
                log.warning("%s makes no step any more; it is cancelled and taken for dead", going[0][0])
                await self.cancel()
                return
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def cancel(self) -> None:
        """Cancel what runs in the thread; nothing happens if nothing does."""
        with suppress(AtlasError), exchange():  # Letta says with an error that there is nothing to cancel
            await self._thread.cancel()

    async def tokens_of(self, runs: list[str]) -> tuple[int, int]:
        """Input and output tokens of some of Letta's runs; zeros where it does not tell."""
        taken = given = 0
        for run_id in runs:
            with suppress(LettaUnavailable), exchange():
                usage: Any = await self._client.runs.usage.retrieve(run_id)
                taken += getattr(usage, "prompt_tokens", None) or 0  # what is no JSON comes as text
                given += getattr(usage, "completion_tokens", None) or 0
        return taken, given

    async def _going(self) -> list[tuple[str, int]]:
        """The runs that are not over, each with the number of its steps."""
        with exchange():
            runs = await self._thread.runs()
        going: list[tuple[str, int]] = []
        for place, run in enumerate(runs):
            if run.status in _GOING:
                going.append((run.id, len(await self._steps(run.id))))
            elif run.status == "cancelled" and place == 0:
                steps = await self._steps(run.id)
                if any(step.status == "pending" for step in steps):
                    going.append((run.id, len(steps)))
        return going

    async def _steps(self, run_id: str) -> list[Any]:
        with suppress(LettaLost), exchange():
            return (await self._client.runs.steps.list(run_id)).items
        return []

    async def _raise_failure(self, run_id: str) -> None:
        with suppress(LettaLost), exchange():
            run = await self._client.runs.retrieve(run_id)
            if run.status == "failed":
                raise run_failed(run.metadata)


def _unknown(away: LettaUnavailable) -> LettaUnavailable:
    return LettaUnavailable(
        f"the turn was cut off, and what became of it is not known: {away.message}",
        next_step="The message may have arrived: when Letta is back (get_status), ask the agent before you repeat it.",
    )
