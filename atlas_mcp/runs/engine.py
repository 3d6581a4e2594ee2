"""DBOS in this process: it starts runs, one workflow an attempt, and keeps the list of them in its own database.

DBOS says that a run is being executed; what state a run is in is said by its row alone. Nothing is imported and no
thread started before the first run. DBOS is one for a whole Python process, so only one engine can be launched at a
time; after `close` the next may be. Its database stays small: of a run that is over nothing is kept in it.

What is avoided here on purpose: DBOS's own recovery (executor ids are never used twice, so it finds nothing; runs are
taken over by their rows), its queues (picked up by polling, at best in tens of milliseconds), and the same workflow id
twice (a workflow that another process still holds would not start, or would wait for that process).

The database is a file of the home; or, where the record is on PostgreSQL, the schema DBOS_SCHEMA beside it, which the
processes of all homes share.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.store.files import damage_told, write_ahead
from atlas_mcp.store.postgres import DBOS_SCHEMA, Postgres

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Engine as Database

_APPLICATION = "atlas"
_VERSION = "atlas-1"  # DBOS leaves workflows of another version alone; ours must not depend on a hash of our code
_THREADS = 16
_CLOSE_SECONDS = 5.0
_BUSY_MS = 30_000
_CONNECTIONS = 4
_log = logging.getLogger(__name__)


class Engine:
    """Executes runs by calling `execute(run_id)`, which never raises."""

    def __init__(self, database: Path | Postgres, executor: str, execute: Callable[[str], Awaitable[None]]) -> None:
        self._where = database
        self._executor = executor
        self._execute = execute
        self._launching = anyio.Lock()
        self._database: Database | None = None
        self._workflow: Any = None

    async def run(self, workflow_id: str, run_id: str) -> None:
        """Start the run as a workflow of that id, which is new, and return when it is over.

        Cancelling this does not stop a run that has started: whoever stops it makes `execute` return.
        """
        from dbos import DBOS, SetWorkflowID

        workflow = await self._launched()
        with anyio.CancelScope(shield=True):
            with SetWorkflowID(workflow_id):
                handle = await DBOS.start_workflow_async(workflow, run_id)
            await handle.get_result()
            await DBOS.delete_workflows_async(await _workflows(workflow_id, run_id))

    async def close(self) -> None:
        """Stop DBOS, if it was launched. Nothing runs any more."""
        database, self._database = self._database, None
        if database is None:
            return
        from dbos import DBOS

        with anyio.move_on_after(_CLOSE_SECONDS, shield=True) as deadline:
            destroy = partial(DBOS.destroy, destroy_registry=True)
            await anyio.to_thread.run_sync(destroy, abandon_on_cancel=True)
        if deadline.cancelled_caught:
            _log.warning("the run engine did not stop within %g s", _CLOSE_SECONDS)
        # DBOS puts its own pool in the loop's place and leaves it there, closed: without this, the next name
        # resolution of anybody in this loop would fail.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
        database.dispose()

    async def _launched(self) -> Any:
        async with self._launching:
            if self._workflow is None:
                with _told(self._where):
                    await anyio.to_thread.run_sync(self._launch)
            return self._workflow

    def _launch(self) -> None:
        # In a thread: importing DBOS and migrating its database takes a good part of a second.
        from dbos import DBOS, DBOSConfig

        _quieten()
        database = _on_postgresql(self._where) if isinstance(self._where, Postgres) else _in_file(self._where)
        config: DBOSConfig = {
            "name": _APPLICATION,
            "system_database_engine": database,
            "executor_id": self._executor,
            "application_version": _VERSION,
            "log_level": "ERROR",
            "max_executor_threads": _THREADS,
            # Nobody sends notifications; a short interval lets `destroy` end soon, which waits for this thread.
            "notification_listener_polling_interval_sec": 0.2,
            "scheduler_polling_interval_sec": 3600.0,
        }
        if isinstance(self._where, Postgres):
            config["dbos_system_schema"] = DBOS_SCHEMA
            config["use_listen_notify"] = False  # its connection would only wait for what nobody sends
        else:
            config["system_database_url"] = f"sqlite:///{self._where}"
        DBOS(config=config)
        if DBOS.executor_id != self._executor:
            database.dispose()
            raise ConfigurationError(
                "DBOS is already in use in this Python process.",
                next_step="Open one ATLAS at a time in a process, and none beside a DBOS application of your own.",
            )
        try:
            workflow = _register(DBOS, self._execute)
            DBOS.launch()
        except BaseException:
            DBOS.destroy(destroy_registry=True)  # else no engine could be launched in this process any more
            database.dispose()
            raise
        self._workflow, self._database = workflow, database


def _register(dbos: Any, execute: Callable[[str], Awaitable[None]]) -> Any:
    @dbos.step(name="execute")
    async def step(run_id: str) -> None:
        await execute(run_id)

    @dbos.workflow(name="run")
    async def workflow(run_id: str) -> None:
        await step(run_id)

    return workflow


async def _workflows(workflow_id: str, run_id: str) -> list[str]:
    if workflow_id == run_id:
        return [run_id]
    # Also those that earlier attempts left open when their process died.
    from dbos import DBOS

    found = await DBOS.list_workflows_async(workflow_id_prefix=run_id, load_input=False, load_output=False)
    return [workflow.workflow_id for workflow in found]


def _quieten() -> None:
    # DBOS gives its logger a console handler if it finds none; with this one, its errors go where all others go.
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _told(where: Path | Postgres) -> AbstractContextManager[None]:
    return where.told() if isinstance(where, Postgres) else damage_told(where)


def _on_postgresql(database: Postgres) -> Database:
    from sqlalchemy import event

    engine = database.engine(pool_size=_CONNECTIONS, max_overflow=_CONNECTIONS, pool_pre_ping=True)

    def begin_itself(connection: Any, _: Any) -> None:
        connection.autocommit = False  # DBOS leaves the beginning of its transactions to psycopg

    event.listen(engine, "connect", begin_itself)
    return engine


def _in_file(path: Path) -> Database:
    # DBOS's own SQLite engine keeps the rollback journal and syncs every commit: up to sixty times slower.
    from sqlalchemy import create_engine, event

    engine = create_engine(f"sqlite:///{path}")

    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        write_ahead(connection, _BUSY_MS / 1000)  # the servers of a new home launch their engines at the same moment
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)
    return engine
