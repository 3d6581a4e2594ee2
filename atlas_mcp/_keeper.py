"""The keeper of the rooms: what is light is made at once, what is heavy is opened when first needed, in one task.

Guarantees: each room opens once; opening and closing happen in the same task, as task groups demand; a room that fails
to open fails the call that needed it, with its reason, and the next call tries again; closing takes at most
CLOSE_SECONDS and leaves unfinished runs to the next start.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import anyio

from atlas_mcp._auditing import open_log
from atlas_mcp._config import alert_webhook, database, destination, limiter, model_config, stores
from atlas_mcp._guard import Guard
from atlas_mcp._news import News
from atlas_mcp._quality import Quality, judge_of
from atlas_mcp._reach import Reach
from atlas_mcp.constellation.agents import shown_model
from atlas_mcp.constellation.gate import Gate
from atlas_mcp.constellation.move_marks import bring_done, has_marks
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.tool_folders import ToolFolders
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.model.run import ENDED
from atlas_mcp.models.catalog import OFFLINE, parse_name
from atlas_mcp.models.chat import OFFLINE_NOTE, Models
from atlas_mcp.models.served import ServedModels
from atlas_mcp.runs.unfinished import has_unfinished
from atlas_mcp.store.advisory_locks import AdvisoryLocks
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.tracing import open_tracing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from httpx import AsyncBaseTransport

    from atlas_mcp._rooms import Rooms
    from atlas_mcp.embedded.transport import ASGIApp
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.model.run import Run, RunKind
    from atlas_mcp.runs import Executor
    from atlas_mcp.settings import Settings
    from atlas_mcp.watch.tracing import Tracing

CLOSE_SECONDS = 8.0
_BACKGROUND = ("_health", "_improving", "_leading", "_run_notes")
STOPPING_NOTE = "This server is being stopped: the run goes on in another one, or in the next that is started."
log = logging.getLogger(__name__)


@asynccontextmanager
async def open_rooms(
    settings: Settings, *, traced_in: Path | None = None, keeper: RoomsKeeper | None = None
) -> AsyncGenerator[RoomsKeeper]:
    """The keeper of the home's rooms, with tracing on; everything is closed when the block is left.

    Traces go with those of the home `traced_in`, if that is given: a passing home keeps none. A `keeper` that is given
    has these settings, and opens the rooms in a way of its own.
    """
    keeper = keeper or RoomsKeeper(settings)
    failure: Exception | None = None
    with (
        keeper.home.in_use(),
        open_tracing(traced_in or keeper.home.path, destination=keeper.destination) as keeper.tracing,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keeper.keep)
            try:
                yield keeper
            except Exception as error:  # noqa: BLE001 - raised again below: a task group would wrap it in a group
                failure = error
            finally:
                keeper.close()
                tasks.cancel_scope.deadline = anyio.current_time() + CLOSE_SECONDS
    if failure is not None:
        raise failure


class _Attempt:
    """One attempt to open the rooms; those who wait for it see its outcome."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.failure: Exception | None = None


class RoomsKeeper:
    """What is light, made at once, and `rooms()`, which opens the rest when first asked."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = open_home(settings.home)
        self.servers = settings.lettas
        here = any(server.kind == "embedded" for server in self.servers)
        self.database = database(settings)
        self.home_locks = Locks(self.home.locks)
        self.advisory_locks = AdvisoryLocks(self.database) if self.database else None
        self.locks = Locks(self.advisory_locks) if self.advisory_locks else self.home_locks
        bring_done(self.home.moves, self.home.record, self.home_locks)
        self.file_roster = load_roster(settings.roster or self.home.own_roster, read_model=parse_name if here else None)
        self.roster = self.file_roster
        self.model_config = model_config(settings, self.roster)
        self.local_models = Models(self.model_config)
        if here:  # the keys and packages of a Letta server's models are its own affair
            self.local_models.check()
        self.models = self.local_models if here else ServedModels(self.model_config, settings.letta_model)
        self.destination = destination(settings)
        alert_webhook(settings)  # judged now, not when there is something to tell
        self.quality = Quality(judge_of(settings, self.home, self.home_locks))
        self.guard = Guard(settings, self.home)
        self.tracing: Tracing | None = None
        self.folders = ToolFolders(self.home.temporary, self.home_locks)
        self.reach = Reach(settings, self.home.path)
        self.toolbox = Toolbox(settings.tools, self.folders, self.reach, self.guard.entering, self.guard.calls)
        self.news = News(self)
        self.opened: Rooms | None = None
        self.failure: Exception | None = None
        self._attempt = _Attempt()
        self._wanted = anyio.Event()
        self._closing = anyio.Event()
        self.gate = Gate()
        self.audit = open_log(self)
        self.limiter = limiter(settings)
        self.draining = False
        if self.database or has_unfinished(self.home.record) or has_marks(self.home.moves):
            self._wanted.set()

    def note_on(self, model: str) -> str | None:
        """What an answer of that model says: nothing, unless it is the offline model's."""
        return OFFLINE_NOTE if model == shown_model(OFFLINE) else None

    @property
    def model_note(self) -> str | None:
        """What every answer says while the offline model gives them."""
        return OFFLINE_NOTE if self.models.offline else None

    def note_on_going(self, run: Run) -> str | None:
        """What is to be known of how that run goes on from here."""
        return STOPPING_NOTE if self.draining and run.status not in ENDED else None

    def lacks(self) -> list[str]:
        """What agents of the roster need for their work and have not got here, a sentence for each thing."""
        who: dict[str, list[str]] = {}
        how: dict[str, str] = {}
        for agent in self.roster.agents:
            for lack in self.toolbox.lacks(agent):
                who.setdefault(lack.what, []).append(agent.name)
                how[lack.what] = lack.how_to_add
        return [f"There is no {what}: {', '.join(who[what])} get no part. {how[what]}" for what in who]

    async def rooms(self) -> Rooms:
        """The heavy rooms, opened if they are not; what keeps them from opening is raised."""
        if self.opened is None:
            attempt = self._attempt
            self._wanted.set()
            await attempt.done.wait()
            if attempt.failure is not None:
                raise attempt.failure
            return await self.rooms()
        return self.opened

    async def drain(self, seconds: float) -> None:
        """See `Atlas.drain`."""
        self.draining = True
        self.gate.shut()
        if self.opened is not None:
            self.opened.runs.drain()
            with anyio.move_on_after(seconds):
                await self.gate.empty()
            self.opened.runs.let_go()

    def close(self) -> None:
        """Begin to close; `keep` ends when everything is closed."""
        self._closing.set()
        self._wanted.set()

    async def keep(self) -> None:
        """Open the rooms when they are wanted, hold them open, and close them in this same task.

        First of all, what tools of a process that was killed left behind is taken away.
        """
        await anyio.to_thread.run_sync(self.folders.sweep)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.audit.write_on)
            await self._keep_rooms()
            tasks.cancel_scope.cancel()

    async def _keep_rooms(self) -> None:
        while True:
            await self._wanted.wait()
            if self._closing.is_set():
                return
            async with AsyncExitStack() as stack:
                try:
                    self.opened = await self._open(stack)
                except Exception as failure:  # handed to every call that waits for the rooms; the next call tries again
                    log.exception("the rooms did not open")
                    self._settle(failure)
                    continue
                from atlas_mcp._health import watch_over
                from atlas_mcp._improving import keep_improving
                from atlas_mcp._leading import follow
                from atlas_mcp._run_notes import tell_runs
                from atlas_mcp._tidying import tidy

                self._settle(None)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self.opened.moves.finish_all)
                    tasks.start_soon(self.news.look_on)
                    tasks.start_soon(tidy, self.opened)
                    tasks.start_soon(watch_over, self.opened)
                    tasks.start_soon(follow, self.opened)
                    tasks.start_soon(tell_runs, self.opened)
                    tasks.start_soon(keep_improving, self.opened)
                    await self._closing.wait()
                    tasks.cancel_scope.cancel()
                await self.audit.flush()
                self.opened = None

    def _settle(self, failure: Exception | None) -> None:
        settled, self._attempt = self._attempt, _Attempt()
        self.failure = settled.failure = failure
        self._wanted = anyio.Event()
        if self._closing.is_set():
            self._wanted.set()
        settled.done.set()

    async def _open(self, stack: AsyncExitStack) -> Rooms:
        if self.database is None:
            self.home.prepare_databases()
        await anyio.to_thread.run_sync(_import_heavy, self.models is self.local_models)
        from atlas_mcp._chats import take_turn
        from atlas_mcp._groups import GroupRuns
        from atlas_mcp._leading import lead_by_record
        from atlas_mcp._ratings import do_rating
        from atlas_mcp._rooms import Rooms, copying
        from atlas_mcp._team_tasks import do_team_task
        from atlas_mcp.constellation.moves import Moves
        from atlas_mcp.letta.lettas import open_lettas
        from atlas_mcp.memory.hybrid import open_memory
        from atlas_mcp.runs import open_runs
        from atlas_mcp.runs.admission import Limits
        from atlas_mcp.store.record import open_record
        from atlas_mcp.watch.charging import Charging
        from atlas_mcp.watch.ledger import Ledger

        if self.advisory_locks is not None:
            await stack.enter_async_context(self.advisory_locks.opened())
        record = await stack.enter_async_context(open_record(self.home.path, self.database))
        embedding = self.settings.letta_embedding_model
        lettas = await stack.enter_async_context(
            open_lettas(self.servers, record, self.locks, self._open_embedded, embedding=embedding)
        )
        memory = await stack.enter_async_context(
            open_memory(record, self.home.path, self.home_locks, stores(self.settings), shared=self.locks)
        )
        rooms = Rooms(record, lettas, self, Ledger(self.settings.daily_usd), memory)
        await stack.enter_async_context(self.reach.opened(record, rooms.ledger))
        await stack.enter_async_context(self.guard.opened(record, rooms.ledger))
        await lead_by_record(rooms)
        rooms.moves = Moves(self.home.moves, record, self.locks, lettas.named)
        await stack.enter_async_context(copying(rooms))
        executors: dict[RunKind, Executor] = {
            "turn": partial(take_turn, rooms),
            "team_task": partial(do_team_task, rooms),
            "group": GroupRuns(rooms).execute,
            "rating": partial(do_rating, rooms),
        }
        runs = open_runs(
            self.home,
            record,
            self.locks,
            self.quality.over(executors),
            providers=self.models.providers(),
            answer_hours=self.settings.answer_hours,
            limits=Limits(self.settings.max_runs, self.settings.max_runs_per_caller, self.limiter.open_runs),
        )
        await stack.enter_async_context(self.quality.at_work(Charging(record, rooms.ledger)))
        rooms.runs = await stack.enter_async_context(runs)
        if memory.redis is not None:
            memory.redis.bells.heard = rooms.runs.ring_far_too(memory.redis.bells.ring)
        if self.draining:
            rooms.runs.drain()
            rooms.runs.let_go()
        return rooms

    @asynccontextmanager
    async def _open_embedded(self) -> AsyncGenerator[Letta]:
        from atlas_mcp.embedded import create_app, running
        from atlas_mcp.letta.connect import open_in_process

        app = create_app(
            self.home.letta,
            self.local_models,
            lock=self.home_locks.hold,
            run_tool=self.toolbox.run,
            check_memory=self.guard.entering.unkept if self.guard.entering else None,
        )
        async with running(app), open_in_process(self.transport(app)) as letta:
            yield letta

    def transport(self, app: ASGIApp) -> AsyncBaseTransport:
        """The way to the embedded Letta."""
        from atlas_mcp.embedded import StreamingASGITransport

        return StreamingASGITransport(app)


def _import_heavy(embedded: bool) -> None:  # run_sync passes by position
    """Import in a thread what would hold up the event loop, so that a server that answers meanwhile stays quick."""
    names = [
        "sqlalchemy.ext.asyncio",
        "letta_client",
        "atlas_mcp._health",
        "atlas_mcp._improving",
        "atlas_mcp._ratings",
        "atlas_mcp._rooms",
        "atlas_mcp._run_notes",
        "atlas_mcp._talking",
    ]
    for name in (*names, "fastapi", "langchain.agents") if embedded else names:
        import_module(name)
