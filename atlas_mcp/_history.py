"""The runs of a home as they are written, read and thrown away: nothing is executed, and nobody's work taken over."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast, get_args

from atlas_mcp._config import database
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.run import ENDED, RunStatus
from atlas_mcp.store.home import open_home

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from datetime import date, datetime, timedelta

    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.costs import Costs, CostsBy
    from atlas_mcp.model.house_state import HouseState
    from atlas_mcp.model.permissions import Consent
    from atlas_mcp.model.run import Run
    from atlas_mcp.runs.closely import Kept
    from atlas_mcp.runs.pruning import Pruned
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.record import Record


@asynccontextmanager
async def open_history(settings: Settings, *, http: bool = False) -> AsyncGenerator[History]:
    """The runs of whoever may start ATLAS on this home; with `http`, those of the holders of its key."""
    from atlas_mcp.store.record import open_record

    home, elsewhere = open_home(settings.home), database(settings)
    if elsewhere is None:
        home.prepare_databases()
    async with open_record(home.path, elsewhere) as record:
        roster = partial(load_roster, settings.roster or home.own_roster)
        yield History(record, "key:http" if http else f"local:{home.local_id}", roster)


class History:
    """One caller's runs."""

    def __init__(self, record: Record, caller_id: str, roster: Callable[[], Roster]) -> None:
        self._record = record
        self._roster = roster
        self._caller = Caller(id=caller_id)

    async def list(self, *, status: str | None = None, limit: int = 20) -> list[Run]:
        """The newest runs without their events, newest first. InvalidInput for what is no status."""
        from atlas_mcp.runs import rows, view

        known = get_args(RunStatus)
        if status is not None and status not in known:
            raise InvalidInput(f"{status!r} is not a status.", argument="status", allowed=known)
        wanted = cast("RunStatus | None", status)
        async with self._record.read() as connection:
            return [view.shown(row) for row in await rows.page(connection, self._caller.id, wanted, None, limit)]

    async def run(self, run_id: str) -> Run:
        """The run with its whole journal. UnknownRun."""
        from atlas_mcp.runs import journal, questions, rows, view

        async with self._record.read() as connection:
            row = await rows.find(connection, run_id, self._caller.id)
            events = await journal.after(connection, run_id, 0)
            asked = await questions.open_of(connection, [run_id]) if row.status not in ENDED else {}
        return view.shown(row, events, asked.get(run_id))

    async def closely(self, run_id: str) -> tuple[Run, Kept]:
        """The run with its whole journal, and what else the record has of it. UnknownRun."""
        from atlas_mcp.runs import closely

        run = await self.run(run_id)
        async with self._record.read() as connection:
            return run, await closely.kept(connection, run_id)

    async def state(self, since: datetime, until: datetime) -> HouseState:
        """The state of the whole house between these moments; of tasks' goals only this caller's."""
        from atlas_mcp.watch.house_state import house_state

        return await house_state(self._record, self._caller, since, until)

    async def costs(self, by: CostsBy, since: date, until: date) -> Costs:
        """What all callers spent on these days, both included; named are only this caller's tasks and projects."""
        from atlas_mcp.watch.costs import costs

        teams = {agent.name: agent.team or "" for agent in self._roster().agents}
        async with self._record.read() as connection:
            return await costs(connection, self._caller, by, since, until, lambda agent: teams.get(agent, ""))

    async def answer(self, run_id: str, answer: str) -> str:
        """Answer what the run asks, as `Atlas.answer_run` does: what came of it, in words."""
        from atlas_mcp.runs import answering
        from atlas_mcp.runs.bells import Bells

        given = await answering.give(self._record, Bells(), self._caller, run_id, answer)
        if given.goes_on:
            return "Answered: it goes on in the server that runs, or in the next that is started."
        return given.note or "Answered. It asks more, or goes on without having waited."

    async def consents(self) -> Sequence[Consent]:
        """What this caller consented to, oldest first: tools that may be called without asking again."""
        from atlas_mcp.reach import consents

        async with self._record.read() as connection:
            return await consents.listed(connection, self._caller.id)

    async def revoke(self, named: str) -> Sequence[Consent]:
        """Take back the consent of that id, or all to the tool of that name; servers at work ask again at once.

        Gives what was taken back. InvalidInput where there is none.
        """
        from atlas_mcp.reach import consents

        given = await self.consents()
        gone = [one for one in given if named in (one.id, one.tool)]
        if not gone:
            raise InvalidInput(
                f"there is no consent {named!r}, and none to a tool of that name.",
                argument="ID",
                allowed=[one.id for one in given],
                next_step="`atlas-mcp tools consents list` shows those there are.",
            )
        async with self._record.write() as connection:
            await consents.revoke(connection, [one.id for one in gone])
        return gone

    async def prune(self, older_than: timedelta, *, keep: int = 0) -> Pruned:
        """Delete every caller's runs that ended longer ago than that, but for the newest `keep` of each."""
        from atlas_mcp.runs.pruning import prune

        return await prune(self._record, older_than, keep=keep)
