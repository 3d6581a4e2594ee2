"""The fence around where runs stand: only the process that executes a run writes its checkpoints.

LangGraph has no lock on a thread. A process that was frozen while another took its run over would, when it comes back,
write its checkpoints between the other one's. Here each of its writes is refused with RunLost, by the database itself:
for every row that is written a trigger looks into the record, in the same statement. What has ended is not written to
any more either, so that nothing is left behind. Imported when checkpoints are first opened, for it loads LangGraph.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from atlas_mcp.errors import RunLost
from atlas_mcp.model.run import ENDED

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata

    from atlas_mcp.teamwork.checkpoints import Fence

_LOST = "the run is no longer executed here"
_GOING_ON = f"status NOT IN ({', '.join(repr(status) for status in sorted(ENDED))})"
_TABLES = ("checkpoints", "writes")


class FencedSaver(AsyncSqliteSaver):
    """LangGraph's saver on a connection with a fence; RunLost for what another process has taken over."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint."""
        with _told(config):
            return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a node of the graph came to."""
        with _told(config):
            await super().aput_writes(config, writes, task_id, task_path)


async def put_up(connection: Any, fence: Fence) -> None:
    """Put the fence up on an open connection to the checkpoints, and sweep away those of runs that have ended.

    Their processes died in the moment between the end of a run and the deletion of its checkpoints.
    """
    await connection.execute("ATTACH DATABASE ? AS record", (str(fence.record),))
    open_runs = f"SELECT id FROM record.run WHERE {_GOING_ON}"  # noqa: S608 - our own words
    mine = f"executor IS NULL OR executor = '{fence.executor}'"
    for table in _TABLES:
        await connection.execute(f"DELETE FROM main.{table} WHERE thread_id NOT IN ({open_runs})")  # noqa: S608
        await connection.execute(
            f"CREATE TEMP TRIGGER fence_{table} BEFORE INSERT ON main.{table}"
            f" WHEN NOT EXISTS ({open_runs} AND id = NEW.thread_id AND ({mine}))"
            f" BEGIN SELECT RAISE(ABORT, '{_LOST}'); END"
        )


@contextmanager
def _told(config: RunnableConfig) -> Generator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        if _LOST not in str(error):
            raise
        raise RunLost(str(config.get("configurable", {}).get("thread_id"))) from error
