"""Taking a text out of traces that are kept in the home: those in the spools, and those in MLflow's database there.

Promise: a trace that holds the text is written anew without it, in all its spans, wherever they are by now; it keeps
its shape, times and numbers. So is a run of MLflow, with its artifacts. What is of other callers stays as it is. It is
done while nobody carries traces, under the carrier's own lock. What went to an MLflow elsewhere is out of reach.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.collector import Collector
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.spool import waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from atlas_mcp.store.locks import Held

    Mend = Callable[[Any, bool], Any]

_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.2
_BUSY_SECONDS = 30.0
_USER = "user.id"
_PREFIX = "tr-"
_TABLES = (
    ("spans", "trace_id", ("content",)),
    ("trace_info", "request_id", ("request_preview", "response_preview")),
    ("trace_tags", "request_id", ("value",)),
    ("trace_request_metadata", "request_id", ("value",)),
    ("assessments", "trace_id", ("value", "error", "rationale", "assessment_metadata")),
    ("runs", "run_uuid", ("name",)),
    ("params", "run_uuid", ("value",)),
    ("tags", "run_uuid", ("value",)),
)
"""Where MLflow keeps texts: table, the column with the trace's or the run's id, the columns with text."""
_USERS = (
    ("trace_request_metadata", "SELECT request_id, value FROM {} WHERE key = 'mlflow.trace.user'"),
    ("tags", "SELECT run_uuid, value FROM {} WHERE key = 'mlflow.user'"),
)
"""Where MLflow keeps whose a trace or a run is."""


class Busy(Exception):
    """Raised when traces are being carried all the time."""


def erase_traces(home: Path, mends: Mapping[str, Mend]) -> int:
    """Take out of the callers' traces what their `mends` know; in how many traces it was.

    Busy if the carrier does not end within a minute; OSError and sqlite3.Error for what cannot be read or written.
    """
    by_user = {hashed_caller(caller): mend for caller, mend in mends.items()}
    (home / "locks").mkdir(mode=0o700, parents=True, exist_ok=True)
    locks, deadline = Locks(home / "locks"), time.monotonic() + _WAIT_SECONDS
    with _hold(locks, Destination.lock, deadline), _hold(locks, Collector.lock, deadline):
        spools = [home / Destination.folder, home / Collector.folder]
        files = [file.path for spool in spools for file in waiting(spool)]
        files += [path for spool in spools for path in (spool / "aside").glob("*") if path.is_file()]
        files += (home / "spool").glob("*.notes")  # those that wait for their traces
        artifacts = [path for path in (home / "artifacts").glob("*/*/artifacts/*") if path.is_file()]
        return _erase(files, artifacts, home / "mlflow.db", by_user)


def _hold(locks: Locks, name: str, deadline: float) -> Held:
    while (held := locks.try_hold(name)) is None:
        if time.monotonic() > deadline:
            raise Busy
        time.sleep(_POLL_SECONDS)
    return held


def _erase(files: list[Path], artifacts: list[Path], database: Path, by_user: Mapping[str, Mend]) -> int:
    users: dict[str, str] = {}
    lines = {path: path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() for path in files}
    for span in (span for rows in lines.values() for span in _spans(rows)):
        if user := span.get("attributes", {}).get(_USER):
            users[_trace_of(span)] = str(user)
        if user := span.get("note", {}).get("user"):
            users[_trace_of(span)] = str(user)
    if not database.exists():
        holding = _in_spool(lines, users, by_user)
        _find_in_artifacts(artifacts, holding, users, by_user)
        _rewrite(lines, holding)
        _rewrite_artifacts(artifacts, holding)
        return len(holding)
    with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, known in _USERS:
            if table in there:
                users |= {thing: str(user).strip('"') for thing, user in connection.execute(known.format(table))}
        tables = [one for one in _TABLES if one[0] in there]
        holding = _in_spool(lines, users, by_user)
        for table, key, columns in tables:
            for row in connection.execute(f"SELECT {key}, {', '.join(columns)} FROM {table}"):  # noqa: S608 - our own
                if row[0] not in holding and (mend := _mend_of(row[0], row[1:], users, by_user)):
                    holding[row[0]] = mend
        _find_in_artifacts(artifacts, holding, users, by_user)
        _rewrite(lines, holding)
        _rewrite_artifacts(artifacts, holding)
        _update(connection, tables, holding)
    return len(holding)


def _in_spool(
    lines: Mapping[Path, list[str]], users: Mapping[str, str], by_user: Mapping[str, Mend]
) -> dict[str, Mend]:
    """The traces in the spool that hold the text, each with what takes it out."""
    found: dict[str, Mend] = {}
    for span in (span for rows in lines.values() for span in _spans(rows)):
        trace = _trace_of(span)
        if trace not in found and (mend := _mend_of(trace, (span,), users, by_user)):
            found[trace] = mend
    return found


def _find_in_artifacts(
    artifacts: list[Path], holding: dict[str, Mend], users: Mapping[str, str], by_user: Mapping[str, Mend]
) -> None:
    for path in artifacts:
        run = path.parent.parent.name
        if run not in holding and (mend := _mend_of(run, (_artifact(path),), users, by_user)):
            holding[run] = mend


def _rewrite_artifacts(artifacts: list[Path], holding: Mapping[str, Mend]) -> None:
    for path in artifacts:
        if mend := holding.get(path.parent.parent.name):
            found = _artifact(path)
            made = mend(found, True)
            if made is not found:
                _replace(path, made if isinstance(made, str) else json.dumps(made, indent=2, ensure_ascii=False))


def _artifact(path: Path) -> Any:
    """What the file holds: of JSON the data, for its texts are written in another way there."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    try:
        return json.loads(text) if path.suffix == ".json" else text
    except ValueError:  # cut off by the bounds of a note
        return text


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8", errors="surrogateescape")
    draft.replace(path)


def _mend_of(trace: str, values: Any, users: Mapping[str, str], by_user: Mapping[str, Mend]) -> Mend | None:
    """What takes the text out of the trace, if these values of it hold it; whose it is may not be known."""
    user = users.get(trace)
    for mend in by_user.values() if user is None else filter(None, [by_user.get(user)]):
        if any(mend(value, False) is not value for value in values):
            return mend
    return None


def _rewrite(lines: Mapping[Path, list[str]], holding: Mapping[str, Mend]) -> None:
    for path, rows in lines.items():
        made = [_rewritten(row, holding) for row in rows]
        if made != rows:
            _replace(path, "\n".join((*made, "")))


def _rewritten(line: str, holding: Mapping[str, Mend]) -> str:
    for span in _spans([line]):
        mend = holding.get(_trace_of(span))
        made = mend(span, True) if mend else span
        if made is not span:
            return json.dumps(made, ensure_ascii=False)
    return line


def _spans(lines: list[str]) -> Generator[dict[str, Any]]:
    """The spans and notes among the lines of a file; one that is broken is none."""
    for line in lines:
        try:
            row: Any = json.loads(line)
        except ValueError:
            continue
        if not isinstance(row, dict):
            continue
        named = cast("dict[str, Any]", row)
        if "trace" in named or isinstance(named.get("note"), dict):
            yield named


def _trace_of(row: Mapping[str, Any]) -> str:
    """The trace that a span or note belongs to; a note that belongs to none stands for itself."""
    if note := row.get("note"):
        return str(note.get("trace_id") or next(iter(note.get("trace_ids", ())), note.get("key")))
    return f"{_PREFIX}{row['trace']}"


def _update(
    connection: sqlite3.Connection, tables: list[tuple[str, str, tuple[str, ...]]], holding: Mapping[str, Mend]
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for trace, mend in holding.items():
            for table, key, columns in tables:
                query = f"SELECT rowid, {', '.join(columns)} FROM {table} WHERE {key} = ?"  # noqa: S608 - our own names
                for rowid, *values in connection.execute(query, (trace,)).fetchall():
                    made = [mend(value, True) for value in values]
                    if any(new is not old for new, old in zip(made, values, strict=True)):
                        names = ", ".join(f"{name} = ?" for name in columns)
                        change = f"UPDATE {table} SET {names} WHERE rowid = ?"  # noqa: S608 - our own names
                        connection.execute(change, (*made, rowid))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
