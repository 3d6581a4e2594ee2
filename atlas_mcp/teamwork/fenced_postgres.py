"""Where runs stand, on PostgreSQL: LangGraph's saver beside the record, with the fence of `fenced` in the database.

Promise: tables and fence are made once, by whichever process comes first. Each write is in the database whole or not at
all, also when its task is cancelled, and is refused with RunLost when another process executes the run by then. A
server that is gone is waited for as long as for the record; after that, and where a connection breaks in the middle, it
is StoreUnavailable. Imported when checkpoints are first opened, for it loads LangGraph.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection, Error
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from atlas_mcp.errors import LockTimeout, RunLost, StoreUnavailable
from atlas_mcp.model.run import ENDED
from atlas_mcp.store.postgres import SCHEMA, SETTING, Postgres

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple

PATIENCE = 12.0
_CONNECTIONS = 2
_LOST = "AT001"
_LOCK = 0x61746C6363  # of setting up; nobody waits in it, for some of LangGraph's indexes wait for whoever does
_SETUP_SECONDS = 60.0
_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
_GOING_ON = f"status NOT IN ({', '.join(repr(status) for status in sorted(ENDED))})"
_FENCE = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.fence_checkpoint() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE me text := current_setting('atlas.executor', true);
BEGIN
    IF coalesce(me, '') <> '' AND NOT EXISTS (
        SELECT 1 FROM {SCHEMA}.run
        WHERE id = NEW.thread_id AND {_GOING_ON} AND (executor IS NULL OR executor = me)
    ) THEN
        RAISE EXCEPTION 'the run is no longer executed here' USING ERRCODE = '{_LOST}';
    END IF;
    RETURN NEW;
END $$
"""  # noqa: S608 - our own words


class FencedPostgresSaver(AsyncPostgresSaver):
    """LangGraph's saver on a pool of connections that know by which executor they are used."""

    def __init__(self, database: Postgres, pool: AsyncConnectionPool[AsyncConnection[DictRow]]) -> None:
        super().__init__(pool)
        self._database = database

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint."""
        with self._told(config):
            return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a node of the graph came to."""
        with self._told(config):
            await super().aput_writes(config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint; None if there is none."""
        with self._told(config):
            return await super().aget_tuple(config)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints of the run."""
        with self._told({"configurable": {"thread_id": thread_id}}):
            await super().adelete_thread(thread_id)

    @contextmanager
    def _told(self, config: RunnableConfig) -> Generator[None]:
        try:
            with self._database.told():
                yield
        except PoolTimeout as error:
            raise _gone(self._database) from error
        except Error as error:
            if error.sqlstate != _LOST:
                raise
            raise RunLost(str(config.get("configurable", {}).get("thread_id"))) from error


async def opened(database: Postgres, executor: str | None) -> FencedPostgresSaver:
    """The saver, with its tables; with the fence for that executor, if one is named, and what has ended swept away."""
    settings = {"atlas.executor": executor} if executor else {}
    given = database.options(**settings)
    pool: Any = AsyncConnectionPool(
        given.pop("conninfo"),
        kwargs={**given, "row_factory": dict_row, "prepare_threshold": 0},
        min_size=1,
        max_size=_CONNECTIONS,
        timeout=PATIENCE,
        check=AsyncConnectionPool.check_connection,  # a server that was away leaves dead ones behind
        open=False,
    )
    saver = FencedPostgresSaver(database, pool)
    try:
        await pool.open()
        with database.told():
            async with pool.connection() as connection:
                await _set_up(saver, connection)
                if executor:
                    await _sweep(connection)
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await pool.close()
        if isinstance(error, PoolTimeout):
            raise _gone(database) from error
        raise
    return saver


def _gone(database: Postgres) -> StoreUnavailable:
    return StoreUnavailable(f"{database.shown} does not answer.", next_step=f"Start it, or mend {SETTING}.")


async def _set_up(saver: FencedPostgresSaver, connection: Any) -> None:
    """Make what is missing, once at a time: two that did it at the same moment would fail each other."""
    with anyio.move_on_after(_SETUP_SECONDS):
        while not await _is_set_up(connection):
            taken = await (await connection.execute(f"SELECT pg_try_advisory_lock({_LOCK}) AS had")).fetchone()
            if not (taken and taken["had"]):
                await anyio.sleep(0.05)
                continue
            try:
                await saver.setup()
                await _put_up(connection)
            finally:
                with anyio.CancelScope(shield=True):
                    await connection.execute(f"SELECT pg_advisory_unlock({_LOCK})")
        return
    raise LockTimeout("another process sets up the checkpoints and does not come to an end.")


async def _is_set_up(connection: Any) -> bool:
    names = ", ".join(f"'fence_{table}'" for table in _TABLES)
    there = "SELECT count(*) AS n FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid"
    where = f"WHERE tgname IN ({names}) AND c.relnamespace = '{SCHEMA}'::regnamespace"
    fences = await (await connection.execute(f"{there} {where}")).fetchone()
    if not fences or fences["n"] != len(_TABLES):
        return False
    newest = await (await connection.execute("SELECT max(v) AS v FROM checkpoint_migrations")).fetchone()
    return bool(newest) and newest["v"] == len(AsyncPostgresSaver.MIGRATIONS) - 1


async def _put_up(connection: Any) -> None:
    await connection.execute(_FENCE)
    for table in _TABLES:
        await connection.execute(
            f"CREATE OR REPLACE TRIGGER fence_{table} BEFORE INSERT ON {SCHEMA}.{table}"
            f" FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.fence_checkpoint()"
        )


async def _sweep(connection: Any) -> None:
    """Take away where runs stood that have ended: their processes died before they did."""
    for table in _TABLES:
        open_runs = f"SELECT id FROM {SCHEMA}.run WHERE {_GOING_ON}"  # noqa: S608 - our own words
        await connection.execute(f"DELETE FROM {SCHEMA}.{table} WHERE thread_id NOT IN ({open_runs})")  # noqa: S608
