"""Making the home's own MLflow database smaller: what is old, and the oldest of what is too much.

It is done while nobody carries traces, under the carrier's own lock, and in small transactions, so that MLflow's page
can be read meanwhile. With a trace go its spans, tags and feedback; with a run, its parameters, metrics and artifacts.
Prompts, evaluation sets and everything in the record stay. An MLflow elsewhere is pruned by its own means.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from atlas_mcp.errors import Unavailable
from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.sidecar import LOCK
from atlas_mcp.watch.state import load_state, save_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_mcp.store.locks import Held

_DAY: Final = 86_400.0
_WAIT_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.2
_BUSY_SECONDS: Final = 30.0
_PORTION: Final = 200
_OF_A_RUN: Final = ("params", "tags", "metrics", "latest_metrics")
_WORTH_BYTES: Final = 64 << 20
"""Free room in the file below which rewriting it is not worth while; MLflow uses it again."""

_log = logging.getLogger("atlas.ingest")


@dataclass(frozen=True)
class Amount:
    """What the home's database holds: traces, the oldest of them in seconds since 1970, and the bytes in use."""

    traces: int
    oldest: float | None
    used_bytes: int


@dataclass(frozen=True)
class Pruned:
    """What was deleted, by what the files are smaller now, and why the database's file did not shrink, if so."""

    traces: int = 0
    runs: int = 0
    values: int = 0
    freed_bytes: int = 0
    problem: str = ""


def amount(home: Path, before: float | None = None) -> Amount:
    """What is there; with `before` (seconds since 1970), only the traces that began earlier are counted."""
    if not (home / "mlflow.db").exists():
        return Amount(0, None, 0)
    with closing(_connect(home)) as db:
        limit = (before or time.time() + 1e9) * 1_000
        query = "SELECT count(*), min(timestamp_ms) FROM trace_info WHERE timestamp_ms < ?"
        traces, oldest = db.execute(query, (limit,)).fetchone()
        return Amount(traces, None if oldest is None else oldest / 1_000, _used(db))


def prune(home: Path, *, before: float | None = None, most_bytes: int | None = None) -> Pruned:
    """Delete what began before that moment (seconds since 1970), then the oldest traces while more bytes are in use.

    Raises Unavailable when traces are being carried all the time, or the database cannot be read or written.
    """
    with _hold(home):
        try:
            return prune_held(home, before=before, most_bytes=most_bytes, shrink=True)
        except sqlite3.Error as error:
            raise Unavailable(
                f"MLflow's database cannot be pruned: {error}.",
                next_step="Close MLflow's page if it is open, see that the disk is not full, and try again.",
            ) from None


def prune_held(
    home: Path, *, before: float | None = None, most_bytes: int | None = None, shrink: bool = False
) -> Pruned:
    """The same, for one who holds the carrier's lock. Without `shrink` the file is rewritten only if that frees much.

    Raises sqlite3.Error.
    """
    database = home / "mlflow.db"
    if not database.exists():
        return Pruned()
    size, problem, freed_files, runs, values = _size(database), "", 0, 0, 0
    with closing(_connect(home)) as db:
        traces = 0
        if before is not None:
            traces = _delete_traces(db, before * 1_000)
            runs, freed_files = _delete_runs(db, home, before * 1_000)
            values = db.execute("DELETE FROM metrics WHERE timestamp < ?", (before * 1_000,)).rowcount
        while most_bytes is not None and _used(db) > most_bytes:
            if not (gone := _delete_portion(db, time.time() * 1_000 + 1e12)):
                problem = f"{_used(db):,} bytes are in use by other things than traces"
                break
            traces += gone
        if shrink or _free(db) > max(_WORTH_BYTES, _used(db) // 3):
            try:
                db.execute("VACUUM")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                problem = f"the file could not be made smaller: {error}"
    freed = max(0, size - _size(database)) + freed_files
    return Pruned(traces, runs, values, freed, problem)


def prune_daily(home: Path, days: float) -> None:
    """Once a day, delete what is older than so many days; 0 for never. For one who holds the carrier's lock.

    Not at the first time, nor when more than a month seems to have passed, or less than nothing: then the clock may
    have jumped, and what it calls old may be new.
    """
    spool, now = home / "spool", time.time()
    state = load_state(spool)
    passed = now - state.pruned_at
    if not days or 0 <= passed < _DAY:
        return
    save_state(spool, state.model_copy(update={"pruned_at": now}))
    if not 0 <= passed < 31 * _DAY:
        return
    try:
        done = prune_held(home, before=now - days * _DAY)
    except sqlite3.Error as error:
        _log.warning("MLflow's database could not be pruned: %s", error)
    else:
        _log.info("pruned: %s", done)


def _hold(home: Path) -> Held:
    (home / "locks").mkdir(mode=0o700, parents=True, exist_ok=True)
    locks, deadline = Locks(home / "locks"), time.monotonic() + _WAIT_SECONDS
    while (held := locks.try_hold(LOCK)) is None:
        if time.monotonic() > deadline:
            raise Unavailable("traces are being carried to MLflow all the time.", next_step="Try again later.")
        time.sleep(_POLL_SECONDS)
    return held


def _connect(home: Path) -> sqlite3.Connection:
    db = sqlite3.connect(home / "mlflow.db", timeout=_BUSY_SECONDS, isolation_level=None)
    db.execute("PRAGMA foreign_keys=ON")  # what belongs to a trace goes with it
    return db


def _delete_traces(db: sqlite3.Connection, before_ms: float) -> int:
    gone = 0
    while portion := _delete_portion(db, before_ms):
        gone += portion
    return gone


def _delete_portion(db: sqlite3.Connection, before_ms: float) -> int:
    """Delete some of the oldest traces that began earlier; how many."""
    query = "SELECT request_id FROM trace_info WHERE timestamp_ms < ? ORDER BY timestamp_ms LIMIT ?"
    found = [row[0] for row in db.execute(query, (before_ms, _PORTION))]
    _delete(db, "trace_info", "request_id", found)
    return len(found)


def _delete_runs(db: sqlite3.Connection, home: Path, before_ms: float) -> tuple[int, int]:
    """Delete the runs that ended earlier, with their artifacts; how many runs, and the bytes of the artifacts."""
    found = db.execute("SELECT run_uuid, artifact_uri FROM runs WHERE end_time < ?", (before_ms,)).fetchall()
    freed = 0
    for run, address in found:
        folder = Path(url2pathname(unquote(urlsplit(address or "").path)))
        if (home / "artifacts").absolute() in folder.parents and folder.is_dir():
            freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            shutil.rmtree(folder.parent if folder.name == "artifacts" else folder, ignore_errors=True)
        for table in _OF_A_RUN:
            _delete(db, table, "run_uuid", [run])
        _delete(db, "runs", "run_uuid", [run])
    return len(found), freed


def _delete(db: sqlite3.Connection, table: str, column: str, ids: Iterable[str]) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for one in ids:
            db.execute(f"DELETE FROM {table} WHERE {column} = ?", (one,))  # noqa: S608 - our own names
            if table in ("trace_info", "runs"):
                db.execute("DELETE FROM entity_associations WHERE source_id = ? OR destination_id = ?", (one, one))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _used(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA page_count").fetchone()[0]) * _page(db) - _free(db)


def _free(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA freelist_count").fetchone()[0]) * _page(db)


def _page(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA page_size").fetchone()[0])


def _size(database: Path) -> int:
    files = (database, database.with_name("mlflow.db-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
